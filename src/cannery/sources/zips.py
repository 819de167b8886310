"""The directory of a zip archive, which readers find from the end of the file."""

from __future__ import annotations

import struct
import zipfile
from typing import NamedTuple

from cannery.sources.windows import Data, Reading, stream_of

END = struct.Struct("<4sHHHHIIH")
"""The end of an archive: magic, two disks, members twice, bytes and place of the directory, a comment's length."""
_ENTRY = struct.Struct("<4sxxBxHHxxxxIIIHHHHxxII")
_FAR = 0xFFFFFFFF
FAR_PLACE = 20
FAR_MAGIC = b"PK\x06\x07"
"""Bytes in front of the end, and how they begin, that locate another end: of archives past 4 GB."""
_NEWEST = 63
"""Version of the format that Python reads."""


class BadZipError(Exception):
    """What has no directory that can be read; the message says why."""


class Entry(NamedTuple):
    """What the directory says of a member."""

    name: str
    written: str
    """The name as it stands there: readers cut it at a null byte."""
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    place: int
    """Where the member begins, with its own header."""
    extra: bytes
    mode: int
    """What kind of file it was, and who might use it; 0 where that is not told."""


class Directory(NamedTuple):
    """The members of an archive, and where the directory begins."""

    entries: list[Entry]
    start: int


def read_directory(data: Data | Reading) -> Directory:
    """Return what Python's own reader finds; raises BadZipError where it finds nothing.

    The plainest directories are read here, ten times as fast; any other is left to that reader.
    """
    return _plain(data) or _by_zipfile(data)


def _by_zipfile(data: Data | Reading) -> Directory:
    try:
        with zipfile.ZipFile(stream_of(data)) as archive:
            entries = [
                Entry(
                    i.filename, i.orig_filename, i.flag_bits, i.compress_type, i.CRC,
                    i.compress_size, i.file_size, i.header_offset, i.extra, i.external_attr >> 16,
                )
                for i in archive.infolist()
            ]  # fmt: skip
            return Directory(entries, archive.start_dir)
    except (
        zipfile.BadZipFile, struct.error, EOFError, OverflowError, RuntimeError, ValueError,
    ) as error:  # fmt: skip
        raise BadZipError(str(error)) from error


def _plain(data: Data | Reading) -> Directory | None:
    """Return a directory that ends the file, of ASCII names and nothing that is extra; None for another."""
    end = len(data) - END.size
    tail = data[max(0, end - FAR_PLACE) :]
    if end < FAR_PLACE or tail[:4] == FAR_MAGIC:
        return None
    magic, disk, first, here, count, size, start, comment = END.unpack(tail[FAR_PLACE:])
    if magic != b"PK\x05\x06" or disk or first or comment or here != count or start + size != end:
        return None
    block = data[start:end]
    entries: list[Entry] = []
    at = 0
    while at < size:
        if at + _ENTRY.size > size:
            return None
        (
            magic, version, flags, method, crc, packed, whole, length, extra, comment, disk, told, place,
        ) = _ENTRY.unpack_from(block, at)  # fmt: skip
        at += _ENTRY.size
        name = block[at : at + length]
        at += length
        if (
            magic != b"PK\x01\x02"
            or version > _NEWEST
            or extra
            or comment
            or disk
            or _FAR in (packed, whole, place)
            or len(name) != length
            or not name.isascii()
            or b"\0" in name
        ):
            return None
        text = name.decode("ascii")
        mode = told >> 16
        entries.append(Entry(text, text, flags, method, crc, packed, whole, place, b"", mode))
    return Directory(entries, start) if len(entries) == count else None
