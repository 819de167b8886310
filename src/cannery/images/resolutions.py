"""Wheels by exact version and hash: resolved by uv, fetched by pip, each as the user's pip is configured."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cannery.blobs import digest_file
from cannery.caches import uv_cache
from cannery.errors import ImageError, UnreachableError
from cannery.images.packages import Wheel
from cannery.images.recipe import MACHINES, PYTHON
from cannery.images.store import Store
from cannery.indexes import UNUSED, index_environment
from cannery.oci.descriptors import Architecture
from cannery.processes import Finished, run

_OLD_GLIBC = 17
_GLIBC = 28
"""Newest glibc (2.x) that wheels may ask for; Debian's and most bases' is newer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What wheels are for."""

    architecture: Architecture
    python: str = PYTHON
    glibc: int = _GLIBC
    """Minor version of the C library that is there."""

    @property
    def newest(self) -> int:
        """Newest C library that a wheel may ask for: one of two by which uv resolves."""
        return _GLIBC if self.glibc >= _GLIBC else _OLD_GLIBC

    @property
    def words(self) -> tuple[str, ...]:
        """What uv is told of it."""
        platform = f"{MACHINES[self.architecture]}-manylinux_2_{self.newest}"
        return ("--python-version", self.python, "--python-platform", platform)

    def __str__(self) -> str:
        return f"Python {self.python} on {self.architecture}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """Wheels for this Python and all that come after it, on any processor."""

    python: str

    @property
    def words(self) -> tuple[str, ...]:
        """What uv is told of it: one version for all, among several pip would choose by its own Python."""
        return ("--universal", "--fork-strategy", "fewest", "--python-version", self.python)

    def __str__(self) -> str:
        return f"Python {self.python} and later"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A package at one version."""

    version: str
    """`name==version`"""
    marker: str
    """Where it is needed, as requirements write it; empty: everywhere on Linux."""
    hashes: frozenset[str]
    """Of its wheels, as options of pip."""


_LINUX = "sys_platform == 'linux'"
_PROJECT = f'[tool.uv]\nenvironments = ["{_LINUX}"]\n'
"""Wheels of other systems need no hash."""
_STRONG = ("sha256", "sha384", "sha512")
"""What pip believes."""
_TIMEOUT = 600.0
_LABEL = re.compile(r"^\s*(?:error|cause|hint): ", re.IGNORECASE)
"""With what pip and uv begin lines; a line of ours has one of its own."""
_ABSENT = ("no solution found", "no matching distribution", "no wheels", "not found in the package")


def resolve_wheels(
    requirements: Sequence[str], target: Target, store: Store, *, alone: bool
) -> tuple[Wheel, ...]:
    """Return the newest wheels that satisfy `requirements`, and bring them into the store.

    `alone`: nothing that they in turn declare is added. Raises ImageError naming what has no wheel.
    """
    with tempfile.TemporaryDirectory(prefix="cannery-wheels-") as name:
        pinned = Path(name) / "requirements.txt"
        pinned.write_text(written(pin_wheels(requirements, target, alone=alone)))
        files = download_wheels(pinned, target, Path(name) / "wheels")
        return tuple(_wheel(file, store.take(file)) for file in files)


def fetch_wheels(wheels: Iterable[Wheel], target: Target, store: Store) -> None:
    """Bring wheels that the store lacks into it; raises ImageError where one differs from its hash."""
    lacking = [wheel for wheel in wheels if store.find(f"sha256:{wheel.sha256}") is None]
    if not lacking:
        return
    with tempfile.TemporaryDirectory(prefix="cannery-wheels-") as name:
        folder = Path(name)
        pinned = folder / "requirements.txt"
        pinned.write_text(
            "".join(f"{w.name}=={w.version} --hash=sha256:{w.sha256}\n" for w in lacking)
        )
        found = {digest_file(f): f for f in download_wheels(pinned, target, folder / "wheels")}
        for wheel in lacking:
            file = found.get(f"sha256:{wheel.sha256}")
            if file is None:
                raise ImageError(f"the index has no '{wheel.filename}' with the lock's hash")
            store.take(file)


