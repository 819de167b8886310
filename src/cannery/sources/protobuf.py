"""Whether a file has the outer shape of an ONNX model: its fields are walked, none is read."""

from __future__ import annotations

from typing import Literal

from cannery.sources.windows import Data, Reading

# fields of ModelProto by number → wire type (0: varint, 2: length-delimited)
# https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_GRAPH = 7
_OPSETS = 8
_MOST = 100_000
"""Fields that are walked at most; a model has a few dozen."""


def onnx_shape(data: Data | Reading) -> Literal["whole", "cut", "other"]:
    """Tell whether the bytes are the message of an ONNX model, one cut short, or neither."""
    seen: set[int] = set()
    at = 0
    for _ in range(_MOST):
        if at == len(data):
            return "whole" if {_GRAPH, _OPSETS} <= seen else "other"
        key, at = _varint(data, at)
        field, wire = key >> 3, key & 7
        if _FIELDS.get(field) != wire:
            return "other"
        length, at = _varint(data, at)
        if length < 0:
            return "other"
        if wire == 2 and at + length > len(data):
            return "cut" if field == _GRAPH and 1 in seen else "other"
        if wire == 2:
            at += length
        seen.add(field)
    return "other"


def _varint(data: Data | Reading, at: int) -> tuple[int, int]:
    """Return a number and where it ends, -1 where there is none."""
    value = 0
    for index, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, at + index + 1
    return -1, at
