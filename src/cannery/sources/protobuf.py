"""Whether a file has the outer shape of an ONNX model: its fields are walked, none is read."""

from __future__ import annotations

from typing import BinaryIO, Literal

# fields of ModelProto by number → wire type (0: varint, 2: length-delimited)
# https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_GRAPH = 7
_OPSETS = 8
_MOST = 100_000
"""Fields that are walked at most; a model has a few dozen."""


def onnx_shape(stream: BinaryIO, size: int) -> Literal["whole", "cut", "other"]:
    """Tell whether the stream of `size` bytes is the message of an ONNX model, one cut short, or neither."""
    stream.seek(0)
    seen: set[int] = set()
    for _ in range(_MOST):
        if stream.tell() == size:
            return "whole" if {_GRAPH, _OPSETS} <= seen else "other"
        key = _varint(stream)
        field, wire = (key >> 3, key & 7) if key is not None else (0, 0)
        if _FIELDS.get(field) != wire:
            return "other"
        length = _varint(stream)
        if length is None:
            return "other"
        if wire == 2 and stream.tell() + length > size:
            return "cut" if field == _GRAPH and 1 in seen else "other"
        if wire == 2:
            stream.seek(length, 1)
        seen.add(field)
    return "other"


def _varint(stream: BinaryIO) -> int | None:
    value = 0
    for shift in range(0, 70, 7):
        byte = stream.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    return None
