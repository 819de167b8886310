"""Reviews: a name is written into the settings, and nothing else in them changes."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from cannery.audits.reviews import trust
from cannery.errors import OutputError, UnsafeError, UsageError
from cannery.settings import load_settings

NAME, REASON = "acme.features.Ratio", 'pure "numpy" \\ reviewed 2026-11-20, für alle'

LAYOUTS = {
    "no trust table": '# ours\n[model]\nsource = "x"  # moves\n',
    "an entry": '[trust]\n# why\nnames."a.b" = "r"  # keep\npickle = "refuse"\n\n# out\n[outputs]\n',
    "a table of names": '[trust.names]\n"a.b" = "r"  # keep\n\n[outputs]\n',
    "an inline table": '[trust]\nnames = { "a.b" = "r" }\n[outputs]\n',
    "dotted keys": 'trust.names."a.b" = "r"\n[outputs]\n',
    "no names": '[trust]  # reviewed\npickle = "refuse"\n\n# about outputs\n[outputs]\n',
    "no last newline": '[trust]\nnames."a.b" = "r"',
    "Windows lines": '[trust]\r\nnames."a.b" = "r"\r\n[outputs]\r\n',
    "a decoy": '[model]\nsource = """\n[trust]\nnames."a.b" = "r"\n"""\n',
}


def _trust(folder: Path, name: str = NAME, reason: str = REASON, *, force: bool = False) -> Path:
    return trust([name], reason, folder=folder, file=None, force=force)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_line_is_added_and_every_other_stays(tmp_path: Path, layout: str) -> None:
    """The settings hold the name; every line of before, comments too, is still there, in its order."""
    file = tmp_path / "cannery.toml"
    file.write_bytes(LAYOUTS[layout].encode())
    before = tomllib.loads(LAYOUTS[layout]).get("trust", {}).get("names", {})
    assert _trust(tmp_path) == file
    assert load_settings(tmp_path).trust.names == {**before, NAME: REASON}
    after = iter(file.read_bytes().decode().splitlines())
    if layout != "an inline table":
        assert all(line in after for line in LAYOUTS[layout].splitlines())


def test_without_settings_a_file_is_made(tmp_path: Path) -> None:
    """Where there is none, cannery.toml begins with the entry."""
    _trust(tmp_path)
    assert load_settings(tmp_path).trust.names == {NAME: REASON}


def test_pyproject_is_written_where_it_holds_the_settings(tmp_path: Path) -> None:
    """[tool.cannery.trust] appears in pyproject.toml, and no second file of settings."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n[tool.cannery.model]\n')
    _trust(tmp_path)
    _trust(tmp_path, "acme.features.Sum")
    assert set(load_settings(tmp_path).trust.names) == {NAME, "acme.features.Sum"}
    assert [p.name for p in tmp_path.iterdir()] == ["pyproject.toml"]


@pytest.mark.parametrize("name", ["acme.*", "Ratio", "acme features.Ratio", "", 'a."b"', "a.b\n"])
def test_only_an_exact_dotted_name_is_taken(tmp_path: Path, name: str) -> None:
    """A wildcard, an undotted name and what is no name are refused, and nothing is written."""
    with pytest.raises(UsageError):
        _trust(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("reason", ["", "  ", "one\ntwo", "\x1b[2J"])
def test_a_reason_is_needed(tmp_path: Path, reason: str) -> None:
    """What says nothing, or would hide in a terminal, is no reason."""
    with pytest.raises(UsageError, match="says nothing"):
        _trust(tmp_path, reason=reason)


def test_what_is_known_from_attacks_can_t_be_trusted(tmp_path: Path) -> None:
    """A line without effect would mislead whoever reads the policy."""
    with pytest.raises(UnsafeError, match="known from attacks"):
        _trust(tmp_path, "os.system")


def test_a_reason_is_replaced_by_force_alone(tmp_path: Path) -> None:
    """The old reason stands in the error; with force the new one takes its place."""
    file = tmp_path / "cannery.toml"
    file.write_text(f"[trust]\nnames.'{NAME}' = 'old' # kept\nnames.\"a.b\" = \"old\"\n")
    with pytest.raises(OutputError, match="trusted already: old"):
        _trust(tmp_path)
    _trust(tmp_path, force=True)
    assert load_settings(tmp_path).trust.names == {NAME: REASON, "a.b": "old"}
    assert "# kept" in file.read_text()


def test_what_can_t_be_added_is_left_alone(tmp_path: Path) -> None:
    """An empty inline table takes no line: the hint gives it, and the file stays as it is."""
    file = tmp_path / "cannery.toml"
    file.write_text("trust = { names = {} }\n")
    with pytest.raises(UsageError, match="without changing") as caught:
        _trust(tmp_path)
    assert f'names."{NAME}"' in str(caught.value.hint)
    assert file.read_text() == "trust = { names = {} }\n"
