"""Read what an ELF file needs: the libraries it names and those that it finds beside itself."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from cannery.errors import ImageError
from cannery.images.trees import Tree

MACHINES = {62: "amd64", 183: "arm64"}
_DYNAMIC, _LOAD = 2, 1
_WORTHWHILE = 100_000
"""Bytes of debugging information that are worth a change to a file."""
_NEEDED, _STRTAB, _SONAME, _RPATH, _RUNPATH = 1, 5, 14, 15, 29


@dataclass(frozen=True, slots=True, kw_only=True)
class Elf:
    """An ELF file's machine and its dynamic section."""

    machine: str
    """`amd64`, `arm64`, or the number as text."""
    needed: tuple[str, ...] = ()
    soname: str | None = None
    runpath: tuple[str, ...] = ()


def read_elf(data: bytes) -> Elf | None:
    """Return what a 64-bit little-endian ELF file needs; None when `data` is no such file."""
    if data[:6] != b"\x7fELF\x02\x01":
        return None
    try:
        return _read(data)
    except (struct.error, IndexError) as error:
        raise ImageError("an ELF file is damaged") from error


def _read(data: bytes) -> Elf:
    (machine,) = struct.unpack_from("<H", data, 18)
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    loads, dynamic = [], None
    for index in range(count):
        kind, _, offset, address, _, filled = struct.unpack_from(
            "<IIQQQQ", data, table + index * size
        )
        if kind == _LOAD:
            loads.append((address, offset, filled))
        elif kind == _DYNAMIC:
            dynamic = (offset, filled)
    tags: list[tuple[int, int]] = []
    if dynamic:
        raw = data[dynamic[0] : dynamic[0] + dynamic[1] // 16 * 16]
        tags = [(tag, value) for tag, value in struct.iter_unpack("<QQ", raw)]
    strings = next((value for tag, value in tags if tag == _STRTAB), 0)
    base = next((o + strings - a for a, o, n in loads if a <= strings < a + n), 0)

    def texts(*wanted: int) -> tuple[str, ...]:
        starts = [base + value for tag, value in tags if tag in wanted]
        return tuple(data[s : data.index(b"\0", s)].decode("latin-1") for s in starts)

    return Elf(
        machine=MACHINES.get(machine, str(machine)),
        needed=texts(_NEEDED),
        soname=next(iter(texts(_SONAME)), None),
        runpath=tuple(p for text in texts(_RPATH, _RUNPATH) for p in text.split(":")),
    )


def check_machine(tree: Tree, architecture: str, place: str) -> None:
    """Raise ImageError where compiled code in `tree` is for another machine."""
    for path, entry in tree.items():
        elf = read_elf(entry.data) if entry.data else None
        if elf is not None and elf.machine != architecture:
            raise ImageError(
                f"'/{path}' in {place} is compiled for {elf.machine}, not for {architecture}",
                hint="its package is published wrongly for this platform: choose another version",
            )


def without_debugging(data: bytes) -> bytes:
    """Return an ELF file without what follows its last segment (symbols, debug sections), where that is much.

    The loader reads segments alone; the table of sections that goes with the rest is dropped too.
    """
    if read_elf(data) is None:
        return data
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    ends = [table + size * count]
    for index in range(count):
        _, _, offset, _, _, filled = struct.unpack_from("<IIQQQQ", data, table + index * size)
        ends.append(offset + filled)
    if len(data) - max(ends) < _WORTHWHILE:
        return data
    kept = bytearray(data[: max(ends)])
    kept[40:48] = bytes(8)  # e_shoff
    kept[60:64] = bytes(4)  # e_shnum, e_shstrndx
    return bytes(kept)


def missing_libraries(tree: Tree, folders: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """Return, by path, the libraries that an ELF file of the image needs and the image does not have.

    Looked for as the loader does: in the file's own run path, then in `folders`.
    """
    missing = {}
    for path, entry in tree.items():
        elf = read_elf(entry.data) if entry.data else None
        if elf is None:
            continue
        places = [_origin(text, path) for text in elf.runpath] + list(folders)
        lacking = tuple(n for n in elf.needed if not any(f"{p}/{n}" in tree for p in places))
        if lacking:
            missing[path] = lacking
    return missing


def _origin(text: str, path: str) -> str:
    """Return a run path as a folder of the image."""
    here = str(PurePosixPath(path).parent)
    whole = text.replace("${ORIGIN}", here).replace("$ORIGIN", here)
    parts: list[str] = []
    for part in whole.strip("/").split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
