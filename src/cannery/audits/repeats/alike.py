"""Trees of a row judged by what differs between them: the first is made, and stands for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from cannery.audits.ledger import Ledger
from cannery.audits.repeats.acts import Natives
from cannery.audits.repeats.parts import Part
from cannery.audits.repeats.rows import Row
from cannery.audits.values import DType, Made
from cannery.bounds import answers, trees
from cannery.bounds.things import BLOCK

Column = NDArray[np.int64]

COMPARED = ("n_features_in_", "n_features_", *answers.MOST)
"""Attributes that the rules look at, and that must be those of the first value in all of a row."""
MEASURED = ("max_depth", "node_count", "nodes", "tree_", "values")
"""Attributes that the rules look at, and that are judged here as they differ."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How objects are judged one by one."""

    sound: Callable[[Made], bool]
    weight: Callable[[Made], int]
    """How much work it is to look at one."""
    dtype: Callable[[DType], np.dtype[Any]]
    unit: int
    """Bytes of an array that are as much work as an opcode."""


def sorted_out(ledger: Ledger, bounds: Bounds) -> tuple[Natives, int]:
    """Return what is to be judged one by one, in its order, and how much work all of it is.

    Of a row whose values are sound whenever their first one is, only this one.
    """
    found, rest = dict(ledger.natives), 0
    rows = [row for row in ledger.rows if row.made]
    for row in rows:
        whole = row.made
        if ledger.clean and not row.recalled:
            judged = _Judged(row, bounds)
            if judged.alike():
                rest += judged.work()
                row.columns = judged.columns
                whole = row.made[:1]
        for made in whole:
            found.update(made.natives)
    if rows:  # as they stand in the file
        found = dict(sorted(found.items(), key=lambda item: item[1][0]))
    return found, rest + sum(map(bounds.weight, found))


class _Judged:
    """A row, its first value, and what differs in the others as columns of numbers."""

    def __init__(self, row: Row, bounds: Bounds) -> None:
        self._row = row
        self._bounds = bounds
        self._table = np.array([made.literals for made in row.made], dtype=np.int64)
        self._first = list(row.made[0].natives)
        self._root = row.outline.root
        inner = self._root.state.item("tree_") if self._root.state else None
        assert inner is not None, "a row is of estimators around a tree"
        self._tree = inner
        self.columns: int | None = None
        """That every tree takes."""

    def alike(self) -> bool:
        """Return whether all values are sound."""
        attributes, made = self._tree.state, self._first[-1]
        if attributes is None or not all(map(self._same, self._looked_at(attributes))):
            return False
        columns, deepest = made.arguments[0], self._column(attributes.item("max_depth"))
        nodes = self._counted(attributes)
        if type(columns) is not int or deepest is None or nodes is None:
            return False
        self.columns = columns
        return all(map(self._bounds.sound, self._first)) and self._walkable(nodes, deepest)

    def _looked_at(self, attributes: Part) -> Iterator[Part]:
        """Yield what the rules of both objects look at, but for nodes, values and depth."""
        yield from self._tree.parts[0].parts
        for state in (self._root.state, attributes):
            for key in COMPARED:
                if state is not None and (part := state.item(key)) is not None:
                    yield part

    def _counted(self, attributes: Part) -> Part | None:
        """Return the nodes, where each tree has as many as it says, and as many values."""
        count = self._column(attributes.item("node_count"))
        nodes, values = attributes.item("nodes"), attributes.item("values")
        if count is None or not _is_array(nodes, 1) or not _is_array(values, 3):
            return None
        first, *rest = _shape(values)
        counts = [self._column(size) for size in (*_shape(nodes), first)]
        if any(column is None or np.any(column != count) for column in counts):
            return None
        return nodes if all(map(self._same, rest)) else None

    def _column(self, part: Part | None) -> Column | None:
        """Return a number of each value; None of what is none."""
        if part is None or type(part.value) is not int:
            return None
        slot = self._row.outline.slots.of(part)
        return np.full(len(self._table), part.value) if slot is None else self._table[:, slot]

    def _same(self, part: Part) -> bool:
        """Return whether a part is that of the first value in all of them."""
        if part.fixed:
            return True
        if part.kind == "number":
            column = self._table[:, self._row.outline.slots.of(part)]
            return bool(np.all(column == column[0]))
        if part.kind in ("bytes", "encoded", "raw"):
            found = self._row.bytes_of(part)
            first = next(found)
            return all(own == first for own in found)
        return part.kind in ("tuple", "array") and all(map(self._same, part.parts))

    def _walkable(self, nodes: Part, deepest: Column) -> bool:
        """Judge the nodes of all trees, as many at a time as fit into a block."""
        kind, _, content = nodes.parts
        dtype, at = self._bounds.dtype(kind.value), 0
        for found in _blocks(self._row.bytes_of(content)):
            counts = np.array([len(own) // dtype.itemsize for own in found], dtype=np.int64)
            end = at + len(found)
            together = np.frombuffer(b"".join(found), dtype)
            columns = np.full(len(found), self.columns)
            if not trees.all_walkable(together, counts, columns, deepest[at:end]):
                return False
            at = end
        return True

    def work(self) -> int:
        """Return how much it is to look at all values but the first."""
        arrays = np.zeros(len(self._table), dtype=np.int64)
        for made in (self._root, self._tree):
            state = made.state.parts if made.state else ()
            for part in (*state, *(part for whole in made.parts for part in whole.parts)):
                if part.kind == "array" and not part.fixed:
                    arrays += self._sizes(part) // self._bounds.unit
        alone = sum(map(self._bounds.weight, self._first)) - int(arrays[0])
        return alone * (len(arrays) - 1) + int(arrays[1:].sum())

    def _sizes(self, part: Part) -> Column:
        sizes = np.full(len(self._table), part.parts[0].value.itemsize)
        for size in _shape(part):
            column = self._column(size)
            assert column is not None, "the shape of an array is known"
            sizes = sizes * column
        return sizes


def _blocks(each: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Yield as many at a time as fit into a block."""
    block: list[bytes] = []
    size = 0
    for own in each:
        if block and size + len(own) > BLOCK:
            yield block
            block, size = [], 0
        block.append(own)
        size += len(own)
    yield block


def _shape(array: Part) -> tuple[Part, ...]:
    shape = array.parts[1]
    if shape.kind == "tuple":
        return shape.parts
    return tuple(Part("old", size) for size in shape.value.items)


def _is_array(part: Part | None, dimensions: int) -> TypeGuard[Part]:
    """Return whether a part is an array of so many dimensions, the bytes of which differ."""
    if part is None or part.kind != "array" or len(part.parts) != 3:
        return False
    return len(_shape(part)) == dimensions and not part.parts[2].fixed
