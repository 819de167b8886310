"""The binary form in which XGBoost saved its models before JSON: fixed structs, one behind the other."""

from __future__ import annotations

import struct

import numpy as np

from cannery.audits.trees.walks import BadModelError, check_walk, hostile, integers, within
from cannery.sources.windows import Data

_LEARNER = struct.Struct("<fIiii 116x")
"""Base score, columns, classes, whether attributes and metrics follow."""
_FOREST = struct.Struct("<i 156x")
_LINEAR = struct.Struct("<Ii 128x")
_TREE = struct.Struct("<iiiiii 124x")
_NODE = np.dtype(
    [("parent", "<i4"), ("left", "<i4"), ("right", "<i4"), ("feature", "<u4"), ("value", "<f4")]
)
_STATISTICS = 16
"""Bytes beside each node."""
_DIRECTION = 1 << 31
"""The bit of a feature that says where missing values go."""
_CONFIG = b"CONFIG-offset:"


def check_binary(data: Data) -> None:
    """Raise BadModelError for a file whose numbers would lead XGBoost's own code astray."""
    if data[: len(_CONFIG)] == _CONFIG:
        start = len(_CONFIG) + 8
        end = start + int.from_bytes(data[len(_CONFIG) : start], "little", signed=True)
        if not start < end <= len(data):
            raise hostile("the model ends outside of the file")
        data = data[start:end]
    reader = _Reader(data, 4 if data[:4] == b"binf" else 0)
    _, columns, classes, attributes, metrics = reader.struct(_LEARNER)
    if columns >= _DIRECTION or not 0 <= classes < _DIRECTION:
        raise hostile(f"{columns} columns and {classes} classes")
    objective, booster = reader.text(), reader.text()
    if booster == b"gblinear":
        _check_linear(reader)
    elif booster in (b"gbtree", b"dart"):
        trees = _check_trees(reader, columns, max(classes, 1))
        if booster == b"dart" and reader.floats() != trees:
            raise hostile("there are not as many weights as trees")
    else:
        raise BadModelError(f"a booster of the kind {booster[:40]!r}")
    for _ in range(2 * reader.count(16) if attributes else 0):
        reader.text()
    if objective == b"count:poisson" and reader.at < len(data) and not attributes:
        reader.text()
    for _ in range(reader.count(8) if metrics else 0):
        reader.text()
    if reader.at != len(data):
        raise BadModelError("bytes follow the end of the model", unsafe=True)


def _check_linear(reader: _Reader) -> None:
    columns, groups = reader.struct(_LINEAR)
    weights = reader.floats()
    # The first generations leave the sizes to the learner.
    if columns and groups and weights != (columns + 1) * groups:
        raise hostile(f"a linear model of {columns} columns has {weights} weights")


def _check_trees(reader: _Reader, columns: int, groups: int) -> int:
    (trees,) = reader.struct(_FOREST)
    for number in range(trees):
        _check_tree(reader, columns, f"tree {number}")
    outputs = np.frombuffer(reader.take(4 * trees), "<i4")
    within(integers(outputs, "the outputs of trees"), 0, groups, "the output of a tree")
    return int(trees)


def _check_tree(reader: _Reader, columns: int, what: str) -> None:
    _, count, _, _, _, vector = reader.struct(_TREE)
    if count < 1 or vector:
        raise hostile(f"{what} has {count} nodes, and vectors of {vector}")
    nodes = np.frombuffer(reader.take(count * _NODE.itemsize), _NODE)
    reader.take(count * _STATISTICS)
    left, right = nodes["left"].astype(np.int64), nodes["right"].astype(np.int64)
    inner = left != -1
    if np.any(inner & (right == -1)):
        raise hostile(f"{what} has a node with one child")
    check_walk(np.concatenate([left[inner], right[inner]]), count, what)
    features = nodes["feature"][inner].astype(np.int64) & (_DIRECTION - 1)
    within(features, 0, columns, f"the feature of a node in {what}")


class _Reader:
    """One pass over the bytes."""

    def __init__(self, data: Data, at: int) -> None:
        self.data = data
        self.at = at

    def take(self, size: int) -> bytes:
        """Take bytes."""
        if size < 0 or size > len(self.data) - self.at:
            raise BadModelError("the model is cut short")
        self.at += size
        return self.data[self.at - size : self.at]

    def struct(self, layout: struct.Struct) -> tuple[int, ...]:
        """Take numbers."""
        return layout.unpack(self.take(layout.size))

    def count(self, each: int) -> int:
        """Take a number of things, of so many bytes at least."""
        number = int.from_bytes(self.take(8), "little")
        if number * each > len(self.data) - self.at:
            raise BadModelError("the model is cut short")
        return number

    def text(self) -> bytes:
        """Take a text."""
        return self.take(self.count(1))

    def floats(self) -> int:
        """Step over a list of floats; returns how many there are."""
        number = self.count(4)
        self.take(4 * number)
        return number
