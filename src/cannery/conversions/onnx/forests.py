"""Trees of any library as arrays, and the one node `TreeEnsemble` (ai.onnx.ml 5) that sums them.

A leaf of that operator adds one weight to one target. A leaf that holds a whole class distribution
is spread over several passes of its tree, one for each class that is not zero in it; where leaves
are pure, as in a forest grown to the end, one pass is all. The sums are exact in every order that
keeps the trees in theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, TensorProto

from cannery.conversions.onnx.builder import ML, Graph
from cannery.conversions.onnx.columns import Block, Column, materialise
from cannery.conversions.onnx.folds import LEQ, MEMBER, fold
from cannery.conversions.onnx.roots import rank, settle

_SUM = 1
_MANY = 10
"""Trees from which on it is quicker to sum one class alone."""
_MIXED = 0.1
"""Of the leaves, the share that holds both classes, from which on it is quicker."""
_NEAR = 1e-9
"""Of a vote, the lead within which rounding may decide."""
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One binary tree; node 0 is its root, children stand after their parent."""

    feature: Ints
    """[nodes]: column that is compared (leaves: anything)."""
    threshold: NDArray[np.float64]
    """[nodes]: x <= threshold goes left."""
    left: Ints
    """[nodes]: the child, or -1 in a leaf."""
    right: Ints
    missing_left: Bools
    """[nodes]: whether NaN goes left."""
    values: NDArray[np.float64]
    """[nodes, targets]: what a leaf adds to each target."""
    members: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    """Of the nodes that ask for membership in a set, whose members go left (`emit_single_trees` alone)."""


@dataclass(frozen=True, slots=True)
class _Forest:
    """All trees in one set of arrays; children are numbered across trees."""

    feature: Ints
    threshold: NDArray[np.float64]
    left: Ints
    right: Ints
    missing_left: Bools
    values: NDArray[np.float64]
    roots: Ints

    @property
    def leaf(self) -> Bools:
        return self.left < 0


@dataclass(frozen=True, slots=True)
class _Questions:
    """What every node asks of the input wire."""

    wire: str
    feature: Ints
    mode: NDArray[np.uint8]
    split: NDArray[np.float64]
    missing_left: Bools
    swapped: Bools
    members: dict[int, tuple[float, ...]]
    """Of the nodes that ask for membership in a set."""


def emit_trees(
    graph: Graph, block: Block, trees: Sequence[Tree], *, single: bool, refuses_missing: bool
) -> str:
    """Add the sum of the trees and return its wire, double [N, targets].

    `single`: the library compares float32(x), as scikit-learn's trees do. `refuses_missing`: the
    original answers no row with NaN.
    """
    wire, attributes = _laid(graph, block, trees, single=single, refuses_missing=refuses_missing)
    return graph.node("TreeEnsemble", [wire], domain=ML, **attributes)


def _laid(
    graph: Graph, block: Block, trees: Sequence[Tree], *, single: bool, refuses_missing: bool
) -> tuple[str, dict[str, Any]]:
    """Return the wire that the trees ask, and the attributes of their node."""
    forest = _stack(trees)
    used = sorted(set(forest.feature[~forest.leaf].tolist()))
    sets = all((t.values[t.left < 0] != 0).any(axis=0).sum() <= 1 for t in trees)
    columns = settle(graph, block.numeric(), used, sets=sets, refuses_missing=refuses_missing)
    questions = _ask(graph, forest, columns, single=single)
    return questions.wire, _attributes(forest, questions)


