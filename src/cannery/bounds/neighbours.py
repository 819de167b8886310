"""Trees of neighbours, their metrics, and the estimators that look neighbours up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cannery.bounds.things import (
    BrokenThingError,
    Items,
    Numbers,
    Objects,
    Thing,
    attributes,
    integer,
    numbers,
    whole,
    width,
    within,
)

_FIELDS = ("idx_start", "idx_end", "is_leaf", "radius")


def index(thing: Thing) -> str | None:
    """Judge a k-d tree or a ball tree."""
    state = thing.state
    if not isinstance(state, Items) or len(state) not in (12, 13):
        raise BrokenThingError("has another state than such trees have")
    data, places = numbers(state[0], 2, "f"), numbers(state[1], 1)
    nodes, bounds = numbers(state[2], 1, "V"), numbers(state[3], 3, "f")
    rows, columns = data.shape
    count, sides = integer(state[6]), 2 if "KDTree" in thing.name else 1
    if not rows or places.shape != (rows,) or not within(places, 0, rows):
        return "names rows that it has not"
    if not 0 < count == nodes.shape[0] or bounds.shape != (sides, count, columns):
        return "has another number of nodes than it says"
    if nodes.dtype.names != _FIELDS:
        return "has nodes that scikit-learn does not write"
    if problem := _nodes(whole(nodes), rows, count):
        return problem
    weights = state[12] if len(state) > 12 else None
    if weights is not None and numbers(weights, 1, "f").shape != (rows,):
        return "has weights for other rows"
    return _metric(state[11], columns)


def _nodes(nodes: Any, rows: int, count: int) -> str | None:
    first, last = nodes["idx_start"], nodes["idx_end"]
    inner = np.flatnonzero(nodes["is_leaf"] == 0)
    if np.any((first < 0) | (first > last) | (last > rows)) or np.any(2 * inner + 2 >= count):
        return "has a node that leads out of it"
    return None


def _metric(metric: Any, columns: int) -> str | None:
    """Judge the metric of a tree, which reads as many numbers as a row has."""
    if not isinstance(metric, Thing) or not metric.name.startswith(
        "sklearn.metrics._dist_metrics."
    ):
        return "has a metric that is none"
    kind = metric.name.rpartition(".")[2]
    if kind.startswith("Haversine") and columns != 2:
        return "measures on a globe, and has no two columns"
    state = metric.state
    if not isinstance(state, Items) or len(state) < 3:
        return "has a metric that is none"
    vector, matrix = numbers(state[1], 1, "f"), numbers(state[2], 2, "f")
    if kind.startswith("Mahalanobis") and matrix.shape != (columns, columns):
        return "has a metric for other columns"
    if kind.startswith("SEuclidean") and vector.shape != (columns,):
        return "has a metric for other columns"
    # One number stands for none where the metric has no weights.
    if kind.startswith(("Minkowski", "WMinkowski")) and vector.shape[0] not in (0, 1, columns):
        return "has a metric for other columns"
    return None


def estimator(thing: Thing) -> str | None:
    """Judge an estimator that keeps the rows among which it looks."""
    state = attributes(thing)
    rows = _shape(state.get("_fit_X"))
    if rows is None:
        return None
    if state.get("metric") != "precomputed" and rows[1] != width(thing):
        return "keeps rows of other columns than it takes"
    if integer(state.get("n_samples_fit_", rows[0])) != rows[0]:
        return "keeps another number of rows than it says"
    tree = state.get("_tree")
    if isinstance(tree, Thing) and _rows_of(tree) != rows[0]:
        return "has a tree of other rows than it keeps"
    return _labels(state, rows[0])


def _shape(rows: Any) -> tuple[int, ...] | None:
    if isinstance(rows, Numbers) and len(rows.shape) == 2:
        return rows.shape
    if isinstance(rows, Thing):
        shape = attributes(rows).get("_shape")
        if isinstance(shape, Items) and len(shape) == 2:
            return integer(shape[0]), integer(shape[1])
    if rows is None:
        return None
    raise BrokenThingError("keeps rows that are no table")


def _rows_of(tree: Thing) -> int:
    return numbers(tree.state[0], 2, "f").shape[0] if isinstance(tree.state, Items) else -1


def _labels(state: Mapping[str, Any], rows: int) -> str | None:
    """Judge the labels of a classifier's rows, each a place in a list of classes."""
    labels, classes = state.get("_y"), state.get("classes_")
    if classes is None or labels is None:
        return None
    if not isinstance(labels, Numbers) or not labels.shape or labels.shape[0] != rows:
        return "has labels for other rows"
    if isinstance(classes, Numbers | Objects):
        fewest = classes.shape[0]
    else:
        fewest = min((one.shape[0] for one in classes), default=0)
    # With several outputs each is looked up in Python, which checks.
    if len(labels.shape) == 1 and not within(labels, 0, fewest):
        return "has a label that is no class"
    return None
