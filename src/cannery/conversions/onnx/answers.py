"""From raw scores to labels and probabilities, as scikit-learn's classifiers share them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.results import Classified, Several


def flat(graph: Graph, wire: str) -> str:
    """Return [N] from [N, 1]."""
    return graph.node("Squeeze", [wire, graph.constant([1])])


def stand(graph: Graph, wire: str) -> str:
    """Return [N, 1] from [N]."""
    return graph.node("Unsqueeze", [wire, graph.constant([1])], width=1)


def concat(graph: Graph, wires: list[str]) -> str:
    """Return [N, k] from blocks side by side."""
    return wires[0] if len(wires) == 1 else graph.node("Concat", wires, axis=1)


def column(graph: Graph, wire: str, index: int) -> str:
    """Return [N, 1], one column of a block."""
    return graph.node(
        "Gather", [wire, graph.constant(np.array([index], dtype=np.int64))], axis=1, width=1
    )


def first_highest(graph: Graph, wire: str) -> str:
    """Return the int64 [N] position of the highest value in each row, the first of equals."""
    return graph.node("ArgMax", [wire], axis=1, keepdims=0)


def exceeds(graph: Graph, scores: str, threshold: float, *, inclusive: bool = False) -> str:
    """Return int64 [N]: 1 where scores [N, 1] exceed (or reach) the threshold, else 0."""
    operator = "GreaterOrEqual" if inclusive else "Greater"
    above = graph.node(operator, [scores, graph.constant(float(threshold))])
    return graph.node("Cast", [flat(graph, above)], to=TensorProto.INT64)


def last_below_half(probability: Callable[[Any], Any], kind: type[np.floating[Any]]) -> float:
    """Return the greatest score, from 0 up, to which the original gives no more than half.

    Near 0 many scores round to one half; `probability` is computed in the original's own precision.
    """
    integer = np.int32 if kind is np.float32 else np.int64
    low, high = 0, int(kind(1.0).view(integer))
    while low < high:
        middle = (low + high + 1) // 2
        if probability(integer(middle).view(kind)) > 0.5:
            high = middle - 1
        else:
            low = middle
    return float(integer(low).view(kind))


def both(graph: Graph, scores: str, factor: float = 1.0) -> str:
    """Return [N, 2]: the logistic function of -factor·score and factor·score.

    The first differs from 1 - p by less than 2⁻⁵³, and one node less is run.
    """
    signed = graph.node("Mul", [scores, graph.constant(np.array([[-factor, factor]]))])
    return graph.node("Sigmoid", [signed])


def pair(graph: Graph, positive: str) -> str:
    """Return [N, 2] from the probability [N, 1] of the second class."""
    return concat(graph, [graph.node("Sub", [graph.constant(1.0), positive]), positive])


def softmax(graph: Graph, scores: str) -> str:
    """Return the softmax of each row."""
    return graph.node("Softmax", [scores], axis=1)


def mean(graph: Graph, total: str, count: float) -> str:
    """Return total / count."""
    return total if count == 1 else graph.node("Div", [total, graph.constant(float(count))])


def logistic(graph: Graph, scores: str) -> str:
    """Return 1 / (1 + exp(-x)), with all digits of the smallest answers.

    ONNX Runtime's Sigmoid is exact to 2⁻⁵² only absolutely, and 0 below -37.
    """
    one = graph.constant(1.0)
    grown = graph.node("Exp", [graph.node("Neg", [scores])])
    return graph.node("Div", [one, graph.node("Add", [one, grown])])


def sharpened(graph: Graph, wire: str) -> str:
    """Return probabilities that are next divided by their sum, with all digits of the smallest (see `logistic`)."""
    maker = graph.maker(wire)
    if maker is None:
        return wire
    if maker.op_type == "Sigmoid":
        return logistic(graph, maker.input[0])
    if maker.op_type == "Concat":
        return concat(graph, [sharpened(graph, part) for part in maker.input])
    return wire


def shares(graph: Graph, parts: str, count: int) -> str:
    """Divide each row by its sum; a row of zeros becomes equal shares."""
    total = graph.node("ReduceSum", [parts, graph.constant([1])])
    empty = graph.node("Equal", [total, graph.constant(0.0)])
    safe = graph.node("Where", [empty, graph.constant(1.0), total])
    shares = graph.node("Div", [parts, safe])
    return graph.node("Where", [empty, graph.constant(1.0 / count), shares])


def by_highest(graph: Graph, classes: NDArray[Any], probabilities: str) -> Classified:
    """Return the class of the highest probability."""
    return Classified(
        classes=classes,
        index=first_highest(graph, probabilities),
        probabilities=probabilities,
    )


def told_apart(graph: Graph, scores: str, count: int, threshold: float) -> Several:
    """Return labels side by side, each told by a logistic score of its own [N, count]."""
    own = [column(graph, scores, i) for i in range(count)]
    parts = [
        Classified(
            classes=np.array([0, 1]),
            index=exceeds(graph, score, threshold),
            probabilities=both(graph, score),
        )
        for score in own
    ]
    return Several(parts=tuple(parts), indicator=True)
