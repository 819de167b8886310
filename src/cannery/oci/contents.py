"""Bytes that stand in several places, read as one: parts of files and what lies between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cannery.blobs import CHUNK
from cannery.errors import ImageError
from cannery.oci.streams import as_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Bytes and whole files, one after another: a layer need not be copied together to be sent."""

    parts: tuple[bytes | Path, ...]
    size: int
    """Of all parts; a file that has changed since is noticed when it is read."""

    @classmethod
    def of(cls, *parts: bytes | Path) -> Content:
        """Return the content of these parts as they are now; raises OSError for a file that can't be read."""
        sizes = (len(p) if isinstance(p, bytes) else p.stat().st_size for p in parts)
        return cls(parts=parts, size=sum(sizes))

    def pieces(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start` up to `end` in pieces; raises ImageError where files no longer add up."""
        end = self.size if end is None else end
        at = 0
        for part in self.parts:
            size = len(part) if isinstance(part, bytes) else part.stat().st_size
            if at < end and at + size > start:
                yield from _read(part, max(0, start - at), min(size, end - at))
            at += size
        if at != self.size:
            names = ", ".join(f"'{part}'" for part in self.parts if isinstance(part, Path))
            raise ImageError(f"{names} changed while being read: {at} bytes, not {self.size}")

    def open(self) -> IO[bytes]:
        """Return a file to read it from, once."""
        if len(self.parts) == 1 and isinstance(self.parts[0], Path):
            return self.parts[0].open("rb")
        return as_file(self.pieces())


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A part of some content, as one request carries it."""

    content: Content
    start: int
    end: int

    def pieces(self) -> Iterator[bytes]:
        """Yield its bytes."""
        return self.content.pieces(self.start, self.end)


def _read(part: bytes | Path, start: int, end: int) -> Iterator[bytes]:
    if isinstance(part, bytes):
        yield part[start:end]
        return
    with part.open("rb") as stream:
        stream.seek(start)
        while start < end and (piece := stream.read(min(CHUNK, end - start))):
            yield piece
            start += len(piece)
