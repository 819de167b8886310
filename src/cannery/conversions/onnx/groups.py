"""Ensembles as nodes of a graph: one for few trees, several for a large forest.

ONNX Runtime finds the children of all splits of a node in one table when it opens the node; from some
hundred thousand splits on, the table is larger than the processor's caches. And many rows are taken
through all trees of a node before the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from cannery.conversions.onnx.answers import concat
from cannery.conversions.onnx.builder import ML, Graph
from cannery.conversions.onnx.layouts import Forest, Questions, Tree, attributes_of

_SPLITS = 1 << 16
"""Splits of a node, about, in forests that have twice as many."""
_SUMMED = 1 << 18
"""The same where one node would give the sum: to add it up from its trees takes one row longer."""
_TREES = 1000
"""Trees whose answers are held at once for each row: 8 MB for a thousand rows."""

Part = tuple[Forest, Questions]
Float = type[np.floating[Any]]


def are_large(trees: Sequence[Tree]) -> bool:
    """Whether trees of one target are cut into several nodes."""
    return sum(int((tree.left >= 0).sum()) for tree in trees) >= 2 * _SUMMED


def cut(part: Part, size: int) -> list[list[Part]]:
    """Return a forest by thousands of trees, and each of these in groups of about so many splits.

    Small forests, and those of several targets, are one group.
    """
    forest, _ = part
    splits = np.cumsum(np.add.reduceat((~forest.leaf).astype(np.int64), forest.roots))
    if splits[-1] < 2 * size or forest.values.shape[1] > 1:
        return [[part]]
    thousands = np.arange(len(splits)) // _TREES
    first = np.diff(splits // size + thousands, prepend=-1) > 0
    starts = forest.roots[first].tolist()
    ends = [*starts[1:], len(forest.feature)]
    groups = [_between(part, start, end) for start, end in zip(starts, ends, strict=True)]
    return [
        [group for group, own in zip(groups, thousands[first], strict=True) if own == i]
        for i in range(int(thousands[-1]) + 1)
    ]


def _between(part: Part, start: int, end: int) -> Part:
    """Return the trees whose nodes stand from `start` on and before `end`."""
    forest, questions = part
    own = slice(start, end)
    roots = forest.roots[(forest.roots >= start) & (forest.roots < end)]
    return (
        Forest(
            feature=forest.feature[own],
            threshold=forest.threshold[own],
            left=np.where(forest.left[own] < 0, -1, forest.left[own] - start),
            right=np.where(forest.right[own] < 0, -1, forest.right[own] - start),
            missing_left=forest.missing_left[own],
            values=forest.values[own],
            roots=roots - start,
        ),
        Questions(
            wire=questions.wire,
            feature=questions.feature[own],
            mode=questions.mode[own],
            split=questions.split[own],
            missing_left=questions.missing_left[own],
            swapped=questions.swapped[own],
            members={i - start: m for i, m in questions.members.items() if start <= i < end},
        ),
    )


def walk(
    graph: Graph, rows: str, part: Part, kind: Float = np.float64, *, by_tree: bool = False
) -> str:
    """Add one node and return its wire, [N, targets]; `by_tree`: every tree is a target of its own."""
    forest, _ = part
    attributes = attributes_of(*part)
    if by_tree:
        leaves = np.add.reduceat(forest.leaf.astype(np.int64), forest.roots)
        own = np.repeat(np.arange(len(leaves)), leaves)
        filler = len(attributes["leaf_targetids"]) - len(own)
        targets = np.concatenate([np.zeros(filler, np.int64), own])
        attributes |= {"leaf_targetids": targets, "n_targets": len(leaves)}
    typed = {
        name: value.astype(kind) if getattr(value, "dtype", None) == np.float64 else value
        for name, value in attributes.items()
    }
    return graph.node("TreeEnsemble", [rows], domain=ML, **typed)


def add_up(graph: Graph, rows: str, part: Part, kind: Float = np.float64) -> str:
    """Add the sum of the trees, in their order, to the last bit that one node gives."""
    thousands = cut(part, _SUMMED)
    if len(thousands) == len(thousands[0]) == 1:
        return walk(graph, rows, part, kind)
    total: list[str] = []
    for groups in thousands:
        answered = _apart(graph, rows, groups, kind)
        across = graph.node("Transpose", [answered], perm=[1, 0])
        count = sum(len(forest.roots) for forest, _ in groups)
        # without this ONNX Runtime transposes the sum instead, and adds up in another order
        total.append(graph.node("Reshape", [across, graph.constant([count, -1])]))
        both = total[0] if len(total) == 1 else graph.node("Concat", total, axis=0)
        total = [graph.node("ReduceSum", [both, graph.constant([0])])]
    return graph.node("Reshape", [*total, graph.constant([-1, 1])])


def side_by_side(graph: Graph, rows: str, part: Part, kind: Float) -> str:
    """Add what every tree answers for itself, [N, trees]."""
    return _apart(graph, rows, chain.from_iterable(cut(part, _SPLITS)), kind)


def _apart(graph: Graph, rows: str, groups: Iterable[Part], kind: Float) -> str:
    return concat(graph, [walk(graph, rows, group, kind, by_tree=True) for group in groups])


def counted(graph: Graph, rows: str, part: Part, kind: Float) -> str:
    """Add the sum of trees that answer whole numbers, which is the same in any order."""
    groups = chain.from_iterable(cut(part, _SPLITS))
    sums = [walk(graph, rows, group, kind) for group in groups]
    return sums[0] if len(sums) == 1 else graph.node("Sum", sums)
