"""Support vector machines of libsvm: kernels, one-against-one votes, and coupled probabilities."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from cannery.conversions.onnx.answers import column, concat, exceeds, first_highest, logistic
from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.columns import Block, materialise
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.linear import product
from cannery.conversions.onnx.maps import Clip, as_numbers, emit
from cannery.conversions.onnx.pairs import Kernel, dense, similarity
from cannery.conversions.onnx.results import Classified, Outlying, Predicted

_FAR = 1e150
_LEAST = 1e-7
"""Of a probability between two classes, as libsvm clips it."""


def _kernels(emitter: Emitter, estimator: Any, block: Block) -> str:
    """Return the kernel of each row with each support vector."""
    if callable(estimator.kernel) or estimator.kernel == "precomputed":
        raise emitter.refuse(estimator, "its kernel is a function or computed beforehand")
    kernel = Kernel(
        name=estimator.kernel,
        gamma=float(estimator._gamma),
        coef0=float(estimator.coef0),
        degree=float(estimator.degree),
    )
    wire = materialise(emitter.graph, block)
    if kernel.name == "rbf":  # what is too large to be squared is infinitely far, and not NaN
        edges = [emitter.graph.constant(edge) for edge in (-_FAR, _FAR)]
        wire = emitter.graph.node("Clip", [wire, *edges])
    return similarity(emitter.graph, wire, dense(estimator.support_vectors_), kernel)


def _decision(emitter: Emitter, estimator: Any, block: Block) -> str:
    """Return the one decision value of each row, [N, 1]."""
    kernels = _kernels(emitter, estimator, block)
    return product(emitter.graph, kernels, estimator.dual_coef_, estimator.intercept_)


def _regressor(emitter: Emitter, estimator: Any, block: Block) -> Predicted:
    return Predicted(value=_decision(emitter, estimator, block))


def _one_class(emitter: Emitter, estimator: Any, block: Block) -> Outlying:
    scores = _decision(emitter, estimator, block)
    return Outlying(scores=scores, inlier=exceeds(emitter.graph, scores, 0.0))


def _classifier(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    graph, count = emitter.graph, len(estimator.classes_)
    kernels = _kernels(emitter, estimator, block)
    duels = product(graph, kernels, _duel_weights(estimator), estimator._intercept_)
    probabilities = _coupled(graph, estimator, duels) if _has_probabilities(estimator) else None
    if count == 2:
        scores = graph.node("Neg", [duels])
        index = exceeds(graph, scores, 0.0, inclusive=True)
    else:
        won = as_numbers(graph, graph.node("Greater", [duels, graph.constant(0.0)]))
        counted, rivals = votes(graph, won, count), duels
        index = first_highest(graph, counted)
        if estimator.decision_function_shape == "ovr":
            rivals = confident(graph, counted, duels, count)
            index = first_highest(graph, rivals) if estimator.break_ties else index
        scores = rivals
    one_to_one = count > 2 and estimator.decision_function_shape == "ovo"
    return Classified(
        classes=estimator.classes_,
        index=index,
        probabilities=probabilities,
        scores=scores,
        columns=len(_sides(count)) if one_to_one else None,
    )


def _has_probabilities(estimator: Any) -> bool:
    return bool(estimator.probability) and estimator.probability != "deprecated"


def _duel_weights(estimator: Any) -> NDArray[np.float64]:
    """Return [pairs, support vectors]: the weights with which each pair of classes is decided."""
    own = np.asarray(estimator._n_support)
    start = np.concatenate([[0], np.cumsum(own)])
    given = dense(estimator._dual_coef_)
    rows = []
    for i, j in combinations(range(len(own)), 2):
        row = np.zeros(given.shape[1])
        row[start[i] : start[i + 1]] = given[j - 1, start[i] : start[i + 1]]
        row[start[j] : start[j + 1]] = given[i, start[j] : start[j + 1]]
        rows.append(row)
    return np.array(rows)


def _sides(count: int) -> NDArray[np.float64]:
    """Return [pairs, classes]: 1 for the first class of each pair, -1 for the second."""
    sides = np.zeros((count * (count - 1) // 2, count))
    for row, (i, j) in enumerate(combinations(range(count), 2)):
        sides[row, i], sides[row, j] = 1.0, -1.0
    return sides


def votes(graph: Graph, won: str, count: int) -> str:
    """Return the votes [N, classes]; a pair is 1 where its first class has won, else 0."""
    sides = _sides(count)
    gained = graph.node("MatMul", [won, graph.constant(sides)])
    return graph.node("Add", [gained, graph.constant((sides < 0).sum(axis=0, keepdims=True) * 1.0)])


def confident(graph: Graph, counted: str, duels: str, count: int) -> str:
    """Return votes and, as their fraction within ±1/3, the sum of confidences."""
    total = graph.node("MatMul", [duels, graph.constant(_sides(count))])
    size = graph.node("Add", [graph.node("Abs", [total]), graph.constant(1.0)])
    fraction = graph.node("Div", [total, graph.node("Mul", [size, graph.constant(3.0)])])
    return graph.node("Add", [counted, fraction])


def _coupled(graph: Graph, estimator: Any, duels: str) -> str:
    """Return the probabilities [N, classes] out of those of the pairs.

    The second method of Wu, Lin and Weng (2004), as libsvm runs it: it stops at an error of 0.005
    per class, so its answer is a number of turns, not a limit, and the same turns are run here.
    """
    count = len(estimator.classes_)
    slope, shift = np.asarray(estimator._probA), np.asarray(estimator._probB)
    scaled = graph.node("Mul", [duels, graph.constant(-slope.reshape(1, -1))])
    exponent = graph.node("Sub", [scaled, graph.constant(shift.reshape(1, -1))])
    first = emit(graph, logistic(graph, exponent), (Clip(_LEAST, 1.0 - _LEAST),) * len(slope))
    second = graph.node("Sub", [graph.constant(1.0), first])
    form = _form(graph, first, second, count)
    equal = graph.constant(np.full((1, count), 1.0 / count))
    zeros = graph.node("Mul", [column(graph, first, 0), graph.constant(0.0)])
    start = graph.node("Add", [zeros, equal])
    turns = max(100, count)
    states = graph.loop(turns, graph.constant(True), [start, form], _turn(count))
    return states[0]


def _form(graph: Graph, first: str, second: str, count: int) -> str:
    """Return the quadratic form [N, classes²] that the probabilities shall make small."""
    place = {pair: k for k, pair in enumerate(combinations(range(count), 2))}
    both = {
        **{(i, j): column(graph, first, k) for (i, j), k in place.items()},
        **{(j, i): column(graph, second, k) for (i, j), k in place.items()},
    }
    cells = []
    for i in range(count):
        for j in range(count):
            if i != j:
                low, high = min(i, j), max(i, j)
                product_ = graph.node("Mul", [both[high, low], both[low, high]])
                cells.append(graph.node("Neg", [product_]))
                continue
            total = ""
            for k in (k for k in range(count) if k != i):
                square = graph.node("Mul", [both[k, i], both[k, i]])
                total = graph.node("Add", [total, square]) if total else square
            cells.append(total)
    return concat(graph, cells)


def _turn(count: int) -> Any:
    """Return the body of the loop: rows whose error is small enough stay as they are."""
    body = Graph(0, 0, prefix="t")
    state, form = "t_state", "t_form"
    cube = body.node("Reshape", [form, body.constant([-1, count, count])])
    upright = body.node("Unsqueeze", [state, body.constant([2])])
    slopes = body.node("Squeeze", [body.node("MatMul", [cube, upright]), body.constant([2])])
    value = body.node("ReduceSum", [body.node("Mul", [state, slopes]), body.constant([1])])
    error = body.node(
        "ReduceMax", [body.node("Abs", [body.node("Sub", [slopes, value])]), body.constant([1])]
    )
    far = body.node("GreaterOrEqual", [error, body.constant(0.005 / count)])
    moved = state
    for t in range(count):
        row = body.node("Gather", [cube, body.constant(t)], axis=1)
        moved, slopes, value = _step(body, (moved, slopes, value), row, t, count)
    result = body.node("Where", [far, moved, state])
    many = body.node("ReduceSum", [body.node("Cast", [far], to=TensorProto.INT64)], keepdims=0)
    any_far = body.node("Greater", [many, body.constant(0)])
    return body.as_body([state, form], any_far, [result, body.node("Identity", [form])])


def _step(
    body: Graph, point: tuple[str, str, str], row: str, t: int, count: int
) -> tuple[str, str, str]:
    """Move one probability to where it is best, and scale all to sum to 1 again."""
    state, slopes, value = point
    own, slope = column(body, row, t), column(body, slopes, t)
    move = body.node("Div", [body.node("Sub", [value, slope]), own])
    grown = body.node("Add", [body.constant(1.0), move])
    twice = body.node("Add", [slope, slope])
    gain = body.node("Mul", [move, body.node("Add", [body.node("Mul", [move, own]), twice])])
    value = body.node("Div", [body.node("Div", [body.node("Add", [value, gain]), grown]), grown])
    slopes = body.node("Div", [body.node("Add", [slopes, body.node("Mul", [move, row])]), grown])
    here = body.constant(np.eye(count)[t : t + 1])
    state = body.node("Add", [state, body.node("Mul", [move, here])])
    return body.node("Div", [state, grown]), slopes, value


TABLE: dict[str, Emit] = {
    "sklearn.svm.SVC": _classifier,
    "sklearn.svm.NuSVC": _classifier,
    "sklearn.svm.SVR": _regressor,
    "sklearn.svm.NuSVR": _regressor,
    "sklearn.svm.OneClassSVM": _one_class,
}
