"""Large constants of a graph: written where they can be mapped, and left in their file when it is opened.

ONNX Runtime copies constants out of the bytes of a graph, but maps those that stand in a file. So the
graph is opened without them, and they are named as parts of the very file from which they were left out.
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cannery.errors import CanError
from cannery.serving.wire import head, message, number

LEAST = 1 << 20
"""Bytes of a constant that is worth it."""
ALIGNED = 64
"""Where it must begin, so that vector instructions may read it."""

Data = bytes | mmap.mmap

_GRAPH, _INITIALIZER, _RAW, _DOC, _EXTERNAL, _LOCATION = 7, 5, 9, 12, 13, 14
"""Numbers of fields: of a model, of a graph, and of a tensor."""
_FIXED = {1: 8, 5: 4}
"""Wire type → bytes of the value."""


class _Field(NamedTuple):
    number: int
    start: int
    """Of its key."""
    value: int
    """Where its bytes begin."""
    end: int


def laid_out(data: bytes) -> bytes:
    """Return the same graph with every large constant at a multiple of `ALIGNED`.

    A comment before it and one behind it, together of one length, move it to its place.
    """
    pieces: list[bytes] = []
    at = 0
    for field in _fields(data, 0, len(data)):
        large = [f for f in _constants(data, field) if _raw(data, f) is not None]
        if not large:
            pieces.append(data[field.start : field.end])
        else:
            grown = {f: head(_INITIALIZER, f.end - f.value + ALIGNED + 3) for f in large}
            longer = sum(ALIGNED + 3 + len(k) - (f.value - f.start) for f, k in grown.items())
            pieces.append(head(_GRAPH, field.end - field.value + longer))
            base = at + len(pieces[-1])
            pieces.append(_moved(data, field, grown, base))
        at += sum(map(len, pieces[-2:] if large else pieces[-1:]))
    return b"".join(pieces)


def _moved(data: bytes, graph: _Field, grown: dict[_Field, bytes], base: int) -> bytes:
    """Return the fields of a graph that will begin at `base`."""
    out = bytearray()
    for field in _fields(data, graph.value, graph.end):
        raw = _raw(data, field) if field in grown else None
        if raw is None:
            out += data[field.start : field.end]
            continue
        out += grown[field] + data[field.value : raw.start] + data[raw.end : field.end]
        before = -(base + len(out) + 2 + raw.value - raw.start) % ALIGNED
        out += message(_DOC, bytes(before))
        out += data[raw.start : raw.end]
        out += message(_DOC, bytes(ALIGNED - 1 - before))
    return bytes(out)


def apart(path: Path) -> bytes | None:
    """Return the graph in a file with its large constants named as parts of that file; None where none can be.

    Raises CanError for a file that can't be read.
    """
    with _mapped(path) as data:
        return _apart(data, path.name) if _bytes_apart(data) else None


def bytes_apart(path: Path) -> int:
    """Return how many bytes of a graph's file are mapped once it is opened; raises CanError."""
    with _mapped(path) as data:
        return _bytes_apart(data)


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ) as data:
            yield data
    except (OSError, ValueError) as error:  # ValueError: it is empty
        raise CanError(f"can't read '{path}': {error}") from error


def _bytes_apart(data: Data) -> int:
    fields = _fields(data, 0, len(data))
    return sum(r.end - r.value for field in fields for r in _left(data, field).values())


def _left(data: Data, field: _Field) -> dict[_Field, _Field]:
    """Return the constants in a field of a model that can stay in its file, each with its bytes."""
    found = {constant: _raw(data, constant) for constant in _constants(data, field)}
    return {c: raw for c, raw in found.items() if raw is not None and raw.value % ALIGNED == 0}


def _apart(data: Data, name: str) -> bytes:
    out = bytearray()
    for field in _fields(data, 0, len(data)):
        large = {c: _named(data, c, raw, name) for c, raw in _left(data, field).items()}
        if not large:
            out += data[field.start : field.end]
            continue
        graph = b"".join(
            large.get(f) or data[f.start : f.end] for f in _fields(data, field.value, field.end)
        )
        out += head(_GRAPH, len(graph)) + graph
    return bytes(out)


def _named(data: Data, constant: _Field, raw: _Field, name: str) -> bytes:
    """Return a constant that says where its bytes stand."""
    place = {"location": name, "offset": str(raw.value), "length": str(raw.end - raw.value)}
    words = b"".join(
        message(_EXTERNAL, message(1, key.encode()) + message(2, value.encode()))
        for key, value in place.items()
    )
    rest = data[constant.value : raw.start] + data[raw.end : constant.end]
    return message(_INITIALIZER, rest + words + number(_LOCATION, 1))


def _constants(data: Data, field: _Field) -> list[_Field]:
    """Return the large constants in a field of a model: there are none where it is no graph."""
    if field.number != _GRAPH:
        return []
    return [
        inner
        for inner in _fields(data, field.value, field.end)
        if inner.number == _INITIALIZER and inner.end - inner.value >= LEAST
    ]


def _raw(data: Data, constant: _Field) -> _Field | None:
    """Return the bytes of a large constant; None where they stand elsewhere, or not in one piece."""
    fields = list(_fields(data, constant.value, constant.end))
    raw = [f for f in fields if f.number == _RAW]
    if len(raw) != 1 or raw[0].end - raw[0].value < LEAST:
        return None
    return None if any(f.number in (_EXTERNAL, _LOCATION) for f in fields) else raw[0]


def _fields(data: Data, at: int, end: int) -> Iterator[_Field]:
    """Yield the fields of a message; from where it is broken, the rest is one field without a number."""
    while at < end:
        start = at
        key, at = _number(data, at, end)
        wire = key & 7
        if wire == 2:
            size, at = _number(data, at, end)
        elif wire == 0:
            size, at = 0, _number(data, at, end)[1]
        else:
            size = _FIXED.get(wire, -1)
        if key < 0 or size < 0 or at + size > end:
            yield _Field(0, start, start, end)
            return
        yield _Field(key >> 3, start, at, at + size)
        at += size


def _number(data: Data, at: int, end: int) -> tuple[int, int]:
    """Return a number and where it ends; -1 where there is none."""
    value = 0
    for index, byte in enumerate(data[at : min(at + 10, end)]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, at + index + 1
    return -1, end