def emit_fractions(graph: Graph, block: Block, trees: Sequence[Tree]) -> str:
    """Add the sum of trees whose leaves hold class distributions; its wire, double [N, classes].

    Of two classes the first is what the second leaves, and only the second is summed. Where for some
    row both are almost equal, the first is summed too: the last bit decides which of them is greater.
    That is a loop of one turn at most.
    """
    mixed = np.concatenate([(t.values[t.left < 0] != 0).all(axis=1) for t in trees]).mean()
    if trees[0].values.shape[1] != 2 or len(trees) < _MANY or mixed < _MIXED:
        return emit_trees(graph, block, trees, single=True, refuses_missing=False)
    halves = [[replace(t, values=t.values[:, k : k + 1]) for t in trees] for k in (0, 1)]
    (rows, one), (_, two) = (
        _laid(graph, block, half, single=True, refuses_missing=False) for half in halves
    )
    count, second = float(len(trees)), graph.node("TreeEnsemble", [rows], domain=ML, **two)
    lead = graph.node("Abs", [graph.node("Sub", [second, graph.constant(count / 2)])])
    near = graph.node("Less", [lead, graph.constant(_NEAR * count)])
    many = graph.node("ReduceSum", [graph.node("Cast", [near], to=TensorProto.INT64)], keepdims=0)
    decides = graph.node("Cast", [many], to=TensorProto.BOOL)
    rest = graph.node("Sub", [graph.constant(count), second])
    first, _ = graph.loop(1, decides, [rest, rows], _summed_once(one))
    return graph.node("Concat", [first, second], axis=1)


def _summed_once(attributes: dict[str, Any]) -> GraphProto:
    """Return the body of a loop that puts the sum of trees in place of its first state, and ends."""
    body = Graph(0, 0, prefix="e")
    summed = body.node("TreeEnsemble", ["e_rows"], domain=ML, **attributes)
    ends = body.node("Identity", [body.constant(False)])
    return body.as_body(["e_rest", "e_rows"], ends, [summed, body.node("Identity", ["e_rows"])])


def emit_single_trees(graph: Graph, block: Block, trees: Sequence[Tree]) -> str:
    """Add the sum of trees of a library that compares and sums in float32; its wire, float [N, targets].

    The sum is rounded after every tree, in the order of the trees. So nothing is folded: the doubles
    of folded splits would ask for sums in double. What can't be computed to the last bit is ranked.
    """
    forest = _stack(trees)
    used = sorted(set(forest.feature[~forest.leaf].tolist())) or [0]
    chosen, split = _ranked(graph, forest, block.numeric().take(used), used)
    wires = {column.wire for column in chosen.columns}
    if len(wires) == 1 and not any(column.maps for column in chosen.columns):
        wire, places = wires.pop(), np.array([column.index for column in chosen.columns])
    else:
        wire, places = materialise(graph, chosen), np.arange(len(used))
    n = len(forest.feature)
    members = {
        int(root) + node: values
        for root, tree in zip(forest.roots, trees, strict=True)
        for node, values in tree.members.items()
    }
    mode = np.full(n, LEQ, np.uint8)
    mode[list(members)] = MEMBER
    questions = _Questions(
        wire=graph.node("Cast", [wire], to=TensorProto.FLOAT),
        feature=np.where(forest.leaf, 0, places[np.searchsorted(used, forest.feature) % len(used)]),
        mode=mode,
        split=split,
        missing_left=forest.missing_left,
        swapped=np.zeros(n, bool),
        members=members,
    )
    attributes = {
        name: value.astype(np.float32) if getattr(value, "dtype", None) == np.float64 else value
        for name, value in _attributes(forest, questions).items()
    }
    return graph.node("TreeEnsemble", [questions.wire], domain=ML, **attributes)


def _ranked(
    graph: Graph, forest: _Forest, chosen: Block, used: Sequence[int]
) -> tuple[Block, NDArray[np.float64]]:
    """Return the used columns and the thresholds, ranks in place of those that need it."""
    split, columns = forest.threshold.copy(), list(chosen.columns)
    nodes = [np.flatnonzero(~forest.leaf & (forest.feature == i)) for i in used]
    ranked = rank(graph, columns, [split[at] for at in nodes])
    for position, (column, places) in ranked.items():
        columns[position] = column
        split[nodes[position]] = places
    return Block(tuple(columns)), split


def _stack(trees: Sequence[Tree]) -> _Forest:
    sizes = np.array([len(t.feature) for t in trees], dtype=np.int64)
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)

    def children(side: str) -> Ints:
        return np.concatenate(
            [
                np.where(getattr(t, side) < 0, -1, getattr(t, side) + root)
                for t, root in zip(trees, roots, strict=True)
            ]
        ).astype(np.int64)

    return _Forest(
        feature=np.concatenate([t.feature for t in trees]).astype(np.int64),
        threshold=np.concatenate([t.threshold for t in trees]).astype(np.float64),
        left=children("left"),
        right=children("right"),
        missing_left=np.concatenate([t.missing_left for t in trees]).astype(bool),
        values=np.concatenate([t.values for t in trees]).astype(np.float64),
        roots=roots,
    )


