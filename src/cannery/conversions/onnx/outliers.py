"""Detectors of outliers: a score that is low where a row is unlike the others, and its sign."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cannery.conversions.onnx.answers import exceeds
from cannery.conversions.onnx.columns import Block, materialise
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.forests import emit_trees
from cannery.conversions.onnx.linear import product
from cannery.conversions.onnx.results import Outlying
from cannery.conversions.onnx.trees import tree_of

Numbers = NDArray[np.float64]


def _isolation_forest(emitter: Emitter, estimator: Any, block: Block) -> Outlying:
    """Emit IsolationForest: 2 to the power of the mean depth at which a row stands alone."""
    graph, trees = emitter.graph, []
    for member, chosen in zip(estimator.estimators_, estimator.estimators_features_, strict=True):
        tree = tree_of(member.tree_, _depths(member.tree_))
        trees.append(replace(tree, feature=np.asarray(chosen)[tree.feature]))
    total = emit_trees(graph, block, trees, single=True, refuses_missing=False)
    scale = len(trees) * float(_path_length(np.array([estimator._max_samples]))[0])
    if scale == 0:
        raise emitter.refuse(estimator, "its trees were grown on single rows")
    share = graph.node("Neg", [graph.node("Div", [total, graph.constant(scale)])])
    power = graph.node("Pow", [graph.constant(2.0), share])
    scores = graph.node(
        "Sub", [graph.node("Neg", [power]), graph.constant(float(estimator.offset_))]
    )
    least = _least_depth(scale, float(estimator.offset_))
    return Outlying(scores=scores, inlier=exceeds(graph, total, least, inclusive=True))


def _depths(fitted: Any) -> Numbers:
    """Return [nodes, 1]: how deep a row that ends in each leaf is taken to stand."""
    nodes = np.ones(fitted.node_count)
    for node, (left, right) in enumerate(
        zip(fitted.children_left, fitted.children_right, strict=True)
    ):
        if left >= 0:  # children stand after their parent
            nodes[[left, right]] = nodes[node] + 1.0
    lengths = nodes + _path_length(np.asarray(fitted.n_node_samples)) - 1.0
    return np.asarray(lengths.reshape(-1, 1))


def _path_length(rows: NDArray[Any]) -> Numbers:
    """Return the mean length of an unsuccessful search in a tree of so many rows."""
    count = np.maximum(rows.astype(np.float64), 3.0)
    many = 2.0 * (np.log(count - 1.0) + np.euler_gamma) - 2.0 * (count - 1.0) / count
    return np.where(rows <= 1, 0.0, np.where(rows == 2, 1.0, many))


def _least_depth(scale: float, offset: float) -> float:
    """Return the least depth whose score is not below 0, as numpy computes it.

    An offset found by contamination is the score of a row of the training, on which the last bit
    of a power decides.
    """
    low, high = 0, int(np.float64(64.0 * scale).view(np.int64))
    while low < high:
        middle = (low + high) // 2
        depth = np.full(8, np.int64(middle).view(np.float64))
        inlier = -(2 ** (-np.divide(depth, scale))) - offset >= 0
        if inlier.all():
            high = middle
        else:
            low = middle + 1
    return float(np.int64(low).view(np.float64))


def _elliptic(emitter: Emitter, estimator: Any, block: Block) -> Outlying:
    """Emit EllipticEnvelope by squared Mahalanobis distances.

    The offset may be the very score of a row of the training: such a row is an inlier, whatever the
    last bit of a sum.
    """
    graph, x = emitter.graph, materialise(emitter.graph, block)
    away = graph.node("Sub", [x, graph.constant(np.reshape(estimator.location_, (1, -1)))])
    precision = np.asarray(estimator.get_precision(), dtype=np.float64)
    turned = graph.node("MatMul", [away, graph.constant(precision)])
    squares = graph.node("ReduceSum", [graph.node("Mul", [turned, away]), graph.constant([1])])
    offset = float(estimator.offset_)
    scores = graph.node("Sub", [graph.node("Neg", [squares]), graph.constant(offset)])
    return Outlying(
        scores=scores, inlier=exceeds(graph, scores, -1e-12 * abs(offset), inclusive=True)
    )


def _stochastic(emitter: Emitter, estimator: Any, block: Block) -> Outlying:
    """Emit SGDOneClassSVM."""
    x = materialise(emitter.graph, block)
    scores = product(emitter.graph, x, estimator.coef_, -np.asarray(estimator.offset_))
    return Outlying(scores=scores, inlier=exceeds(emitter.graph, scores, 0.0, inclusive=True))


TABLE: dict[str, Emit] = {
    "sklearn.ensemble.IsolationForest": _isolation_forest,
    "sklearn.covariance.EllipticEnvelope": _elliptic,
    "sklearn.linear_model.SGDOneClassSVM": _stochastic,
}
