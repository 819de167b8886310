"""Trees of any library as arrays, and the attributes of the operator `TreeEnsemble` (ai.onnx.ml 5).

A leaf of that operator adds one weight to one target. A leaf that holds a whole class distribution
is spread over several passes of its tree, one for each class that is not zero in it; where leaves
are pure, as in a forest grown to the end, one pass is all. The sums are exact in every order that
keeps the trees in theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cannery.conversions.onnx.folds import LEQ, MEMBER

_SUM = 1
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
class Forest:
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
        """Whether each node is a leaf."""
        return self.left < 0

    @property
    def met(self) -> float:
        """How many splits a row meets, if every tree were even."""
        inner = np.add.reduceat((~self.leaf).astype(np.int64), self.roots)
        return float(np.log2(inner + 1).sum())


@dataclass(frozen=True, slots=True)
class Questions:
    """What every node asks of the input wire."""

    wire: str
    feature: Ints
    mode: NDArray[np.uint8]
    split: NDArray[np.float64]
    missing_left: Bools
    swapped: Bools
    members: dict[int, tuple[float, ...]]
    """Of the nodes that ask for membership in a set."""


def stack(trees: Sequence[Tree]) -> Forest:
    """Return the trees one after the other."""
    sizes = np.array([len(t.feature) for t in trees], dtype=np.int64)
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)

    def children(side: str) -> Ints:
        return np.concatenate(
            [
                np.where(getattr(t, side) < 0, -1, getattr(t, side) + root)
                for t, root in zip(trees, roots, strict=True)
            ]
        ).astype(np.int64)

    return Forest(
        feature=np.concatenate([t.feature for t in trees]).astype(np.int64),
        threshold=np.concatenate([t.threshold for t in trees]).astype(np.float64),
        left=children("left"),
        right=children("right"),
        missing_left=np.concatenate([t.missing_left for t in trees]).astype(bool),
        values=np.concatenate([t.values for t in trees]).astype(np.float64),
        roots=roots,
    )


def attributes_of(forest: Forest, questions: Questions) -> dict[str, Any]:
    """Lay the trees out as the operator wants them: inner nodes and leaves in arrays of their own."""
    nonzero = forest.values != 0
    held = np.where(forest.leaf, nonzero.sum(axis=1), 0)
    levels = levels_of(forest)
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


def levels_of(forest: Forest) -> list[Ints]:
    """Return the inner nodes by their depth."""
    levels: list[Ints] = []
    frontier = forest.roots
    while True:
        frontier = frontier[~forest.leaf[frontier]]
        if not len(frontier):
            return levels
        levels.append(frontier)
        frontier = np.concatenate([forest.left[frontier], forest.right[frontier]])


def _alive(forest: Forest, levels: list[Ints], leaves: Bools) -> Bools:
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


def _pass(forest: Forest, questions: Questions, alive: Bools, start: tuple[int, int, int]) -> _Pass:
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


def _members(questions: Questions, inner: Ints) -> NDArray[np.float64]:
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
