"""Of a node's children, the one to which most rows go lies next to it.

ONNX Runtime lays the second child next to its node, where the processor has it at hand; and where most
rows go on to the second child, the processor guesses so. scikit-learn's trees send NaN where most rows
went. So a split that sends NaN to the first child is asked of the negated column instead: x <= t turns
into -x <= u, with u the number before -t, and the children change places. Then NaN never goes to a
first child, as if nothing were said of it, and ONNX Runtime walks without a look at missing values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from onnx import TensorProto

from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.folds import LEQ
from cannery.conversions.onnx.groups import Float, Part
from cannery.conversions.onnx.layouts import Questions

_MET = 400
"""Splits that a row meets, from which on it is quicker by more than the two nodes take."""

Prepare = Callable[[Graph, str], str]
"""Adds to a graph what the rows of a wire need before they are walked."""


def mirror(
    parts: Sequence[Part], width: int, kind: Float = np.float64
) -> tuple[list[Part], Prepare]:
    """Return what the nodes ask of rows that are prepared, and how these are.

    `width`: columns of the wire, doubles; `kind`: the numbers that are compared.
    """
    met = sum(forest.met for forest, _ in parts)
    turns = met >= max(_MET, width) and any(q.missing_left.any() for _, q in parts)

    def prepare(graph: Graph, rows: str) -> str:
        if kind is np.float32:
            rows = graph.node("Cast", [rows], to=TensorProto.FLOAT)
        if turns:
            rows = graph.node("Concat", [rows, graph.node("Neg", [rows])], axis=1)
        return rows

    turned = [(forest, _mirrored(q, width, kind) if turns else q) for forest, q in parts]
    return turned, prepare


def _mirrored(questions: Questions, width: int, kind: Float) -> Questions:
    split = questions.split.astype(kind)
    usual = (np.abs(split) >= np.finfo(kind).tiny) & (np.abs(split) < np.inf)
    turned = (questions.mode == LEQ) & questions.missing_left & usual
    with np.errstate(all="ignore"):  # beside the greatest number is infinity
        before = np.nextafter(-split, kind(-np.inf))
    return replace(
        questions,
        feature=questions.feature + width * turned,
        split=np.where(turned, before, split).astype(np.float64),
        swapped=questions.swapped ^ turned,
    )
