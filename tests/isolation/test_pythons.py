"""Which Python a worker runs on."""

import json
import sys
from pathlib import Path

import pytest

from cannery.isolation.pythons import NEWEST, OLDEST, find, minor_of, nearest, own

OTHER = NEWEST if own().minor != NEWEST else OLDEST


def program(folder: Path, version: str) -> None:
    """Write a program called as Python `OTHER` that says it is `version`."""
    told = {"path": sys.executable, "version": version, "implementation": own().implementation}
    told |= {"prefix": sys.base_prefix, "libraries": []}
    path = folder / f"python3.{OTHER}"
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(told)}\nEND\n")
    path.chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that is all of PATH but for `cat`, where neither pyenv nor uv have any Python."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "none"))
    return tmp_path


def test_the_nearest_come_first() -> None:
    """Of two that are equally near the older, for which there are more wheels of old versions."""
    assert nearest(12) == [12, 11, 13, 10, 14]
    assert nearest(8)[:2] == [10, 11]
    assert nearest(None)[0] == own().minor


def test_our_own_python_tells_where_its_library_lies() -> None:
    """No program is started for it."""
    assert find(own().minor) == own()
    assert all((Path(folder) / "json").is_dir() for folder in own().libraries)


def test_a_python_is_asked_what_it_is(path: Path) -> None:
    """A name in PATH is no proof: one that starts nothing, or another version, is passed over."""
    assert find(OTHER) is None
    program(path, f"3.{own().minor}.1")
    assert find(OTHER) is None
    program(path, f"3.{OTHER}.1")
    found = find(OTHER)
    assert found is not None
    assert str(found) == f"Python 3.{OTHER}.1"


@pytest.mark.parametrize(
    ("version", "minor"), [("3.11.7", 11), ("3.9", 9), ("3", None), ("2.7.18", None), (None, None)]
)
def test_versions_are_read(version: str | None, minor: int | None) -> None:
    """What is no version of Python 3 tells nothing."""
    assert minor_of(version) == minor
