"""Arrays of Arrow in a pickle, which hold the texts of pandas' frames: a type, and buffers that it reads.

Arrow takes buffers as they are, so every array is measured: its places lie inside its buffers, its
nulls are as many as it says, and its text is UTF-8.
https://arrow.apache.org/docs/format/Columnar.html
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cannery.audits.arguments import Call
from cannery.audits.values import List, Made, Tuple, Value, size_of, span_of
from cannery.bounds.things import BLOCK

_ARRAY, _BUFFER = "pyarrow.lib._restore_array", "pyarrow.lib.py_buffer"
_UNITS = ("s", "ms", "us", "ns")

_BITS = {
    "bool": 1, "int8": 8, "uint8": 8, "int16": 16, "uint16": 16, "halffloat": 16, "int32": 32,
    "uint32": 32, "float": 32, "date32[day]": 32, "int64": 64, "uint64": 64, "double": 64,
    "date64[ms]": 64,
}  # fmt: skip
"""Type → bits of an item."""
_PLACES = {"string": "<i4", "binary": "<i4", "large_string": "<i8", "large_binary": "<i8"}
"""Type of items of any length → type of the places where each begins."""
_LONGEST = 1 << 50


class _OddError(Exception):
    """An array that leads out of its buffers; the message goes on after "with an array"."""


def alias(c: Call) -> Value:
    """Judge `type_for_alias("large_string")`."""
    match c.items:
        case (str(),):
            return Made(c.name, c.items)
    return c.refuse("with something that is no name of a type")


def moment(c: Call) -> Value:
    """Judge `timestamp("ns", zone)` and `duration("ns")`."""
    match c.items:
        case (str() as unit,) | (str() as unit, None | str()) if unit in _UNITS:
            return Made(c.name, ("int64",))  # so it is kept
    return c.refuse("with something that is no unit of time")


def buffer(c: Call) -> Value:
    """Judge `py_buffer(data)`."""
    if len(c.items) == 1 and size_of(c.items[0]) is not None:
        return Made(c.name, c.items)
    return c.refuse("with something that is not bytes")


def chunked(c: Call) -> Value:
    """Judge `chunked_array([array, …], type)`."""
    match c.items:
        case (List() as chunks, Made()) if chunks.count == len(chunks.items):
            if all(isinstance(each, Made) and each.canonical == _ARRAY for each in chunks.items):
                return Made(c.name, tuple(chunks.items))
    return c.refuse("with something else than arrays")


def restored(c: Call) -> Value:
    """Judge `_restore_array((type, length, nulls, offset, buffers, children, dictionary))`."""
    match c.items:
        case (
            Tuple(items=(Made() as kind, int(length), int(nulls), int(at), List() as held, *rest)),
        ):
            if len(rest) != 2 or min(length, at) < 0 or length + at >= _LONGEST:
                return c.refuse("with an array of an impossible length")
            known = kind.arguments[0] if kind.arguments else None
            plain = isinstance(rest[0], List) and not rest[0].count and rest[1] is None
            if plain and (known in _BITS or known in _PLACES):
                try:
                    _check(str(known), (length, nulls, at), [_data(part) for part in held.items])
                except _OddError as odd:
                    return c.refuse(f"with an array {odd}")
            else:
                c.review("makes an array of a type that is not checked here")
            return Made(c.name, (length,))
    return c.refuse("otherwise than Arrow does")


def _data(part: Value) -> Value:
    """Return the bytes of a buffer; None where there is none."""
    if part is None:
        return None
    if isinstance(part, Made) and part.canonical == _BUFFER:
        return part.arguments[0]
    raise _OddError("of something that is no buffer")


def _check(kind: str, extent: tuple[int, int, int], buffers: list[Value]) -> None:
    """Raise _OddError unless `length` items from `at` on lie within their buffers."""
    length, nulls, at = extent
    end = at + length
    if len(buffers) != (3 if kind in _PLACES else 2):
        raise _OddError("of another number of buffers than its type has")
    if buffers[0] is None:
        if nulls > 0:
            raise _OddError("that says it has nulls, and has none")
    elif nulls not in (-1, length - _ones(buffers[0], at, end)):
        raise _OddError("of another number of nulls than it says")
    if kind in _BITS:
        if (size_of(buffers[1]) or 0) * 8 < end * _BITS[kind]:
            raise _OddError("that is longer than its buffer")
    elif length or size_of(buffers[1]):
        _check_places(kind, at, end, buffers)


def _ones(bits: Value, at: int, end: int) -> int:
    if (size_of(bits) or 0) * 8 < end:
        raise _OddError("that is longer than its nulls")
    ones = seen = 0
    for block in _blocks(bits):
        there = np.unpackbits(block, bitorder="little")
        ones += int(there[max(at - seen, 0) : max(end - seen, 0)].sum())
        seen += len(there)
    return ones


def _check_places(kind: str, at: int, end: int, buffers: list[Value]) -> None:
    width = np.dtype(_PLACES[kind]).itemsize
    size = size_of(buffers[2]) or 0
    if (size_of(buffers[1]) or 0) < (end + 1) * width:
        raise _OddError("that has fewer places than items")
    places = np.concatenate(list(_blocks(buffers[1], _PLACES[kind])))[at : end + 1]
    if places[0] < 0 or places[-1] > size or (places[1:] < places[:-1]).any():
        raise _OddError("whose items do not lie one behind the other in its buffer")
    if "string" in kind and size:
        _check_text(places.astype("i8"), buffers[2])


def _check_text(places: NDArray[Any], text: Value) -> None:
    """Raise _OddError for what is no UTF-8, or begins within a character: Arrow reads on from there."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    seen = 0
    try:
        for block in _blocks(text):
            decoder.decode(block.tobytes())
            here = places[(places >= seen) & (places < seen + len(block))] - seen
            if (block[here] & 0xC0 == 0x80).any():
                raise _OddError("whose texts begin within a character")
            seen += len(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise _OddError("whose text is not UTF-8") from error


def _blocks(data: Value, dtype: str = "u1") -> Iterator[NDArray[Any]]:
    span = span_of(data)
    width = np.dtype(dtype).itemsize
    for block in span.blocks(BLOCK) if span is not None else ():
        yield np.frombuffer(block[: len(block) - len(block) % width], dtype)


RULES = {
    _ARRAY: restored,
    _BUFFER: buffer,
    "pyarrow.lib.chunked_array": chunked,
    "pyarrow.lib.duration": moment,
    "pyarrow.lib.timestamp": moment,
    "pyarrow.lib.type_for_alias": alias,
}
"""By canonical name."""