def _ask(graph: Graph, forest: _Forest, columns: dict[int, Column], *, single: bool) -> _Questions:
    """Fold the maps of the columns into the splits."""
    wires = list(dict.fromkeys(c.wire for c in columns.values()))
    starts = dict(zip(wires, np.cumsum([0, *(graph.widths[w] for w in wires)]), strict=False))
    n = len(forest.feature)
    questions = _Questions(
        wire=wires[0] if len(wires) == 1 else graph.node("Concat", wires, axis=1),
        feature=np.zeros(n, np.int64),
        mode=np.zeros(n, np.uint8),
        split=np.zeros(n),
        missing_left=np.zeros(n, bool),
        swapped=np.zeros(n, bool),
        members={},
    )
    for i, nodes in _nodes_by_feature(forest):
        column = columns[i]
        splits = fold(
            column.maps, forest.threshold[nodes], forest.missing_left[nodes], single=single
        )
        questions.feature[nodes] = starts[column.wire] + column.index
        questions.mode[nodes] = splits.modes
        questions.split[nodes] = splits.values
        questions.missing_left[nodes] = splits.missing_left
        questions.swapped[nodes] = splits.swapped
        questions.members.update(zip(nodes.tolist(), splits.members, strict=True))
    return questions


def _nodes_by_feature(forest: _Forest) -> Iterator[tuple[int, Ints]]:
    """Yield each used feature with the inner nodes that ask for it."""
    inner = np.flatnonzero(~forest.leaf)
    inner = inner[np.argsort(forest.feature[inner], kind="stable")]
    features, starts = np.unique(forest.feature[inner], return_index=True)
    yield from zip(features.tolist(), np.split(inner, starts[1:]), strict=False)


def _attributes(forest: _Forest, questions: _Questions) -> dict[str, Any]:
    """Lay the trees out as the operator wants them: inner nodes and leaves in arrays of their own."""
    nonzero = forest.values != 0
    held = np.where(forest.leaf, nonzero.sum(axis=1), 0)
    levels = _levels(forest)
    passes, nodes, leaves = [], 0, 0
    for p in range(max(1, int(held.max()))):
        alive = _alive(forest, levels, forest.leaf & (held > p) if p else forest.leaf)
        passes.append(_pass(forest, questions, alive, (p, nodes, leaves)))
        nodes += len(passes[-1].arrays["nodes_featureids"])
        leaves += len(passes[-1].arrays["leaf_weights"])
    merged = {
        name: np.concatenate([each.arrays[name] for each in passes]) for name in passes[0].arrays
    }
    for name in ("nodes_missing_value_tracks_true", "membership_values"):
        if not merged[name].any():
            del merged[name]
    order = np.lexsort(
        (
            np.concatenate([np.full(len(each.trees), p) for p, each in enumerate(passes)]),
            np.concatenate([each.trees for each in passes]),
        )
    )
    roots = np.concatenate([each.roots for each in passes])[order]
    return {
        **_apart(merged, roots),
        "tree_roots": roots,
        "n_targets": forest.values.shape[1],
        "aggregate_function": _SUM,
        "post_transform": 0,
    }


def _apart(arrays: dict[str, NDArray[Any]], roots: Ints) -> dict[str, NDArray[Any]]:
    """Shift the leaves until no root has a leaf and a node of one number as its children.

    ONNX Runtime takes such a root for a leaf (https://github.com/microsoft/onnxruntime/issues/24679).
    """
    leaf, other = arrays["nodes_trueleafs"] == 1, arrays["nodes_falseleafs"] == 1
    true, false = arrays["nodes_truenodeids"], arrays["nodes_falsenodeids"]
    mixed = roots[leaf[roots] != other[roots]]
    away = np.where(leaf[mixed], false[mixed] - true[mixed], true[mixed] - false[mixed])
    taken = set(away.tolist())
    shift = next(s for s in range(len(taken) + 1) if s not in taken)
    return {
        **arrays,
        "nodes_truenodeids": true + shift * leaf,
        "nodes_falsenodeids": false + shift * other,
        "leaf_targetids": np.concatenate([np.zeros(shift, np.int64), arrays["leaf_targetids"]]),
        "leaf_weights": np.concatenate([np.zeros(shift), arrays["leaf_weights"]]),
    }


