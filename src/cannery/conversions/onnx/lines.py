"""Trees whose leaves hold a line: a constant and slopes over some columns, where none of these is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.columns import Block, materialise
from cannery.conversions.onnx.forests import emit_trees
from cannery.conversions.onnx.layouts import Tree


@dataclass(frozen=True, slots=True)
class Line:
    """What a leaf answers."""

    start: float
    slopes: Mapping[int, float]
    """By the column."""


Lined = tuple[Tree, int, Mapping[int, Line]]
"""A tree, its target, and the lines of its leaves; where a column of a line is missing, the leaf's own value counts."""


def emit_lined(graph: Graph, block: Block, trees: Sequence[Lined]) -> str:
    """Add the sum of trees with lines, which compare doubles; its wire, double [N, targets].

    First all constants and all slopes are summed, each for itself; then the slopes meet the row.
    """
    used = sorted({c for _, _, lines in trees for line in lines.values() for c in line.slopes})
    targets = trees[0][0].values.shape[1]
    longer = [_longer(one, used) for one in trees]
    sums = emit_trees(graph, block, longer, single=False, refuses_missing=False)
    if not used:
        return sums
    wire = materialise(graph, block.take(used))
    known = graph.node("Where", [graph.node("IsNaN", [wire]), graph.constant(0.0), wire])
    pads = graph.constant(np.array([0, 1, 0, 0]))
    row = graph.node("Pad", [known, pads, graph.constant(1.0)])  # what the constants meet
    apart = graph.node("Reshape", [sums, graph.constant(np.array([-1, targets, len(used) + 1]))])
    met = graph.node("Mul", [apart, graph.node("Unsqueeze", [row, graph.constant([1])])])
    return graph.node("ReduceSum", [met, graph.constant([2])], keepdims=0)


def _longer(lined: Lined, used: Sequence[int]) -> Tree:
    """Return the tree with targets for every slope, and a question behind each line's leaf for each column.

    The first of the targets is the constant. A missing value answers the question with no.
    """
    tree, target, lines = lined
    width, place = len(used) + 1, {column: i + 1 for i, column in enumerate(used)}
    nodes, targets = tree.values.shape
    count = nodes + sum(2 * len(line.slopes) for line in lines.values())
    values = np.zeros((count, targets, width))
    values[:nodes, :, 0] = tree.values
    feature, threshold = np.zeros(count, np.int64), np.full(count, np.inf)
    left, right = np.full(count, -1), np.full(count, -1)
    feature[:nodes], threshold[:nodes] = tree.feature, tree.threshold
    left[:nodes], right[:nodes] = tree.left, tree.right
    after = nodes
    for leaf, line in lines.items():
        own, at = values[leaf].copy(), leaf
        for column in line.slopes:
            feature[at], threshold[at] = column, np.inf
            left[at], right[at] = after, after + 1
            values[at], values[after + 1] = 0.0, own
            at, after = after, after + 2
        values[at] = 0.0
        values[at, target, 0] = line.start
        for column, slope in line.slopes.items():
            values[at, target, place[column]] = slope
    return Tree(
        feature=feature,
        threshold=threshold,
        left=left,
        right=right,
        missing_left=np.concatenate([tree.missing_left, np.zeros(count - nodes, bool)]),
        values=values.reshape(count, -1),
    )