def pin_wheels(
    requirements: Iterable[str], target: Target | Since, *, alone: bool
) -> tuple[Pin, ...]:
    """Let uv choose versions, and return each with the hashes of the wheels that it knows of.

    Raises ImageError where something has no wheel for the target.
    """
    # In a folder of its own: the settings that uv may find are the user's, not those of some project.
    with tempfile.TemporaryDirectory(prefix="cannery-pins-") as name:
        folder = Path(name)
        (folder / "pyproject.toml").write_text(_PROJECT)
        wanted, lock = folder / "requirements.in", folder / "pylock.toml"
        wanted.write_text("".join(f"{requirement}\n" for requirement in sorted(requirements)))
        command: list[str | Path] = [
            # In this form uv lists every wheel, and hashes those of which the index gives no hash.
            *(_uv(), "pip", "compile", wanted, "--output-file", lock, "--quiet"),
            *("--generate-hashes", "--no-annotate", "--no-header", "--only-binary", ":all:"),
            # Wheels alone need no interpreter of that version: none is to be looked for, let alone fetched.
            *("--python", sys.executable, "--no-python-downloads"),
            *target.words,
            *(["--no-deps"] if alone else []),
            *(word for name in UNUSED for word in ("--no-emit-package", name)),
        ]
        environment = {**os.environ, **index_environment(), **uv_cache()}
        _checked(run(command, env=environment, cwd=folder, timeout=_TIMEOUT), target)
        return tuple(map(_pinned, tomllib.loads(lock.read_text())["packages"]))


def _pinned(package: Mapping[str, Any]) -> Pin:
    """Return what a package of a lock (PEP 751) is pinned to."""
    marker = package.get("marker", _LINUX)
    return Pin(
        version=f"{package['name']}=={package['version']}",
        marker="" if marker == _LINUX else f" ; {marker}",
        hashes=frozenset(map(_hash, package["wheels"])),
    )


def written(pins: Iterable[Pin]) -> str:
    """Return pins as requirements."""
    lines = ((f"{pin.version}{pin.marker}", *sorted(pin.hashes)) for pin in pins)
    return "".join(" \\\n    ".join(words) + "\n" for words in lines)


def _hash(wheel: Mapping[str, Any]) -> str:
    hashes = wheel["hashes"]
    for kind in _STRONG:
        if kind in hashes:
            return f"--hash={kind}:{hashes[kind]}"
    name = wheel["url"].rpartition("/")[2]
    raise ImageError(
        f"of '{name}' the index gives no hash that pip believes, but {', '.join(hashes)}",
        hint="let it give SHA-256, or none",
    )


def _uv() -> Path:
    """Return the uv that came with Cannery."""
    import uv

    try:
        return Path(uv.find_uv_bin())
    except FileNotFoundError as error:
        raise ImageError(
            "the uv program is missing", hint="install Cannery anew: uv is one of its packages"
        ) from error


def download_wheels(pinned: Path, target: Target, folder: Path) -> list[Path]:
    """Let pip fetch these very wheels, from wherever the user's pip fetches."""
    machine = MACHINES[target.architecture]
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(target.newest, 16, -1)]
    words: list[str | Path] = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-input"),
        *("--disable-pip-version-check", "--require-hashes", "--no-deps"),
        *("--only-binary", ":all:", "--implementation", "cp", "--python-version", target.python),
        *(word for tag in (*tags, f"manylinux2014_{machine}") for word in ("--platform", tag)),
        *("--dest", folder, "--requirement", pinned),
    ]
    _checked(run(words, timeout=_TIMEOUT), target)
    return sorted(folder.glob("*.whl"))


def _checked(finished: Finished, subject: object) -> None:
    """Turn what pip or uv complained of into one of our errors."""
    if finished.ok:
        return
    text = finished.complaint
    lines = [line for line in text.splitlines() if not line.startswith("WARNING")]
    said = [_LABEL.sub("", line).strip(" .") for line in lines]
    message = "; ".join(filter(None, said)) or f"ended with status {finished.status}"
    lower = message.lower()
    if "do not match the hashes" in lower or "hash mismatch" in lower:
        raise ImageError(f"a wheel differs from its hash: {message}")
    if any(words in lower for words in _ABSENT):
        raise ImageError(
            f"no wheels for {subject} satisfy what the image needs: {message}",
            hint="choose versions that have wheels for this Python and platform",
        )
    if "connect" in lower or "failed to fetch" in lower or "timed out" in lower:
        raise UnreachableError(f"the package index does not answer: {message}")
    raise ImageError(f"can't resolve or fetch wheels: {message}")


def _wheel(file: Path, digest: str) -> Wheel:
    name, version = file.name.split("-")[:2]
    return Wheel(
        name=re.sub(r"[-_.]+", "-", name).lower(),
        version=version,
        filename=file.name,
        sha256=digest.removeprefix("sha256:"),
    )
