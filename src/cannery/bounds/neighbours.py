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


_NODE = np.dtype(
    [
        (name, "<i8")
        for name in ("column", "size", "split", "first", "last", "at", "by", "less", "more")
    ]
)
"""A node of scipy's tree in memory; `at` and `by` are addresses, which it makes anew."""
_DEEPEST = 2_000
"""Levels of a tree; compiled code calls itself for each."""


def points(thing: Thing) -> str | None:
    """Judge scipy's k-d tree, which comes as it lies in memory."""
    state = thing.state
    if not isinstance(state, Items) or len(state) != 10:
        raise BrokenThingError("has another state than such trees have")
    buffer, data, places = numbers(state[0], 1, "S"), numbers(state[1], 2, "f"), state[7]
    rows, columns = data.shape
    if (integer(state[2]), integer(state[3])) != data.shape:
        return "has other rows than it says"
    sides = [(state[5], columns), (state[6], columns)]
    sides += [] if state[9] is None else [(state[9], 2 * columns)]
    if any(numbers(side, 1, "f").shape != (size,) for side, size in sides):
        return "has bounds of other columns"
    if any(one.dtype.str != "<f8" for one in (data, *(side for side, _ in sides))):
        return "has numbers of another kind than such trees have"
    if numbers(places, 1, "i").dtype.str != "<i8" or places.shape != (rows,):
        return "names other rows than it has"
    if not within(places, 0, rows):
        return "names rows that it has not"
    if buffer.dtype.itemsize != 1 or not buffer.shape[0] or buffer.shape[0] % _NODE.itemsize:
        return "has nodes that scipy does not write"
    nodes = np.frombuffer(whole(buffer).tobytes(), _NODE)
    return _branches(nodes, rows, columns)


def _branches(nodes: Any, rows: int, columns: int) -> str | None:
    """Judge nodes, each of which is under one other, that stands in front of it."""
    astray = "has a node that leads out of it"
    leaf = nodes["column"] == -1
    if np.any(~leaf & ((nodes["column"] < 0) | (nodes["column"] >= columns))):
        return astray
    if np.any((nodes["first"] < 0) | (nodes["first"] > nodes["last"]) | (nodes["last"] > rows)):
        return astray
    inner = np.flatnonzero(~leaf)
    below = np.concatenate([nodes["less"][inner], nodes["more"][inner]])
    if np.any((below <= np.tile(inner, 2)) | (below >= len(nodes))):
        return astray
    if len(np.unique(below)) != len(below):
        return "has a node under two others"
    if int((nodes["last"] - nodes["first"])[leaf].sum()) > rows:
        return "has a row in several places"
    level = np.zeros(1, dtype=np.int64)
    for _ in range(_DEEPEST):
        level = level[~leaf[level]]
        if not len(level):
            return None
        level = np.concatenate([nodes["less"][level], nodes["more"][level]])
    return "is deeper than such trees are"


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
