"""Bytes in memory, mapped or in a file, as something that can be read and searched without a copy."""

from __future__ import annotations

import errno
import io
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Data = bytes | mmap.mmap
"""What is indexed, sliced and searched, and never executed."""


def release(data: Data, start: int, stop: int) -> None:
    """Let go of the memory in which a part of a mapped file lies; it is read again when it is needed."""
    if isinstance(data, mmap.mmap):
        first = start - start % mmap.PAGESIZE
        data.madvise(mmap.MADV_DONTNEED, first, stop - first)


class Window(io.RawIOBase):
    """Data as a stream, for readers that want one."""

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

    def find(self, wanted: bytes) -> int:
        """Return where bytes stand first, -1 where they don't."""
        for start in range(0, self._size, _PIECE):
            at = self[start : start + _PIECE + len(wanted) - 1].find(wanted)
            if at >= 0:
                return start + at
        return -1


_PIECE = 1 << 20


@contextmanager
def reading(path: Path) -> Iterator[Reading]:
    """Yield the content of a file, none of it read yet; raises OSError."""
    with path.open("rb") as stream:
        yield Reading(stream.fileno())