def _levels(forest: _Forest) -> list[Ints]:
    """Return the inner nodes by their depth."""
    levels: list[Ints] = []
    frontier = forest.roots
    while True:
        frontier = frontier[~forest.leaf[frontier]]
        if not len(frontier):
            return levels
        levels.append(frontier)
        frontier = np.concatenate([forest.left[frontier], forest.right[frontier]])


def _alive(forest: _Forest, levels: list[Ints], leaves: Bools) -> Bools:
    """Return the nodes under which one of `leaves` stands, or which are one."""
    alive = leaves.copy()
    for level in reversed(levels):
        alive[level] = alive[forest.left[level]] | alive[forest.right[level]]
    return alive


@dataclass(frozen=True, slots=True)
class _Pass:
    arrays: dict[str, NDArray[Any]]
    trees: Ints
    roots: Ints


def _pass(
    forest: _Forest, questions: _Questions, alive: Bools, start: tuple[int, int, int]
) -> _Pass:
    """Lay out one pass: every living leaf gives its p-th class, dead subtrees are a leaf of weight 0."""
    p, first_node, first_leaf = start
    inner = np.flatnonzero(alive & ~forest.leaf)
    trees = np.flatnonzero(alive[forest.roots])
    stumps = forest.roots[trees][forest.leaf[forest.roots[trees]]]
    is_inner = np.zeros(len(alive), bool)
    is_inner[inner] = True
    children = np.concatenate([forest.left[inner], forest.right[inner]])
    ends = np.sort(np.concatenate([children[~is_inner[children]], stumps]))
    place = np.zeros(len(alive), np.int64)
    place[ends] = first_leaf + np.arange(len(ends))
    place[inner] = first_node + np.arange(len(inner))
    roots = place[forest.roots[trees]]
    stump = forest.leaf[forest.roots[trees]]
    roots[stump] = first_node + len(inner) + np.arange(len(stumps))
    targets, weights = _weights(forest.values[ends], p)
    weights[~(alive[ends] & forest.leaf[ends])] = 0.0
    swapped = questions.swapped[inner]
    true = np.where(swapped, forest.right[inner], forest.left[inner])
    false = np.where(swapped, forest.left[inner], forest.right[inner])
    tracks = questions.missing_left[inner] ^ swapped

    def padded(values: NDArray[Any], filler: Any) -> NDArray[Any]:
        return np.concatenate([values, np.broadcast_to(filler, len(stumps)).astype(values.dtype)])

    arrays = {
        "nodes_featureids": padded(questions.feature[inner], 0),
        "nodes_modes": padded(questions.mode[inner], LEQ),
        "nodes_splits": padded(questions.split[inner], 0.0),
        "nodes_truenodeids": padded(place[true], place[stumps]),
        "nodes_falsenodeids": padded(place[false], place[stumps]),
        "nodes_trueleafs": padded((~is_inner[true]).astype(np.int64), 1),
        "nodes_falseleafs": padded((~is_inner[false]).astype(np.int64), 1),
        "nodes_missing_value_tracks_true": padded(tracks.astype(np.int64), 0),
        "membership_values": _members(questions, inner),
        "leaf_targetids": targets,
        "leaf_weights": weights,
    }
    return _Pass(arrays, trees, roots)


def _members(questions: _Questions, inner: Ints) -> NDArray[np.float64]:
    """Return the sets of these nodes one after the other, each ended by NaN."""
    asking = inner[questions.mode[inner] == MEMBER].tolist()
    return np.array([v for node in asking for v in (*questions.members[node], np.nan)], dtype=float)


def _weights(values: NDArray[np.float64], p: int) -> tuple[Ints, NDArray[np.float64]]:
    """Return the p-th target of each leaf that is not zero, and its value (target 0 and 0.0 without one)."""
    nonzero = values != 0
    chosen = nonzero & (np.cumsum(nonzero, axis=1) == p + 1)
    targets = chosen.argmax(axis=1).astype(np.int64)
    weights = np.where(chosen.any(axis=1), values[np.arange(len(values)), targets], 0.0)
    return targets, weights
