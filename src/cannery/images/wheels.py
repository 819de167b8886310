"""Wheels for the image's Python: resolved by uv, fetched by pip as the user configured it, unpacked with suspicion."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import re
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cannery.blobs import digest_file
from cannery.caches import uv_cache
from cannery.errors import ImageError, UnreachableError
from cannery.images.elf import read_elf, without_debugging
from cannery.images.packages import BaseImage, Wheel
from cannery.images.recipe import LIBRARIES, MACHINES, PYTHON, Cut
from cannery.images.store import Store
from cannery.images.trees import Entry, LeftOut, Tree, leave_out, safe_path
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

    def __str__(self) -> str:
        return f"Python {self.python} on {self.architecture}"


_TIMEOUT = 600.0
_LIMIT = 4 << 30
"""Unpacked bytes of one wheel."""
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
        folder = Path(name)
        wanted = folder / "requirements.in"
        wanted.write_text("".join(f"{requirement}\n" for requirement in sorted(requirements)))
        pinned = folder / "requirements.txt"
        _compile(wanted, pinned, target, alone=alone)
        files = _download(pinned, target, folder / "wheels")
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
        found = {digest_file(f): f for f in _download(pinned, target, folder / "wheels")}
        for wheel in lacking:
            file = found.get(f"sha256:{wheel.sha256}")
            if file is None:
                raise ImageError(f"the index has no '{wheel.filename}' with the lock's hash")
            store.take(file)


def _compile(wanted: Path, pinned: Path, target: Target, *, alone: bool) -> None:
    """Ask uv for exact versions and all their hashes."""
    words: list[str | Path] = [
        _uv(),
        *("pip", "compile", wanted, "--output-file", pinned, "--quiet"),
        *("--generate-hashes", "--no-annotate", "--no-header", "--only-binary", ":all:"),
        # Wheels alone need no interpreter of that version: none is to be looked for, let alone fetched.
        *("--python", sys.executable, "--no-python-downloads"),
        *("--python-version", target.python),
        *("--python-platform", f"{MACHINES[target.architecture]}-manylinux_2_{target.newest}"),
        *(["--no-deps"] if alone else []),
        *(word for name in UNUSED for word in ("--no-emit-package", name)),
    ]
    # In a folder of its own: the settings that uv may find are the user's, not those of some project.
    environment = {**os.environ, **index_environment(), **uv_cache()}
    _checked(run(words, env=environment, cwd=pinned.parent, timeout=_TIMEOUT), target)


def _uv() -> Path:
    """Return the uv that came with Cannery."""
    import uv

    try:
        return Path(uv.find_uv_bin())
    except FileNotFoundError as error:
        raise ImageError(
            "the uv program is missing", hint="install Cannery anew: uv is one of its packages"
        ) from error


def _download(pinned: Path, target: Target, folder: Path) -> list[Path]:
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


def _checked(finished: Finished, target: Target) -> None:
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
            f"no wheels for {target} satisfy what the image needs: {message}",
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


def wheel_tree(wheel: Wheel, store: Store) -> Tree:
    """Return the files of a wheel, as its RECORD lists and hashes them, below the folder for libraries.

    Raises ImageError when a file is missing from RECORD, differs from it, or would leave the folder.
    """
    data = store.read(f"sha256:{wheel.sha256}")
    if data is None:
        raise ImageError(f"'{wheel.filename}' is not in the store", hint="fetch the lock first")
    try:
        return {f"{LIBRARIES}/{path}": entry for path, entry in _unpack(data, wheel.filename)}
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise ImageError(f"'{wheel.filename}' is damaged: {error}") from error


def check_libraries(wheels: Iterable[Wheel], base: BaseImage, store: Store) -> None:
    """Raise ImageError where compiled code in a wheel needs a library that neither wheels nor base have."""
    needed: dict[str, str] = {}
    own = set(base.libraries)
    for wheel in wheels:
        for path, entry in wheel_tree(wheel, store).items():
            elf = read_elf(entry.data) if entry.data else None
            if elf is not None:
                own |= {path.rpartition("/")[2], elf.soname or ""}
                needed.update(dict.fromkeys(elf.needed, wheel.name))
    for library, name in sorted(needed.items()):
        if library not in own:
            raise ImageError(
                f"'{name}' needs '{library}', which the base '{base.reference}' lacks",
                hint='install it in the base, or take base = "debian"',
            )


def cut_wheels(tree: Tree, cuts: Iterable[Cut]) -> tuple[Tree, list[LeftOut]]:
    """Return the tree without what does not serve, and what that was."""
    kept, left_out = leave_out(tree, cuts, LIBRARIES)
    lighter = {
        path: replace(entry, data=without_debugging(entry.data))
        for path, entry in kept.items()
        if entry.data is not None and ".so" in path
    }
    saved = [len(kept[p].data or b"") - len(entry.data or b"") for p, entry in lighter.items()]
    if any(saved):
        note = "symbols and debug sections, which no loader reads"
        count = sum(map(bool, saved))
        left_out.append(LeftOut(pattern="*.so", reason=note, files=count, bytes=sum(saved)))
    return {**kept, **lighter}, left_out


def _unpack(data: bytes, filename: str) -> list[tuple[str, Entry]]:
    found = []
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        if sum(info.file_size for info in infos) > _LIMIT:
            raise ImageError(f"'{filename}' unpacks to more than {_LIMIT} bytes")
        names = [info.filename for info in infos]
        if len(names) != len(set(names)):
            raise ImageError(f"'{filename}' holds two files of one name")
        record = _record(archive, filename)
        stem = "-".join(filename.split("-")[:2])
        for info in infos:
            path = safe_path(info.filename, filename)
            content = archive.read(info)
            _check(record, path, content, filename)
            placed = _placed(path, stem, filename)
            if placed is not None:
                executable = 0o111 if info.external_attr >> 16 & 0o111 else 0
                found.append((placed, Entry(mode=0o644 | executable, data=content)))
    return found


def _record(archive: zipfile.ZipFile, filename: str) -> dict[str, str]:
    """Return path → hash as RECORD has it (PEP 376, PEP 427)."""
    names = [n for n in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/RECORD", n)]
    if len(names) != 1:
        raise ImageError(f"'{filename}' has no RECORD")
    try:
        rows = list(csv.reader(io.StringIO(archive.read(names[0]).decode())))
        return {row[0]: row[1] for row in rows if row}
    except (UnicodeDecodeError, IndexError, csv.Error) as error:
        raise ImageError(f"RECORD of '{filename}' is damaged") from error


def _check(record: dict[str, str], path: str, content: bytes, filename: str) -> None:
    if path.endswith((".dist-info/RECORD", ".dist-info/RECORD.jws", ".dist-info/RECORD.p7s")):
        return
    if path not in record:
        raise ImageError(f"'{path}' in '{filename}' is not in its RECORD")
    name, _, expected = record[path].partition("=")
    if name not in ("sha256", "sha384", "sha512"):
        raise ImageError(f"'{path}' in '{filename}' has no hash in RECORD")
    found = base64.urlsafe_b64encode(hashlib.new(name, content).digest()).rstrip(b"=").decode()
    if found != expected:
        raise ImageError(f"'{path}' in '{filename}' differs from its hash in RECORD")


def _placed(path: str, stem: str, filename: str) -> str | None:
    """Return where a file of a wheel goes below the folder for libraries; None: it is left out."""
    first, _, rest = path.partition("/")
    if not first.endswith(".data"):
        return path
    scheme, _, inner = rest.partition("/")
    if scheme in ("purelib", "platlib") and inner:
        return inner
    if scheme in ("scripts", "headers", "data"):
        return None
    raise ImageError(f"'{path}' in '{filename}' belongs to an unknown scheme '{scheme}'")
