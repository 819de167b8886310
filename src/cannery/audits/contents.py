"""The bytes of a file as something to index: in memory when small, else mapped, decompressed where needed."""

from __future__ import annotations

import bz2
import importlib
import lzma
import mmap
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import IO, Any

from cannery.audits.limits import Limits
from cannery.audits.opcodes import BrokenProgramError, Data
from cannery.blobs import CHUNK, Blob
from cannery.errors import SourceError
from cannery.sources.holding import hold
from cannery.sources.windows import release

_LZMA_MEMORY = 1 << 28


def content(blob: Blob, limits: Limits = Limits()) -> Data:  # noqa: B008, frozen
    """Return the bytes of a file; raises SourceError when it can't be read or is not what was hashed."""
    held = blob if blob.data is not None else hold(blob.path, limits.memory)
    if held.data is None or held.digest != blob.digest:
        raise SourceError(f"'{blob.path}' changed while it was being used")
    return held.data


_MAGICS: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"BZ", "bz2"),
    (b"\xfd7zXZ", "xz"),
    (b"\x5d\x00", "lzma"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"x", "zlib"),
    (b"ZF", "joblib-0.9"),
)
"""joblib looks at the first bytes and never at the file's name."""
_BEGINNINGS = tuple(magic for magic, _ in _MAGICS)


def compressor(data: Data) -> str | None:
    """Return by what the data is compressed, in the eyes of joblib; None for a plain stream."""
    head = data[:8]
    if not head.startswith(_BEGINNINGS):
        return None
    return next((name for magic, name in _MAGICS if head.startswith(magic)))


def _decompressor(name: str) -> Any:
    if name == "zlib":
        return zlib.decompressobj(15)
    if name == "gzip":
        return zlib.decompressobj(31)
    if name == "bz2":
        return bz2.BZ2Decompressor()
    if name == "xz":
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_LZMA_MEMORY)
    if name == "lzma":
        return lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_LZMA_MEMORY)
    if name == "lz4":
        try:
            return importlib.import_module("lz4.frame").LZ4FrameDecompressor()
        except ImportError as error:
            raise BrokenProgramError(
                "no-decompressor", "the file is compressed by lz4, which is not installed"
            ) from error
    raise BrokenProgramError("unknown-container", f"a file of {name} can't be read")


@contextmanager
def decompressed(data: Data, name: str, limits: Limits) -> Iterator[Data]:
    """Yield what `data` decompresses to; raises BrokenProgramError for bombs, broken or joined streams."""
    with gathered(_blocks(_decompressor(name), data), limits) as inside:
        yield inside


@contextmanager
def gathered(blocks: Iterable[bytes], limits: Limits) -> Iterator[Data]:
    """Yield blocks as one, in memory when small, else in a temporary file; raises BrokenProgramError for bombs."""
    small = bytearray()
    size = 0
    with ExitStack() as stack:
        file: IO[bytes] | None = None
        for block in blocks:
            size += len(block)
            if size > limits.decompressed:
                raise BrokenProgramError(
                    "bomb", f"it decompresses to more than {limits.decompressed} bytes", unsafe=True
                )
            if size <= limits.memory:
                small += block
                continue
            try:
                file = file or stack.enter_context(tempfile.TemporaryFile())
                file.write(small)
                file.write(block)
            except OSError as error:
                raise BrokenProgramError(
                    "exhausted", f"there is no room for what it decompresses to: {error.strerror}"
                ) from error
            small.clear()
        if file is None:
            yield bytes(small)
            return
        file.flush()
        yield stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def pieces(data: Data, start: int, end: int) -> Iterator[bytes]:
    """Yield a part piece by piece; what was read of a map does not stay in memory."""
    end = min(end, len(data))
    for at in range(start, end, CHUNK):
        stop = min(at + CHUNK, end)
        yield data[at:stop]
        release(data, at, stop)


def part_of(data: Data, start: int, end: int, limits: Limits) -> AbstractContextManager[Data]:
    """Yield a part as data of its own."""
    if end - start <= limits.memory:
        return nullcontext(data[start:end])
    return gathered(pieces(data, start, end), limits)


def _blocks(decompressor: Any, data: Data) -> Iterator[bytes]:
    step: Callable[[Any, bytes], tuple[bytes, bytes]] = (
        _zlib_step if hasattr(decompressor, "unconsumed_tail") else _other_step
    )
    at = 0
    rest = b""
    while not decompressor.eof:
        if not rest and getattr(decompressor, "needs_input", True):
            rest = data[at : at + CHUNK]
            if not rest:
                raise BrokenProgramError("truncated", "the compressed file ends too soon")
            release(data, at, at + len(rest))
            at += len(rest)
        try:
            block, rest = step(decompressor, rest)
        except (zlib.error, OSError, EOFError, lzma.LZMAError, RuntimeError, MemoryError) as error:
            raise BrokenProgramError(
                "broken-container", f"the compressed file is broken: {error}"
            ) from error
        yield block
    unused = len(data) - at + len(decompressor.unused_data or b"")
    if unused:
        raise BrokenProgramError(
            "trailing-bytes", f"{unused} bytes follow the compressed stream", unsafe=True
        )


def _zlib_step(decompressor: Any, rest: bytes) -> tuple[bytes, bytes]:
    return decompressor.decompress(rest, CHUNK), decompressor.unconsumed_tail


def _other_step(decompressor: Any, rest: bytes) -> tuple[bytes, bytes]:
    return decompressor.decompress(rest, max_length=CHUNK), b""
