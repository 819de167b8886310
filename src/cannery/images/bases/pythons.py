"""Find the Python of an unpacked image, and whether wheels for Linux run on it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cannery.errors import ImageError
from cannery.images.elf import read_elf
from cannery.oci.unpack import resolve_inside

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
"""Versions that the serving code runs on, and whose bytecode is known here."""
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NAMES = (*(f"python{version}" for version in reversed(SUPPORTED)), "python3", "python")
_VERSION = re.compile(r"python(3\.\d+)")
_GLIBC = re.compile(rb"GNU C Library [^\n]{0,80}release version 2\.(\d+)")
_OLDEST_GLIBC = 17
"""Older than that, no wheel is made for."""
LIBRARIES = (
    "lib/{triplet}",
    "usr/lib/{triplet}",
    "lib64",
    "usr/lib64",
    "lib",
    "usr/lib",
    "usr/local/lib",
)
"""Where the loader of a base looks for libraries, in its order or nearly so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The Python of an image."""

    path: str
    """Absolute path of the program in the image, links resolved."""
    version: str
    """`3.13`."""
    glibc: int
    """Minor version of its C library."""
    libraries: frozenset[str]
    """Names of the shared libraries that any program of the image finds."""


def find_python(root: Path, search: str, architecture: str, triplet: str, name: str) -> Found:
    """Return the Python that the unpacked image starts by name; `search` is its PATH.

    Raises ImageError where there is none, or wheels can't run on it; `name` is the image's.
    """
    found = _program(root, search or _DEFAULT_PATH)
    if found is None:
        raise ImageError(
            f"the base '{name}' has no Python on its PATH ({search or _DEFAULT_PATH})",
            hint='choose one that has, such as python:3.13-slim, or base = "debian"',
        )
    path, version = found
    if version not in SUPPORTED:
        raise ImageError(
            f"the base '{name}' has Python {version}", hint=f"images run on {', '.join(SUPPORTED)}"
        )
    elf = read_elf((root / path).read_bytes())
    if elf is None or elf.machine != architecture:
        raise ImageError(
            f"'/{path}' of the base '{name}' is no program for {architecture}, but for"
            f" {elf.machine if elf else 'another system'}"
        )
    folders = [root / folder.format(triplet=triplet) for folder in LIBRARIES]
    names = frozenset(
        file.name
        for folder in (resolve_inside(root, f.relative_to(root).parts, name) for f in folders)
        if folder.is_dir()
        for file in folder.iterdir()
        if ".so" in file.name
    )
    return Found(
        path="/" + path, version=version, glibc=_glibc(root, folders, name), libraries=names
    )


def _program(root: Path, search: str) -> tuple[str, str] | None:
    for folder in search.split(":"):
        for candidate in _NAMES:
            place = PurePosixPath(folder.lstrip("/")) / candidate
            target = resolve_inside(root, place.parts, candidate)
            named = _VERSION.fullmatch(target.name)
            if target.is_file() and named:
                return target.relative_to(root).as_posix(), named[1]
    return None


def _glibc(root: Path, folders: list[Path], name: str) -> int:
    for folder in folders:
        library = resolve_inside(root, (folder / "libc.so.6").relative_to(root).parts, name)
        told = _GLIBC.search(library.read_bytes()) if library.is_file() else None
        if told and int(told[1]) >= _OLDEST_GLIBC:
            return int(told[1])
    raise ImageError(
        f"the base '{name}' has no GNU C library that wheels can run on",
        hint="wheels are made for glibc: choose a base of Debian, Ubuntu or Red Hat, not Alpine",
    )
