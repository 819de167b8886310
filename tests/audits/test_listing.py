"""The tables: sorted, disjoint from danger, exact; and what `explain` says of a name."""

from __future__ import annotations

import importlib
import json
from importlib import resources

import pytest

from cannery.audits.explain import explain
from cannery.audits.listing import listing

FOLDER = resources.files("cannery.audits.names")
TABLES = sorted(f.name for f in FOLDER.iterdir() if f.name.endswith(".json"))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_sorted_and_has_no_doubles(name: str) -> None:
    """Tables change by readable differences."""
    table = json.loads(FOLDER.joinpath(name).read_text())
    for role in ("classes", "functions", "references"):
        modules = table.get(role, {})
        assert list(modules) == sorted(modules)
        for names in modules.values():
            assert names == sorted(set(names))


def test_no_listed_name_is_known_from_attacks() -> None:
    """The list of danger and the tables do not overlap."""
    tables = listing()
    assert [key for key in tables.entries if tables.is_dangerous(*key)] == []


def test_listed_names_exist_and_are_what_they_say() -> None:
    """Every class is a class and every function can be called, in the libraries that are installed."""
    for (module, name), entry in listing().entries.items():
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            # Moved or gone in this generation; the tables carry those of others too.
            assert module.startswith("pandas") or name == "_ufunc_reconstruct", (module, name)
            continue
        if "class" in entry.roles:
            assert isinstance(found, type), (module, name)
        if "function" in entry.roles:
            assert callable(found), (module, name)


def test_nothing_that_touches_files_or_processes_is_listed() -> None:
    """No name of a listed function or reference speaks of files, processes or code."""
    words = ("load", "save", "open", "dump", "fetch", "exec", "eval", "system", "spawn", "file")
    found = [
        entry.canonical
        for entry in listing().entries.values()
        if entry.roles - {"class"}
        and not entry.canonical.startswith("scipy.special.")  # eval_legendre and its kin
        and any(word in entry.canonical.lower() for word in words)
    ]
    assert found == []


def test_names_of_another_generation_are_found() -> None:
    """Aliases lead to the row of today."""
    tables = listing()
    old = tables.find("numpy.core.multiarray", "_reconstruct")
    assert old is not None
    assert old.canonical == "numpy._core.multiarray._reconstruct"
    stray = tables.find("_loss", "CyHalfBinomialLoss")
    assert stray is not None
    assert stray.canonical == "sklearn._loss._loss.CyHalfBinomialLoss"
    assert tables.find("numpy.corex.multiarray", "_reconstruct") is None


def test_explain_says_where_a_name_is_listed() -> None:
    """A listed name: its table, version and roles."""
    text = explain("sklearn.tree._tree.Tree")
    assert "scikit-learn" in text
    assert "class" in text
    assert "function" in text
    assert "today 'numpy._core.multiarray.scalar'" in explain("numpy.core.multiarray.scalar")


def test_explain_says_why_a_name_is_not_listed() -> None:
    """An unknown name gets the line to add, a dangerous one does not."""
    assert '[trust] names."acme.features.Ratio"' in explain("acme.features.Ratio")
    assert "[trust]" not in explain("os.system")
    assert "no dotted name" in explain("system")
