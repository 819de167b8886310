"""Which interval each number of a block falls into, found by a binary tree for each column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from cannery.conversions.onnx.builder import ML, Graph

Numbers = NDArray[np.float64]


def count_reached(graph: Graph, wire: str, edges: Sequence[Numbers]) -> str:
    """Return int64 [N, K]: how many of its column's ascending edges each number reaches (edge <= x).

    For NaN the answer is some number within the same bounds. The trees are complete, so that node i
    has the children 2i + 1 and 2i + 2; edges that are missing for this are never reached.
    """
    longest = max(map(len, edges))
    depth = max(1, int(longest).bit_length())
    inner, leaves, trees = 2**depth - 1, 2**depth, len(edges)
    order = _in_order(inner)
    splits = np.full((trees, inner), np.finfo(float).max)
    for tree, values in enumerate(edges):
        padded = np.concatenate([values, np.full(inner - len(values), np.inf)])
        splits[tree] = np.nextafter(padded, -np.inf)[order]
    children = np.arange(inner) * 2 + 1
    starts = np.arange(trees)[:, None]
    ends = children >= inner
    first = np.where(ends, children - inner + starts * leaves, children + starts * inner).ravel()
    counts = graph.node(
        "TreeEnsemble",
        [wire],
        domain=ML,
        nodes_featureids=np.repeat(np.arange(trees), inner),
        nodes_modes=np.zeros(trees * inner, np.uint8),
        nodes_splits=splits.ravel(),
        nodes_truenodeids=first,
        nodes_falsenodeids=first + 1,
        nodes_trueleafs=np.tile(ends.astype(np.int64), trees),
        nodes_falseleafs=np.tile(ends.astype(np.int64), trees),
        leaf_targetids=np.repeat(np.arange(trees), leaves),
        leaf_weights=np.tile(np.arange(leaves, dtype=float), trees),
        tree_roots=np.arange(trees) * inner,
        n_targets=trees,
        aggregate_function=1,
        post_transform=0,
    )
    most = graph.constant(np.array([[len(e) for e in edges]], dtype=np.int64))
    return graph.node("Min", [graph.node("Cast", [counts], to=TensorProto.INT64), most])


def _in_order(nodes: int) -> NDArray[np.int64]:
    """Return for each node of a complete tree its place among all, from left to right."""
    node = np.arange(nodes) + 1
    depth = int(nodes).bit_length()
    level = np.floor(np.log2(node)).astype(np.int64)
    within = node - 2**level
    return np.asarray((2 * within + 1) * 2 ** (depth - 1 - level) - 1, dtype=np.int64)


class Rows:
    """Constants that depend on the interval: one value, or one vector, for each column and interval."""

    def __init__(self, graph: Graph, index: str, columns: int, intervals: int) -> None:
        """Take `index`, int64 [N, columns] with values below `intervals`."""
        self._graph = graph
        starts = (np.arange(columns, dtype=np.int64) * intervals).reshape(1, -1)
        self._place = graph.node("Add", [index, graph.constant(starts)]) if columns > 1 else index

    def take(self, table: Any) -> str:
        """Return [N, columns] or [N, columns, width] out of a table [columns, intervals(, width)]."""
        values = np.asarray(table, dtype=float)
        flat = values.reshape(-1, *values.shape[2:])
        return self._graph.node("Gather", [self._graph.constant(flat), self._place], axis=0)
