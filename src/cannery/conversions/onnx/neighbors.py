"""Nearest neighbours: which points are nearest, and what they answer together.

Of points that are equally far scikit-learn takes those that its search meets first, an order that
depends on the algorithm, the batch and the number of threads. So a model is refused where rows like
those of its training meet such points and it matters which of them is taken.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cannery.conversions.onnx.answers import (
    exceeds,
    first_highest,
    softmax,
)
from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.columns import Block, materialise
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.maps import as_numbers
from cannery.conversions.onnx.pairs import Kernel, dense, measured, similarity, squared
from cannery.conversions.onnx.results import Classified, Outlying, Predicted, Several

Numbers = NDArray[np.float64]

_POWERS = {
    **dict.fromkeys(("euclidean", "l2"), 2.0),
    **dict.fromkeys(("manhattan", "l1", "cityblock"), 1.0),
    **dict.fromkeys(("chebyshev", "infinity"), np.inf),
}
_CELLS = 4_000_000
"""Distances that are computed, at most, to look for points that are equally far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Space:
    """The points, and how far it is to them."""

    points: Numbers
    power: float | None
    """Of Minkowski's distance; None for cosine."""
    exact: bool
    """Whether the distances are computed column by column, as scikit-learn does, or by matrices."""

    def reduced(self, graph: Graph, wire: str) -> str:
        """Return the distances [N, points] before the last root."""
        if self.power is None:
            alike = similarity(graph, wire, self.points, Kernel(name="cosine"))
            return graph.node("Relu", [graph.node("Sub", [graph.constant(1.0), alike])])
        if self.exact:
            return measured(graph, wire, self.points, self.power)
        return squared(graph, wire, self.points)

    def rooted(self, graph: Graph, reduced: str) -> str:
        """Return the distances themselves."""
        if self.power in (None, 1, np.inf):
            return reduced
        if self.power == 2:
            return graph.node("Sqrt", [reduced])
        return graph.node("Pow", [reduced, graph.constant(1.0 / float(self.power or 1))])

    def measure(self, rows: Numbers) -> Numbers:
        """Return the reduced distances with numpy."""
        if self.power is None:
            lengths = [np.linalg.norm(a, axis=1, keepdims=True) for a in (rows, self.points)]
            ours, theirs = (np.where(n == 0, 1.0, n) for n in lengths)
            return np.asarray(1.0 - (rows / ours) @ (self.points / theirs).T)
        total = np.zeros((len(rows), len(self.points)))
        for own, others in zip(rows.T, self.points.T, strict=True):
            away = np.abs(own[:, None] - others[None])
            total = np.maximum(total, away) if self.power == np.inf else total + away**self.power
        return total


def _space(emitter: Emitter, estimator: Any) -> _Space:
    fitted, metric = estimator._fit_X, estimator.effective_metric_
    given = dict(estimator.effective_metric_params_ or {})
    params = {name: value for name, value in given.items() if value is not None}
    power = params.pop("p", None) if metric == "minkowski" else None
    if metric != "cosine":
        power = _POWERS.get(metric, power)
        params.pop("p", None)
    if params or (power is None and metric != "cosine"):
        raise emitter.refuse(
            estimator,
            f"its metric '{metric}' is not on the list",
            "take euclidean, manhattan, chebyshev, minkowski or cosine",
        )
    brute = estimator._fit_method == "brute"
    if brute and getattr(fitted, "dtype", None) == np.float32:
        raise emitter.refuse(estimator, "it computes in float32", "fit it on float64")
    exact = power is not None and not (brute and power == 2)
    weights = getattr(estimator, "weights", None)
    if weights not in (None, "uniform", "distance"):
        raise emitter.refuse(estimator, "its weights are a function")
    if weights == "distance" and not exact:
        raise emitter.refuse(
            estimator,
            "it weighs by distances that are rounded differently from batch to batch",
            "fit it with algorithm='kd_tree'",
        )
    return _Space(points=dense(fitted), power=power, exact=exact)


def _visited(estimator: Any) -> NDArray[np.int64]:
    """Return the points' positions in the order in which the search visits them where all are equally far."""
    if estimator._fit_method == "brute":
        return np.arange(len(dense(estimator._fit_X)))
    return np.asarray(estimator._tree.get_arrays()[1], dtype=np.int64)


