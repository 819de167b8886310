"""Small trees for many rows at once: nothing is walked, what every tree answers is looked up.

What a tree answers depends on which of its splits pass, one bit for each: its code. Every question that
any tree asks is answered once for all rows, the bits of each tree are added up to its code, and the codes
are looked up. No branch is taken that a processor could guess wrong, and the answers are added up in the
order of the trees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.folds import LEQ, NEQ
from cannery.conversions.onnx.layouts import Bools, Forest, Ints, Questions, Tree

MANY = 64
"""Rows from which on looking up is quicker than walking."""
_BITS = 8
"""Splits of a tree, at most: its code is one byte."""
_WIDTH = 32
"""Questions that make up the code of a tree, at most; a split by a set asks one for each member."""
_LEVEL, _ALWAYS, _QUESTION, _TREE = 8.0, 600.0, 0.6, 7.0
"""Nanoseconds a row: a level of a tree that is walked; the nodes of the graph, for `MANY` rows; a question;
a code that is made and looked up.
"""

Numbers = NDArray[np.float64]
_Question = tuple[str, int, float]
"""Operator, column, and the number that it is compared with."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """What is asked of all rows, and what follows from it."""

    questions: tuple[_Question, ...]
    asked: Ints
    """[trees, width]: the questions of each tree."""
    bits: NDArray[np.uint8]
    """[trees, 1, width]: what a question adds to the code where the answer is yes."""
    answers: Numbers
    """[trees, codes]."""
    counts: tuple[int, ...]
    """Trees of each target, one target after the other."""


def are_small(trees: Sequence[Tree]) -> bool:
    """Whether one byte holds the splits of each tree."""
    splits = [int((tree.left >= 0).sum()) for tree in trees]
    return 0 < max(splits) <= _BITS


def tabulate(forest: Forest, questions: Questions, counts: Sequence[int]) -> Lookup | None:
    """Return tables for small trees, so many for each target; None where to walk is cheaper."""
    inner = ~forest.leaf
    tree = np.searchsorted(forest.roots, np.arange(len(inner)), side="right") - 1
    before: Ints = np.cumsum(inner) - inner
    bit: Ints = before - before[forest.roots][tree]
    weights: list[dict[_Question, int]] = [{} for _ in forest.roots]
    for node in np.flatnonzero(inner).tolist():
        own = weights[tree[node]]
        for question in _asked(questions, node):
            own[question] = own.get(question, 0) + (1 << int(bit[node]))
    every = sorted({question for own in weights for question in own})
    width = max(map(len, weights))
    looked_up = _ALWAYS + len(every) * _QUESTION + len(weights) * _TREE
    if width > _WIDTH or looked_up > forest.met * _LEVEL:
        return None
    place = {question: i for i, question in enumerate(every)}
    asked = np.zeros((len(weights), width), np.int64)
    bits = np.zeros((len(weights), 1, width), np.uint8)
    for i, own in enumerate(weights):
        asked[i, : len(own)] = [place[question] for question in own]
        bits[i, 0, : len(own)] = list(own.values())
    # an inequality is asked as equality
    turned = questions.swapped ^ (questions.mode == NEQ)
    return Lookup(tuple(every), asked, bits, _answers(forest, bit, turned), tuple(counts))


def _asked(questions: Questions, node: int) -> list[_Question]:
    """Return what is asked for the bit of a split: the answer to one of these is yes, or to none."""
    column, split = int(questions.feature[node]), float(questions.split[node])
    mode, swapped = questions.mode[node], bool(questions.swapped[node])
    missing = questions.missing_left[node] != (swapped ^ bool(mode == NEQ))
    asked: list[_Question] = [("IsNaN", column, 0.0)] if missing else []
    if mode == LEQ:
        return asked if np.isnan(split) else [*asked, ("LessOrEqual", column, split)]
    members = questions.members[node] or (split,)
    return [*asked, *(("Equal", column, v) for v in dict.fromkeys(members) if v == v)]


def _answers(forest: Forest, bit: Ints, turned: Bools) -> Numbers:
    """Return [trees, codes]: the value of the leaf to which each code leads."""
    codes = 2 << int(bit[~forest.leaf].max())
    node = np.repeat(forest.roots[:, None], codes, axis=1)
    code = np.arange(codes)[None]
    while (inner := ~forest.leaf[node]).any():
        left = ((code >> bit[node]) & 1 == 1) ^ turned[node]
        child = np.where(left, forest.left[node], forest.right[node])
        node = np.where(inner, child, node)
    return np.asarray(forest.values[node, 0])


def look_up(graph: Graph, wire: str, lookup: Lookup) -> tuple[str]:
    """Add the sums of the answers, double [N, targets]."""
    trees, codes = lookup.answers.shape
    yes = _answered(graph, wire, lookup.questions)
    own = graph.node("Gather", [yes, graph.constant(lookup.asked)])
    code = graph.node("MatMulInteger", [graph.constant(lookup.bits), own])
    starts = np.arange(0, trees * codes, codes, dtype=np.int32)[:, None, None]
    places = graph.node("Add", [code, graph.constant(starts)])
    flat = graph.node("Reshape", [places, graph.constant([-1])])
    found = graph.node("GatherElements", [graph.constant(lookup.answers.ravel()), flat])
    answers = [graph.node("Reshape", [found, graph.constant([trees, -1])])]
    if (count := len(lookup.counts)) > 1:
        answers = list(graph.nodes("Split", [*answers, graph.constant(lookup.counts)], count))
    sums = [graph.node("ReduceSum", [each, graph.constant([0])]) for each in answers]
    if count == 1:
        return (graph.node("Reshape", [sums[0], graph.constant([-1, 1])]),)
    return (graph.node("Transpose", [graph.node("Concat", sums, axis=0)], perm=[1, 0]),)


def _answered(graph: Graph, wire: str, questions: Sequence[_Question]) -> str:
    """Return uint8 [questions, N]: 1 where the answer is yes."""
    across = graph.node("Transpose", [wire], perm=[1, 0])
    answered = []
    for operator, column in sorted({question[:2] for question in questions}):
        values = graph.node("Gather", [across, graph.constant([column])])
        numbers = [[n] for o, c, n in questions if (o, c) == (operator, column)]
        inputs = [values] if operator == "IsNaN" else [values, graph.constant(numbers)]
        answered.append(graph.node(operator, inputs))
    every = answered[0] if len(answered) == 1 else graph.node("Concat", answered, axis=0)
    return graph.node("Cast", [every], to=TensorProto.UINT8)
