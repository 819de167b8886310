"""Sums trees, or answers for each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from cannery.conversions.onnx.answers import concat, mean
from cannery.conversions.onnx.builder import CODES, Graph
from cannery.conversions.onnx.columns import Block, Column, materialise
from cannery.conversions.onnx.folds import LEQ, MEMBER, fold
from cannery.conversions.onnx.groups import Part, add_up, are_large, counted, side_by_side
from cannery.conversions.onnx.layouts import Forest, Ints, Questions, Tree, stack
from cannery.conversions.onnx.lookups import MANY, are_small, look_up, tabulate
from cannery.conversions.onnx.mirrors import mirror
from cannery.conversions.onnx.orders import Walk, key_of, walk_sorted
from cannery.conversions.onnx.roots import rank, settle

_MANY = 10
"""Trees from which on it is quicker to look the distributions of leaves up than to walk once more."""
_MIXED = 1.005
"""Classes that a leaf holds in the mean, from which on it is quicker."""
_VOTERS = 10_000
"""Leaves of one class each, from which on it is quicker to count votes in one number."""
_MOST = 4000
"""Trees up to which they are looked up: 64 MB for a thousand rows."""
_CELLS = 1 << 16
"""Rows times trees times classes, at most, that are looked up at once."""
_FEW = 4
"""Targets up to which a node for each is quicker than one for all."""
_WHOLE = 2**24
"""Whole numbers up to which float32 holds every one."""


def emit_trees(
    graph: Graph, block: Block, trees: Sequence[Tree], *, single: bool, refuses_missing: bool
) -> str:
    """Add the sum of the trees and return its wire, double [N, targets].

    `single`: the library compares float32(x), as scikit-learn's trees do. `refuses_missing`: the
    original answers no row with NaN.
    """
    sets = all((t.values[t.left < 0] != 0).any(axis=0).sum() <= 1 for t in trees)
    columns = _settled(graph, block, stack(trees), sets=sets, refuses_missing=refuses_missing)

    def asked(part: Sequence[Tree]) -> Part:
        own = stack(part)
        return own, _ask(graph, own, columns, single=single)

    owned = _by_target(trees)
    alone = 0 < len(owned) <= _FEW or (owned and are_large(trees))
    parts = [asked(part) for part in (owned if alone else [trees])]
    wire = parts[0][1].wire
    turned, prepare = mirror(parts, graph.widths[wire])

    def walk(inner: Graph, rows: str) -> str:
        ready = prepare(inner, rows)
        return concat(inner, [add_up(inner, ready, part) for part in turned])

    lookup = None
    if owned and are_small(trees):
        forest, questions = parts[0] if len(owned) == 1 else asked([t for o in owned for t in o])
        lookup = tabulate(forest, questions, [len(own) for own in owned])
    if lookup is None:
        return walk_sorted(graph, wire, key_of(parts), partial(walk, graph))
    many = partial(look_up, wire=wire, lookup=lookup)
    return graph.choose(wire, MANY, many, lambda inner: (walk(inner, wire),))[0]


def _by_target(trees: Sequence[Tree]) -> list[list[Tree]]:
    """Return the trees of each target where none has several; else nothing.

    Nodes of one target are walked faster.
    """
    targets = trees[0].values.shape[1]
    if targets == 1:
        return [list(trees)]
    filled = np.array([(t.values != 0).any(axis=0) for t in trees])
    if (filled.sum(axis=1) > 1).any() or not filled.any(axis=0).all():
        return []
    return [
        [
            replace(t, values=t.values[:, k : k + 1])
            for t, own in zip(trees, filled[:, k], strict=True)
            if own
        ]
        for k in range(targets)
    ]


def _settled(
    graph: Graph, block: Block, forest: Forest, *, sets: bool, refuses_missing: bool
) -> dict[int, Column]:
    """Return the columns that the trees ask for, on their wires."""
    used = sorted(set(forest.feature[~forest.leaf].tolist()))
    return settle(graph, block.numeric(), used, sets=sets, refuses_missing=refuses_missing)


def emit_mean(graph: Graph, block: Block, trees: Sequence[Tree]) -> str:
    """Add the mean of scikit-learn's trees, of class distributions or numbers; its wire, double [N, columns].

    Where many leaves hold several numbers, every tree is walked once: it answers the number of its
    leaf's distribution, and these are added up in the order of the trees. Where each leaf is a vote
    for one class, votes are counted.
    """
    count, classes = len(trees), trees[0].values.shape[1]
    leaves = np.concatenate([t.values[t.left < 0] for t in trees])
    ballots = (count + 1) ** (classes - 1)
    held = (leaves != 0).sum(axis=1)
    votes = held.max() == 1 and leaves.max(axis=1).min() == 1
    if votes and classes > 1 and max(_VOTERS, ballots * classes) <= len(leaves):
        return _counted(graph, block, trees, ballots)
    mixed = held.mean() >= _MIXED
    if not (mixed and _MANY <= count <= _MOST):
        total = emit_trees(graph, block, trees, single=True, refuses_missing=False)
        return mean(graph, total, count)
    table, places = np.unique(leaves, axis=0, return_inverse=True)
    left = np.concatenate([t.left for t in trees])
    numbers = np.zeros((len(left), 1))
    numbers[left < 0] = places.reshape(-1, 1)
    parts = np.split(numbers, np.cumsum([len(t.left) for t in trees])[:-1])
    numbered = [replace(t, values=v) for t, v in zip(trees, parts, strict=True)]
    shares = graph.constant(table)

    def averaged(answered: str) -> str:
        def at_once(inner: Graph) -> tuple[str]:
            across = inner.node("Transpose", [answered], perm=[1, 0])
            chosen = inner.node("Cast", [across], to=TensorProto.INT32)
            held = inner.node("Gather", [shares, chosen])
            return (inner.node("ReduceMean", [held, inner.constant([0])], keepdims=0),)

        def class_by_class(inner: Graph) -> tuple[str]:
            across = inner.node("Transpose", [answered], perm=[1, 0])
            flat = inner.node("Reshape", [across, inner.constant([-1])])
            chosen = inner.node("Cast", [flat], to=TensorProto.INT32)
            means = []
            for k in range(classes):
                column = inner.node("Gather", [shares, inner.constant(np.int64(k))], axis=1)
                held = inner.node("GatherElements", [column, chosen])
                by_tree = inner.node("Reshape", [held, inner.constant([count, -1])])
                means.append(inner.node("ReduceMean", [by_tree, inner.constant([0])]))
            return (inner.node("Transpose", [inner.node("Concat", means, axis=0)], perm=[1, 0]),)

        many = min(MANY, max(2, _CELLS // (count * classes)))
        return graph.choose(answered, many, class_by_class, at_once, reached=[shares])[0]

    return emit_apart(graph, block, numbered, small=len(table) <= _WHOLE, then=averaged)


def _counted(graph: Graph, block: Block, trees: Sequence[Tree], ballots: int) -> str:
    """Average trees of one vote each: as the digits of one number, of which a table holds the shares."""
    count, classes = len(trees), trees[0].values.shape[1]
    digits = np.array([0, *((count + 1.0) ** np.arange(classes - 1))])
    votes = [replace(t, values=t.values @ digits[:, None]) for t in trees]
    rest, counts = np.arange(ballots), []
    for _ in range(classes - 1):
        counts.append(rest % (count + 1))
        rest = rest // (count + 1)
    table = np.stack([count - sum(counts), *counts], axis=1) / count

    def looked_up(answered: str) -> str:
        chosen = graph.node("Cast", [answered], to=TensorProto.INT64)
        return graph.node("GatherND", [graph.constant(table), chosen])

    return emit_apart(graph, block, votes, small=ballots <= _WHOLE, summed=True, then=looked_up)


def emit_apart(
    graph: Graph,
    block: Block,
    trees: Sequence[Tree],
    *,
    summed: bool = False,
    small: bool = False,
    then: Walk = lambda answered: answered,
) -> str:
    """Add what each of scikit-learn's trees answers, of one target, for itself, [N, trees]; and what follows.

    `summed`: their sum, [N, 1], instead. `small`: the answers are whole numbers that float32 holds;
    where nothing is folded into the splits they are then asked in float32, as scikit-learn does, and
    walked faster.
    """
    forest = stack(trees)
    columns = _settled(graph, block, forest, sets=True, refuses_missing=False)
    questions = _ask(graph, forest, columns, single=True)
    in_single = small and all(not c.maps or c.wire == CODES for c in columns.values())
    kind = np.float32 if in_single else np.float64
    (turned,), prepare = mirror([(forest, questions)], graph.widths[questions.wire], kind)
    answer = counted if summed else side_by_side

    def walk(rows: str) -> str:
        return then(answer(graph, prepare(graph, rows), turned, kind))

    return walk_sorted(graph, questions.wire, key_of([(forest, questions)]), walk)


def emit_single_trees(graph: Graph, block: Block, trees: Sequence[Tree]) -> str:
    """Add the sum of trees of a library that compares and sums in float32; its wire, float [N, targets].

    The sum is rounded after every tree, in the order of the trees. So nothing is folded: the doubles
    of folded splits would ask for sums in double. What can't be computed to the last bit is ranked.
    """
    forest = stack(trees)
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
    questions = Questions(
        wire=wire,
        feature=np.where(forest.leaf, 0, places[np.searchsorted(used, forest.feature) % len(used)]),
        mode=mode,
        split=split,
        missing_left=forest.missing_left,
        swapped=np.zeros(n, bool),
        members=members,
    )
    (turned,), prepare = mirror([(forest, questions)], graph.widths[wire], np.float32)
    return add_up(graph, prepare(graph, wire), turned, np.float32)


def _ranked(
    graph: Graph, forest: Forest, chosen: Block, used: Sequence[int]
) -> tuple[Block, NDArray[np.float64]]:
    """Return the used columns and the thresholds, ranks in place of those that need it."""
    split, columns = forest.threshold.copy(), list(chosen.columns)
    nodes = [np.flatnonzero(~forest.leaf & (forest.feature == i)) for i in used]
    ranked = rank(graph, columns, [split[at] for at in nodes])
    for position, (column, places) in ranked.items():
        columns[position] = column
        split[nodes[position]] = places
    return Block(tuple(columns)), split


def _ask(graph: Graph, forest: Forest, columns: dict[int, Column], *, single: bool) -> Questions:
    """Fold the maps of the columns into the splits."""
    wires = list(dict.fromkeys(c.wire for c in columns.values()))
    *starts, width = np.cumsum([0, *(graph.widths[w] for w in wires)]).tolist()
    starts = dict(zip(wires, starts, strict=True))
    n = len(forest.feature)
    questions = Questions(
        wire=wires[0] if len(wires) == 1 else graph.node("Concat", wires, axis=1, width=width),
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


def _nodes_by_feature(forest: Forest) -> Iterator[tuple[int, Ints]]:
    """Yield each used feature with the inner nodes that ask for it."""
    inner = np.flatnonzero(~forest.leaf)
    inner = inner[np.argsort(forest.feature[inner], kind="stable")]
    features, starts = np.unique(forest.feature[inner], return_index=True)
    yield from zip(features.tolist(), np.split(inner, starts[1:]), strict=False)
