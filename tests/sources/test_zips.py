"""The directory of a zip is what Python's own reader finds, however it is damaged."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cannery.sources.zips import BadZipError, Directory, read_directory

NAMES = ("schema.json", "a/", "a/ü.npy", "b\\c", "e" * 300)


def packed(*names: str, comment: bytes = b"", method: int = zipfile.ZIP_STORED) -> bytes:
    """Return an archive of such members."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name in names:
            archive.writestr(name, name * 5)
        archive.comment = comment
    return stream.getvalue()


def found_by_python(data: bytes) -> list[tuple[object, ...]] | None:
    """Return what zipfile finds, None where it finds no archive."""
    try:
        infos = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except (zipfile.BadZipFile, RuntimeError, ValueError, struct.error, OverflowError):
        return None
    return [
        (i.filename, i.orig_filename, i.flag_bits, i.compress_type, i.CRC, i.compress_size, i.file_size,
         i.header_offset, i.extra, i.external_attr >> 16)
        for i in infos
    ]  # fmt: skip


def found(data: bytes) -> list[tuple[object, ...]] | None:
    """Return what we find, None where we find no archive."""
    try:
        directory: Directory = read_directory(data)
    except BadZipError:
        return None
    return [tuple(entry) for entry in directory.entries]


@pytest.mark.parametrize("names", [NAMES[:1], NAMES[:2], NAMES, ()], ids=len)
@pytest.mark.parametrize("comment", [b"", b"note"], ids=str)
def test_every_archive_is_read_as_python_reads_it(names: tuple[str, ...], comment: bytes) -> None:
    """Names, sizes and places agree, of plain archives and of those with comments and other letters."""
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        data = packed(*names, comment=comment, method=method)
        assert found(data) is not None
        assert found(data) == found_by_python(data)
        assert found(b"front" + data) == found_by_python(b"front" + data)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 220), st.sampled_from((0, 1, 6, 7, 20, 46, 63, 64, 128, 255))),
        min_size=1,
        max_size=4,
    )
)
def test_a_damaged_directory_is_read_as_python_reads_it(changes: list[tuple[int, int]]) -> None:
    """Bytes of directory and end are changed: both find the same members, or both none."""
    data = bytearray(packed("schema.json", "a.npy", "b.npy"))
    for back, value in changes:
        data[-1 - back] = value
    assert found(bytes(data)) == found_by_python(bytes(data))


def test_a_far_end_inside_the_last_entry_is_not_overlooked() -> None:
    """Python follows what locates the end of an archive past 4 GB, even where a name makes it up."""
    name = "x" * 12 + "PK\x06\x07" + "y" * 16
    data = packed("schema.json", name)
    assert data[-42:-38] == b"PK\x06\x07"
    assert found(data) == found_by_python(data)
