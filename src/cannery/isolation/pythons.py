"""The Pythons of this host: a worker runs on the one that trained the model, or the nearest to it."""

from __future__ import annotations

import os
import platform
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import msgspec
import uv

from cannery.errors import CanneryError
from cannery.processes import run

OLDEST, NEWEST = 10, 14
"""Minor versions of Python 3 on which the worker's own code runs."""

_QUESTION = """
import json, platform, sys, sysconfig
paths = sysconfig.get_paths(vars={"base": sys.base_prefix, "platbase": sys.base_prefix})
print(json.dumps({
    "path": getattr(sys, "_base_executable", None) or sys.executable,
    "version": platform.python_version(),
    "implementation": platform.python_implementation(),
    "prefix": sys.base_prefix,
    "libraries": sorted({paths["stdlib"], paths["platstdlib"]}),
}))
"""


class Interpreter(msgspec.Struct, frozen=True, kw_only=True):
    """An interpreter, outside any virtual environment."""

    path: str
    version: str
    """`3.11.7`."""
    implementation: str
    prefix: str
    libraries: tuple[str, ...]
    """Folders of its standard library."""

    @property
    def minor(self) -> int:
        """The 11 of 3.11."""
        return int(self.version.split(".")[1])

    def __str__(self) -> str:
        return f"Python {self.version}"


def own() -> Interpreter:
    """Return the interpreter beneath this one."""
    paths = sysconfig.get_paths(vars={"base": sys.base_prefix, "platbase": sys.base_prefix})
    return Interpreter(
        path=str(Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()),
        version=platform.python_version(),
        implementation=platform.python_implementation(),
        prefix=sys.base_prefix,
        libraries=tuple(sorted({paths["stdlib"], paths["platstdlib"]})),
    )


def _asked(words: list[str]) -> Interpreter | None:
    """Return what an interpreter says of itself; None where it doesn't start."""
    env = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"}
    try:
        done = run([*words, "-I", "-S", "-c", _QUESTION], env=env, timeout=600)
        told = msgspec.json.decode(done.stdout, type=Interpreter) if done.ok else None
    except (CanneryError, OSError, msgspec.DecodeError):
        return None
    if told is None or told.implementation != platform.python_implementation():
        return None
    return msgspec.structs.replace(told, path=str(Path(told.path).resolve()))


def nearest(wanted: int | None) -> list[int]:
    """Return every minor version that a worker runs on, the nearest to `wanted` first, of two the older."""
    middle = own().minor if wanted is None else wanted
    return sorted(range(OLDEST, NEWEST + 1), key=lambda minor: (abs(minor - middle), minor))


def find(minor: int) -> Interpreter | None:
    """Return a Python 3 of this minor version that is on this host: ours, else of PATH, pyenv, or uv."""
    if minor == own().minor:
        return own()
    for path in _places(minor):
        found = _asked([path])
        if found is not None and found.minor == minor:
            return found
    return None


def _places(minor: int) -> Iterator[str]:
    name = f"python3.{minor}"
    folders = [Path(p) for p in os.environ.get("PATH", "").split(os.pathsep) if p]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path("~/.pyenv").expanduser()) / "versions"
    folders += sorted(pyenv.glob(f"3.{minor}.*/bin"), reverse=True)
    yield from (str(f / name) for f in folders if os.access(f / name, os.X_OK))
    finding = ("python", "find", "--managed-python", "--no-python-downloads", f"3.{minor}")
    done = run([uv.find_uv_bin(), *finding], timeout=60)
    if done.ok:
        yield done.stdout.decode().strip()


def fetch(minor: int) -> Interpreter | None:
    """Return a Python that uv downloads, where the user's settings of uv let it; None where it can't."""
    words = ["run", "--no-project", "--managed-python", "--python", f"3.{minor}", "python"]
    found = _asked([uv.find_uv_bin(), *words])
    return found if found is not None and found.minor == minor else None


def minor_of(version: str | None) -> int | None:
    """Return the 11 of `3.11.7`; None for what is no version of Python 3."""
    known = re.fullmatch(r"3\.(\d{1,2})(\..*)?", version or "")
    return int(known[1]) if known else None
