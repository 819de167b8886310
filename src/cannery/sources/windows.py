"""Bytes in memory, mapped or in a file, as something that can be read and searched without a copy."""

from __future__ import annotations

import errno
import io
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

Data = bytes | mmap.mmap
"""What is indexed, sliced and searched, and never executed."""


def release(data: Data, start: int, stop: int) -> None:
    """Let go of the memory in which a part of a mapped file lies; it is read again when it is needed."""
    if isinstance(data, mmap.mmap):
        first = start - start % mmap.PAGESIZE
        data.madvise(mmap.MADV_DONTNEED, first, stop - first)


def stream_of(data: Data | Reading) -> BinaryIO:
    """Return data as a stream, for readers that want one; none of it is copied."""
    return io.BytesIO(data) if isinstance(data, bytes) else io.BufferedReader(_Window(data))


class _Window(io.RawIOBase):
    def __init__(self, data: Data | Reading) -> None:
        super().__init__()
        self._data = data
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a place."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`, return how much was filled."""
        block = self._data[self._at : self._at + len(buffer)]
        buffer[: len(block)] = block
        self._at += len(block)
        return len(block)


class Reading:
    """A file of which only what is looked at is read; one that becomes shorter raises OSError, unlike a map."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._size)
        found = os.pread(self._descriptor, max(0, stop - start), start)
        if len(found) < stop - start:
            raise OSError(errno.EIO, "it became shorter while it was being read")
        return found


_PIECE = 1 << 20


def holds(data: Data | Reading, wanted: bytes) -> bool:
    """Tell whether these bytes stand anywhere; what is not in memory is read piece by piece."""
    if isinstance(data, bytes):
        return wanted in data
    for start in range(0, len(data), _PIECE):
        stop = min(start + _PIECE + len(wanted) - 1, len(data))
        if wanted in data[start:stop]:
            return True
        if isinstance(data, mmap.mmap):
            release(data, start, stop)
    return False


@contextmanager
def reading(path: Path) -> Iterator[Reading]:
    """Yield the content of a file, none of it read yet; raises OSError."""
    with path.open("rb") as stream:
        yield Reading(stream.fileno())
