"""Bytes in memory or mapped, as something that can be read and searched without a copy."""

from __future__ import annotations

import io
import mmap
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

    def __init__(self, data: Data) -> None:
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


@contextmanager
def mapped(path: Path) -> Iterator[Data]:
    """Yield the content of a file without reading it; raises OSError."""
    with path.open("rb") as stream:
        if not stream.seek(0, io.SEEK_END):
            yield b""
            return
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