def _check_ties(
    emitter: Emitter, estimator: Any, space: _Space, count: int, answers: Numbers
) -> None:
    """Refuse where the border of the neighbourhood runs through points that are equally far."""
    points = space.points
    if count >= len(points):
        return
    random = np.random.default_rng(0)
    many = max(1, min(len(points), 500, _CELLS // (2 * len(points))))
    own = points[random.choice(len(points), many, replace=False)]
    mixed = np.stack([random.permutation(c)[:many] for c in points.T], axis=1)
    far = space.measure(np.concatenate([own, mixed]))
    low, high = np.partition(far, (count - 1, count), axis=1)[:, [count - 1, count]].T
    slack = np.zeros_like(low) if space.exact else 1e-12 * (1.0 + np.abs(far).max(axis=1))
    for row in np.flatnonzero(high - low <= slack):
        tied = np.abs(far[row] - low[row]) <= slack[row]
        if np.ptp(answers[tied], axis=0).any():
            raise emitter.refuse(
                estimator,
                "rows such as those of its training are equally far from points of different "
                "answers, and which of these it takes is left to the order of its search",
            )


def nearest(
    emitter: Emitter, estimator: Any, block: Block, count: int, answers: Numbers
) -> tuple[str, str]:
    """Return distances and positions, [N, count], of the nearest points; `answers` [points, k]."""
    graph, space = emitter.graph, _space(emitter, estimator)
    _check_ties(emitter, estimator, space, count, answers)
    order = _visited(estimator)
    space = replace(space, points=space.points[order])
    reduced = space.reduced(graph, materialise(graph, block))
    many = graph.constant(np.array([count], dtype=np.int64))
    values, places = graph.nodes("TopK", [reduced, many], 2, axis=1, largest=0, sorted=1)
    return space.rooted(graph, values), graph.node("Gather", [graph.constant(order), places])


def _by_distance(graph: Graph, distances: str, inside: str | None = None) -> str:
    """Return 1 / distance; where some of a row are zero, 1 for these and 0 for the others.

    `inside`: the distances that count, as 1 and 0.
    """
    inverse = graph.node("Div", [graph.constant(1.0), distances])
    if inside is not None:
        inverse = graph.node("Where", [inside, inverse, graph.constant(0.0)])
    here = as_numbers(graph, graph.node("Equal", [inverse, graph.constant(np.inf)]))
    any_here = graph.node("ReduceMax", [here, graph.constant([1])])
    found = graph.node("Greater", [any_here, graph.constant(0.0)])
    return graph.node("Where", [found, here, inverse])


def _targets(estimator: Any) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """Return the codes [points, outputs] and the classes of each output."""
    if estimator.outputs_2d_:
        return np.asarray(estimator._y), list(estimator.classes_)
    return np.asarray(estimator._y).reshape(-1, 1), [estimator.classes_]


def _answer(estimator: Any, parts: Sequence[Classified]) -> Classified | Several:
    return Several(parts=tuple(parts)) if estimator.outputs_2d_ else parts[0]


def _k_classifier(emitter: Emitter, estimator: Any, block: Block) -> Classified | Several:
    graph = emitter.graph
    codes, classes = _targets(estimator)
    count = int(estimator.n_neighbors)
    distances, places = nearest(emitter, estimator, block, count, codes.astype(float))
    weights = None
    if estimator.weights == "distance":
        weights = _by_distance(graph, distances)
        weights = graph.node("Unsqueeze", [weights, graph.constant([2])])
    parts = []
    for own, known in zip(codes.T, classes, strict=True):
        rows = graph.constant(np.eye(len(known))[own])
        votes = graph.node("Gather", [rows, places])
        if weights is not None:
            votes = graph.node("Mul", [votes, weights])
        total = graph.node("ReduceSum", [votes, graph.constant([1])], keepdims=0)
        parts.append(_elected(graph, known, total))
    return _answer(estimator, parts)


def _elected(graph: Graph, classes: NDArray[Any], votes: str) -> Classified:
    total = graph.node("ReduceSum", [votes, graph.constant([1])])
    return Classified(
        classes=classes,
        index=first_highest(graph, votes),
        probabilities=graph.node("Div", [votes, total]),
    )


def _values(emitter: Emitter, estimator: Any) -> Numbers:
    """Return what the points answer, [points, outputs]."""
    values = np.asarray(estimator._y)
    if values.dtype == np.float32:
        raise emitter.refuse(estimator, "it averages in float32", "fit it on float64")
    return values.reshape(len(values), -1).astype(np.float64)


def _k_regressor(emitter: Emitter, estimator: Any, block: Block) -> Predicted:
    graph, values = emitter.graph, _values(emitter, estimator)
    distances, places = nearest(emitter, estimator, block, int(estimator.n_neighbors), values)
    chosen = graph.node("Gather", [graph.constant(values), places])
    axis = graph.constant([1])
    if estimator.weights == "distance":
        weights = _by_distance(graph, distances)
        upright = graph.node("Unsqueeze", [weights, graph.constant([2])])
        total = graph.node("ReduceSum", [graph.node("Mul", [chosen, upright]), axis], keepdims=0)
        value = graph.node("Div", [total, graph.node("ReduceSum", [weights, axis])])
    else:
        value = graph.node("ReduceMean", [chosen, axis], keepdims=0)
    return Predicted(value=value, columns=values.shape[1], flat=np.ndim(estimator._y) == 1)


def _around(emitter: Emitter, estimator: Any, block: Block) -> str:
    """Return the weights [N, points] of all points; 0 beyond the radius."""
    graph, space = emitter.graph, _space(emitter, estimator)
    reduced = space.reduced(graph, materialise(graph, block))
    radius = float(estimator.radius)
    limit = radius if space.power in (None, np.inf) else radius**space.power
    inside = graph.node("LessOrEqual", [reduced, graph.constant(limit)])
    if estimator.weights != "distance":
        return as_numbers(graph, inside)
    return _by_distance(graph, space.rooted(graph, reduced), inside)


def _radius_classifier(emitter: Emitter, estimator: Any, block: Block) -> Classified | Several:
    graph = emitter.graph
    if estimator.outlier_label_ is None:
        raise emitter.refuse(
            estimator,
            "it refuses rows without a neighbour, which a graph can't",
            "give it an outlier_label",
        )
    codes, classes = _targets(estimator)
    weights = _around(emitter, estimator, block)
    parts = []
    for k, (own, known) in enumerate(zip(codes.T, classes, strict=True)):
        votes = graph.node("MatMul", [weights, graph.constant(np.eye(len(known))[own])])
        parts.append(_or_outlier(emitter, estimator, known, votes, k))
    return _answer(estimator, parts)


def _or_outlier(
    emitter: Emitter, estimator: Any, classes: NDArray[Any], votes: str, output: int
) -> Classified:
    """Return the class with most votes, or where there are none that of the outliers."""
    graph, label = emitter.graph, estimator.outlier_label_[output]
    place = np.flatnonzero(classes == label)
    if len(place) != 1:
        raise emitter.refuse(estimator, "its label for outliers is none of its classes")
    total = graph.node("ReduceSum", [votes, graph.constant([1])])
    lonely = graph.node("Equal", [total, graph.constant(0.0)])
    safe = graph.node("Where", [lonely, graph.constant(1.0), total])
    share = np.zeros((1, len(classes)))
    if _marks_outliers(estimator, int(place[0])):
        share[0, place] = 1.0
    made = graph.node("Div", [graph.node("Where", [lonely, graph.constant(share), votes]), safe])
    none = graph.node("Squeeze", [lonely, graph.constant([1])])
    index = graph.node("Where", [none, graph.constant(int(place[0])), first_highest(graph, votes)])
    return Classified(classes=classes, index=index, probabilities=made)


def _marks_outliers(estimator: Any, place: int) -> bool:
    """Tell whether outliers get a probability: by brute force only where the label is its own position."""
    quick = (
        hasattr(sys.modules[type(estimator).__module__], "RadiusNeighborsClassMode")
        and estimator._fit_method == "brute"
        and estimator.weights == "uniform"
        and not estimator.outputs_2d_
        and estimator.effective_metric_ not in ("cosine", "euclidean")
        and np.asarray(estimator._fit_X).dtype == np.float64
    )
    return not quick or estimator.outlier_label == place


def _radius_regressor(emitter: Emitter, estimator: Any, block: Block) -> Predicted:
    graph, values = emitter.graph, _values(emitter, estimator)
    if np.asarray(estimator._y).dtype.kind != "f":
        raise emitter.refuse(
            estimator, "its answers are integers, among which none stands for no neighbour"
        )
    weights = _around(emitter, estimator, block)
    total = graph.node("ReduceSum", [weights, graph.constant([1])])
    value = graph.node("Div", [graph.node("MatMul", [weights, graph.constant(values)]), total])
    return Predicted(value=value, columns=values.shape[1], flat=np.ndim(estimator._y) == 1)


def _local_outlier(emitter: Emitter, estimator: Any, block: Block) -> Outlying:
    """Emit LocalOutlierFactor: the density around a row beside that around its neighbours."""
    graph = emitter.graph
    if not estimator.novelty:
        raise emitter.refuse(estimator, "it can't predict", "fit it with novelty=True")
    count = int(estimator.n_neighbors_)
    density = np.asarray(estimator._lrd, dtype=np.float64)
    reach = np.asarray(estimator._distances_fit_X_, dtype=np.float64)[:, count - 1]
    answers = np.stack([density, reach], axis=1)
    near, places = nearest(emitter, estimator, block, count, answers)
    axis = graph.constant([1])
    reached = graph.node("Max", [near, graph.node("Gather", [graph.constant(reach), places])])
    thin = graph.node("Add", [graph.node("ReduceMean", [reached, axis]), graph.constant(1e-10)])
    densities = graph.node("Gather", [graph.constant(density), places])
    own = graph.node("Div", [graph.constant(1.0), thin])
    ratio = graph.node("ReduceMean", [graph.node("Div", [densities, own]), axis])
    scores = graph.node(
        "Sub", [graph.node("Neg", [ratio]), graph.constant(float(estimator.offset_))]
    )
    return Outlying(scores=scores, inlier=exceeds(graph, scores, 0.0, inclusive=True))


def _centroid(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    """Emit NearestCentroid; with `predict_proba` (since scikit-learn 1.6) by discriminant scores."""
    graph, centers = emitter.graph, np.asarray(estimator.centroids_, dtype=np.float64)
    power = _POWERS.get(estimator.metric)
    if power not in (1, 2):
        raise emitter.refuse(estimator, f"its metric '{estimator.metric}' is not on the list")
    space = _Space(points=centers, power=power, exact=True)
    x, classes = materialise(graph, block), estimator.classes_
    nearest = graph.node("ArgMin", [space.reduced(graph, x)], axis=1, keepdims=0)
    if not hasattr(estimator, "class_prior_"):
        return Classified(classes=classes, index=nearest)
    prior = np.asarray(estimator.class_prior_)
    deviation = np.asarray(estimator.within_class_std_dev_, dtype=np.float64)
    scale = np.where(deviation != 0, deviation, 1.0).reshape(1, -1)
    scaled = replace(space, points=centers / scale)
    distances = scaled.rooted(
        graph, scaled.reduced(graph, graph.node("Div", [x, graph.constant(scale)]))
    )
    powers = graph.node("Mul", [distances, distances])
    scores = graph.node("Sub", [graph.constant(2.0 * np.log(prior).reshape(1, -1)), powers])
    even = bool(np.isclose(prior, 1 / len(classes)).all())
    return Classified(
        classes=classes,
        index=nearest if even else first_highest(graph, scores),
        probabilities=softmax(graph, scores) if hasattr(estimator, "predict_proba") else None,
    )


_PLACE = "sklearn.neighbors."

TABLE: dict[str, Emit] = {
    _PLACE + "KNeighborsClassifier": _k_classifier,
    _PLACE + "KNeighborsRegressor": _k_regressor,
    _PLACE + "RadiusNeighborsClassifier": _radius_classifier,
    _PLACE + "RadiusNeighborsRegressor": _radius_regressor,
    _PLACE + "LocalOutlierFactor": _local_outlier,
    _PLACE + "NearestCentroid": _centroid,
}
