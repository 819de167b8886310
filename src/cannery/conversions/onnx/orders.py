"""Many rows are walked in an order in which each is like the one before.

A processor guesses which way a row goes at a split, and fetches the nodes that it will meet; it does so
by what the last row did. So rows are sorted beforehand, by which side of the splits near the roots they
stand on, and their answers are put back into place. No answer depends on the order of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from cannery.conversions.onnx.builder import ML, Graph
from cannery.conversions.onnx.folds import LEQ, MEMBER
from cannery.conversions.onnx.layouts import Forest, Ints, Questions, levels_of

SORTED = 512
"""Rows from which on sorting is worth its while."""
_MET = 300
"""Splits that a row meets, from which on it is."""
_BITS = 8
"""Questions by which rows are sorted, at most."""

Numbers = NDArray[np.float64]
Walk = Callable[[str], str]


@dataclass(slots=True)
class _Axis:
    """The splits near the roots that ask for one column."""

    column: int
    splits: Numbers
    """Ascending, each once."""
    share: Numbers
    """What the splits up to each one weigh together, of 1."""
    weight: float
    """What they weigh, less what is asked already."""
    bits: int = 0
    """Questions that are asked already."""

    def ask(self, cell: Ints) -> Numbers:
        """Return the splits that halve the cells in which earlier questions left the rows."""
        middle = (2 * cell + 1) / 2 ** (self.bits + 1)
        return np.asarray(self.splits[np.searchsorted(self.share, middle)])


def key_of(parts: Sequence[tuple[Forest, Questions]]) -> dict[str, Any] | None:
    """Return the tree that answers where a row is sorted to; None where sorting doesn't pay."""
    if sum(forest.met for forest, _ in parts) < _MET:
        return None
    axes = _axes(parts)
    cells = {axis.column: np.zeros(1, np.int64) for axis in axes}
    asked: list[Ints] = []
    splits: list[Numbers] = []
    while len(asked) < _BITS:
        open_ = [axis for axis in axes if 2**axis.bits <= len(axis.splits)]
        if not open_:
            break
        axis = max(open_, key=lambda each: each.weight)
        asked.append(np.full(2 ** len(asked), axis.column))
        splits.append(axis.ask(cells[axis.column]))
        axis.bits, axis.weight = axis.bits + 1, axis.weight / 2
        for column in cells:
            cells[column] = np.repeat(cells[column], 2)
        cells[axis.column] = 2 * cells[axis.column] + np.arange(2 ** len(asked)) % 2
    return _tree(np.concatenate(asked), np.concatenate(splits)) if asked else None


def _axes(parts: Sequence[tuple[Forest, Questions]]) -> list[_Axis]:
    """Return the columns that are asked for near the roots; each level weighs half of that above it."""
    found = []
    for forest, questions in parts:
        for i, nodes in enumerate(levels_of(forest)[:_BITS]):
            split = questions.split[nodes]
            asking = (questions.mode[nodes] != MEMBER) & ~np.isnan(split)
            weights = np.full(int(asking.sum()), 0.5**i)
            found.append((questions.feature[nodes[asking]], split[asking], weights))
    columns, splits, weights = map(np.concatenate, zip(*found, strict=True))
    axes = []
    for column in np.unique(columns).tolist():
        own = columns == column
        each, place = np.unique(splits[own], return_inverse=True)
        weight = np.bincount(place, weights[own])
        axes.append(_Axis(column, each, np.cumsum(weight) / weight.sum(), float(weight.sum())))
    return axes


def _tree(columns: Ints, splits: Numbers) -> dict[str, Any]:
    """Return a full tree, level by level, whose neighbouring leaves differ in one answer."""
    count = len(splits)
    nodes, codes = np.arange(count), np.arange(count + 1)
    last = nodes >= count // 2
    for shift in (1, 2, 4):
        codes = codes ^ (codes >> shift)
    first = np.where(last, 2 * nodes + 1 - count, 2 * nodes + 1)
    return {
        "nodes_featureids": columns.astype(np.int64),
        "nodes_splits": splits,
        "nodes_modes": np.full(count, LEQ, np.uint8),
        "nodes_truenodeids": first,
        "nodes_falsenodeids": first + 1,
        "nodes_trueleafs": last.astype(np.int64),
        "nodes_falseleafs": last.astype(np.int64),
        "leaf_targetids": np.zeros(count + 1, np.int64),
        "leaf_weights": codes.astype(np.float64),
        "tree_roots": np.zeros(1, np.int64),
        "n_targets": 1,
        "aggregate_function": 1,
        "post_transform": 0,
    }


def walk_sorted(graph: Graph, wire: str, key: dict[str, Any] | None, walk: Walk) -> str:
    """Return what `walk` adds for the rows of a wire (doubles), which it is given sorted where they are many."""
    if key is None:
        return walk(wire)

    def sort(inner: Graph) -> tuple[str, str]:
        ranks = inner.node("TreeEnsemble", [wire], domain=ML, **key)
        count = inner.node("Shape", [wire], start=0, end=1)
        places = inner.nodes("TopK", [ranks, count], 2, axis=0, largest=0)[1]
        rows = inner.node("GatherND", [wire, places])
        return rows, inner.node("Cast", [places], to=TensorProto.DOUBLE)

    def keep(inner: Graph) -> tuple[str, str]:
        return inner.node("Identity", [wire]), inner.node("Identity", [inner.constant([[0.0]])])

    rows, places = graph.choose(wire, SORTED, sort, keep)
    answered = walk(rows)

    def put_back(inner: Graph) -> tuple[str]:
        chosen = inner.node("Cast", [places], to=TensorProto.INT64)
        return (inner.node("ScatterND", [answered, chosen, answered]),)

    def leave(inner: Graph) -> tuple[str]:
        return (inner.node("Identity", [answered]),)

    return graph.choose(wire, SORTED, put_back, leave, reached=[answered, places])[0]
