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
    both = {key: entry.roles for key, entry in tables.entries.items() if tables.is_dangerous(*key)}
    # What the pickles of None's type, of arrays, of a map of a file, of a pipeline's memory and of a bound
    # method need; any other use is an attack: an array that is called takes bytes for addresses.
    assert both == {
        ("builtins", "type"): {"function"},
        ("cloudpickle.cloudpickle", "_builtin_type"): {"function"},
        ("joblib.memory", "Memory"): {"class"},
        ("numpy", "memmap"): {"class"},
        ("numpy", "ndarray"): {"class"},
        ("numpy", "recarray"): {"class"},
        ("numpy", "record"): {"class"},
        ("numpy.rec", "recarray"): {"class"},
        ("numpy.rec", "record"): {"class"},
    }


def test_listed_names_exist_and_are_what_they_say() -> None:
    """Every class is a class and every function can be called, in the libraries that are installed."""
    here = 0
    for (module, name), entry in listing().entries.items():
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            continue  # moved or gone in this generation, or a library that is not here
        here += 1
        if "class" in entry.roles:
            assert isinstance(found, type), (module, name)
        if "function" in entry.roles:
            assert callable(found), (module, name)
    assert here > len(listing().entries) * 0.8


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


def test_names_of_every_generation_are_listed() -> None:
    """The tables say of which versions they were made, and hold what is gone by now."""
    tables = listing()
    minors = {version.rpartition(".")[0] for version in tables.versions["scikit-learn"]}
    assert minors >= {"1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8", "1.9"}
    assert {version[0] for version in tables.versions["numpy"]} == {"1", "2"}
    assert {version[0] for version in tables.versions["pandas"]} == {"1", "2", "3"}
    gone = [
        ("pandas.core.indexes.numeric", "Int64Index", "class"),
        ("sklearn._loss._loss", "__pyx_unpickle_CyHalfBinomialLoss", "function"),
        ("sklearn.ensemble._gb_losses", "BinomialDeviance", "class"),
        ("sklearn.metrics._dist_metrics", "EuclideanDistance", "class"),
        ("sklearn.metrics._scorer", "_passthrough_scorer", "reference"),
    ]
    for module, name, role in gone:
        entry = tables.find(module, name)
        assert entry is not None, name
        assert role in entry.roles, name


def test_names_of_another_generation_are_found() -> None:
    """Aliases lead to the row of today."""
    tables = listing()
    csr = tables.find("scipy.sparse.csr", "csr_matrix")
    assert csr is not None
    assert csr.canonical == "scipy.sparse._csr.csr_matrix"
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
    assert "any other use" in explain("numpy.ndarray")
    assert "some of its methods" in explain("pandas.core.generic.NDFrame")
    assert "no dotted name" in explain("system")
