"""Wheels, unpacked with suspicion."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import replace

from cannery.errors import ImageError
from cannery.images.elf import read_elf, without_debugging
from cannery.images.packages import BaseImage, Wheel
from cannery.images.recipe import LIBRARIES, Cut
from cannery.images.store import Store
from cannery.images.trees import Entry, LeftOut, Tree, leave_out, safe_path

_LIMIT = 4 << 30
"""Unpacked bytes of one wheel."""


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
