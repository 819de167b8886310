"""LightGBM: doubles are compared as they are and summed in double.

Read from the text of the model, whose numbers have all their digits. How a split decides stands in
https://github.com/microsoft/LightGBM/blob/main/include/LightGBM/tree.h.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from cannery.conversions.onnx.answers import (
    both,
    exceeds,
    first_highest,
    last_below_half,
    logistic,
    mean,
    softmax,
)
from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.columns import Block, Column, join, materialise, of_wire
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.encoders import numbered
from cannery.conversions.onnx.forests import emit_trees
from cannery.conversions.onnx.layouts import Tree
from cannery.conversions.onnx.lines import Line, emit_lined
from cannery.conversions.onnx.maps import Drop, Fill, Table
from cannery.conversions.onnx.results import Classified, Predicted
from cannery.errors import ConversionError

NEAR_ZERO = float(np.float32(1e-35))
"""Numbers up to this size are zero."""
_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_ZERO, _NAN = 1, 2
_IDENTITY = (
    "none",  # a function of one's own, whose booster answers the sum
    *("regression", "regression_l1", "huber", "fair", "quantile", "mape"),
    *("lambdarank", "rank_xendcg"),
)
_LOG = ("poisson", "gamma", "tweedie")
_LOGIT = ("binary", "cross_entropy")
_CATEGORICAL_COLUMNS = re.compile(r"^\[categorical_feature: ([0-9,]+)\]$", re.MULTILINE)
_WHOLE_SPAN = re.compile(r"\[0:([0-9]+)\]")
_TRIED = 10_000
"""Ways in which lists of categories may belong to columns."""
_ASKED_OTHERWISE = (
    *("pred_early_stop", "predict_raw_score", "raw_score", "is_predict_raw_score", "pred_leaf"),
    *("predict_rawscore", "predict_leaf_index", "pred_contrib", "predict_contrib", "leaf_index"),
    *("start_iteration_predict", "num_iteration_predict", "predict_disable_shape_check"),
    *("is_predict_leaf_index", "is_predict_contrib", "contrib"),
)
"""Parameters that change what `predict` answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How each node of a tree decides, beside its threshold."""

    zero_missing: NDArray[np.bool_]
    sets: dict[int, tuple[int, ...]]
    """Of the nodes that ask for categories: those which go left."""
    lines: dict[int, Line]
    """Of the leaves that hold one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Booster:
    """What a fitted booster adds up, in its order."""

    objective: str
    options: dict[str, str]
    """What follows the objective: `{"sigmoid": "1"}`."""
    average: int
    """By how many iterations the sum is divided."""
    targets: int
    trees: tuple[tuple[Tree, Split], ...]


def booster_of(estimator: Any) -> Booster:
    """Read a fitted estimator of LightGBM; raises ConversionError for what is not known."""
    if callable(estimator.objective):
        raise ConversionError("its objective is a function of its own", hint="--runtime skops")
    changed = [name for name in _ASKED_OTHERWISE if estimator.get_params().get(name)]
    if changed:
        raise ConversionError(f"its parameter '{changed[0]}' changes what it answers")
    text = estimator.booster_.model_to_string()
    head, *blocks = text.partition("\nend of trees")[0].split("\nTree=")
    about = _fields(head)
    objective, *options = about.get("objective", "none").split()
    targets = int(about["num_tree_per_iteration"])
    trees = tuple(_tree(_fields(block), i % targets, targets) for i, block in enumerate(blocks))
    return Booster(
        objective=objective,
        options={name: value for name, _, value in (o.partition(":") for o in options)},
        average=max(1, len(trees) // targets) if "average_output" in about else 1,
        targets=targets,
        trees=trees,
    )


def frame_categories(estimator: Any) -> dict[int, tuple[Any, ...]]:
    """Return the categories of each column that was one of pandas' dtype `category`, by its place.

    Raises ConversionError where it can't be told which columns these were.
    """
    booster = estimator.booster_
    lists = booster.pandas_categorical or ()
    if not lists:
        return {}
    text = booster.model_to_string(num_iteration=1)
    found = _CATEGORICAL_COLUMNS.search(text)
    places = [int(place) for place in found[1].split(",")] if found else []
    if len(places) != len(lists):
        places = _with_ordered(places, lists, _fields(text)["feature_infos"].split())
    return {place: tuple(values) for place, values in zip(places, lists, strict=True)}


def _with_ordered(places: list[int], lists: Sequence[Any], infos: list[str]) -> list[int]:
    """Return the places of all columns of a frame that have categories, also of those in an order.

    The latter are numbers to LightGBM, and it notes their lists alone: they must fit one way only.
    """
    ends = {i: _WHOLE_SPAN.fullmatch(info) for i, info in enumerate(infos) if i not in places}
    spans = {i: int(end[1]) for i, end in ends.items() if end is not None}
    codes = spans | {i: max(map(int, infos[i].split(":"))) for i in places if ":" in infos[i]}
    fitting = []
    ways = combinations(spans, max(0, len(lists) - len(places)))
    known = list(islice(ways, _TRIED + 1))
    for more in known if len(known) <= _TRIED else ():
        every = sorted({*places, *more})
        pairs = zip(every, lists, strict=False)
        if len(every) == len(lists) and all(codes.get(i, 0) < len(v) for i, v in pairs):
            fitting.append(every)
    if len(fitting) != 1:
        raise ConversionError("it can't be told which of its columns have which categories")
    return fitting[0]


def numeric_splits(estimator: Any) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Yield the columns and thresholds of each tree, without splits of columns that have categories."""
    named = list(frame_categories(estimator))
    for tree, split in booster_of(estimator).trees:
        inner = (tree.left >= 0) & ~np.isin(tree.feature, named)
        inner[list(split.sets)] = False
        yield tree.feature[inner], tree.threshold[inner]


def _fields(block: str) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition("=") for line in block.split("\n"))}


def _tree(fields: dict[str, str], target: int, targets: int) -> tuple[Tree, Split]:
    def numbers(name: str, kind: Any) -> NDArray[Any]:
        return np.array(fields.get(name, "").split(), dtype=kind)

    weights = numbers("leaf_value", np.float64)
    decision, split = numbers("decision_type", np.int64), numbers("split_feature", np.int64)
    threshold = numbers("threshold", np.float64)
    inner, leaves = len(split), np.full(len(weights), -1)

    def children(name: str) -> NDArray[np.int64]:
        child = numbers(name, np.int64)
        return np.concatenate([np.where(child < 0, inner + ~child, child), leaves])

    values = np.zeros((inner + len(weights), targets))
    values[inner:, target] = weights
    categorical, missing = (decision & _CATEGORICAL) > 0, decision >> 2 & 3
    by_default = (decision & _DEFAULT_LEFT) > 0
    tree = Tree(
        feature=_padded(split, len(weights)),
        threshold=_padded(_past_zero(threshold), len(weights)),
        left=children("left_child"),
        right=children("right_child"),
        missing_left=_padded(
            np.where(missing == 0, threshold >= 0, by_default) & ~categorical, len(weights)
        ),
        values=values,
    )
    bounds, words = numbers("cat_boundaries", np.int64), numbers("cat_threshold", np.uint32)
    sets = {
        int(node): _bits(words[bounds[int(threshold[node])] : bounds[int(threshold[node]) + 1]])
        for node in np.flatnonzero(categorical)
    }
    zero = _padded((missing == _ZERO) & ~categorical, len(weights))
    return tree, Split(zero_missing=zero, sets=sets, lines=dict(_lines(fields, inner)))


def _lines(fields: dict[str, str], first: int) -> Iterator[tuple[int, Line]]:
    """Yield the lines of the leaves, which stand from node `first` on; none where leaves are numbers."""
    if not int(fields.get("is_linear", 0)):
        return
    columns, slopes = iter(fields["leaf_features"].split()), iter(fields["leaf_coeff"].split())
    starts, counts = fields["leaf_const"].split(), fields["num_features"].split()
    for leaf, (start, count) in enumerate(zip(starts, counts, strict=True)):
        own = {int(next(columns)): float(next(slopes)) for _ in range(int(count))}
        yield first + leaf, Line(float(start), own)


def _padded(values: NDArray[Any], count: int) -> NDArray[Any]:
    return np.concatenate([values, np.zeros(count, values.dtype)])


def _past_zero(threshold: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return thresholds that decide as if numbers near zero were zero."""
    near = np.abs(threshold) <= NEAR_ZERO
    below = np.nextafter(-NEAR_ZERO, -np.inf)
    return np.where(near, np.where(threshold >= 0, NEAR_ZERO, below), threshold)


def _bits(words: NDArray[np.uint32]) -> tuple[int, ...]:
    """Return the numbers of the bits that are set."""
    return tuple(32 * i + b for i, w in enumerate(words) for b in range(32) if int(w) >> b & 1)


def _raw(emitter: Emitter, estimator: Any, booster: Booster, block: Block) -> str:
    """Return the sums, double [N, targets]."""
    graph, extra = emitter.graph, dict[Column, int]()
    coded = {
        place: numbered(graph, block.columns[place], categories)
        for place, categories in frame_categories(estimator).items()
    }
    block = Block(tuple(coded.get(i, c) for i, c in enumerate(block.columns))).numeric()
    whole = dict(coded)
    trees = []
    for tree, split in booster.trees:
        feature, threshold = tree.feature.copy(), tree.threshold.copy()
        for node in np.flatnonzero(split.zero_missing).tolist():
            column = block.columns[feature[node]].then(Drop(-NEAR_ZERO, NEAR_ZERO))
            feature[node] = len(block) + extra.setdefault(column, len(extra))
        for node, members in split.sets.items():
            index = int(feature[node])
            if index not in whole:
                whole[index] = _whole(graph, block.columns[index])
            keys = tuple(float(m) for m in members)
            column = whole[index].then(Table(keys, (0.0,) * len(keys), 1.0))
            feature[node] = len(block) + extra.setdefault(column, len(extra))
            threshold[node] = 0.5
        trees.append(replace(tree, feature=feature, threshold=threshold))
    wide, lines = join([block, Block(tuple(extra))]), [split.lines for _, split in booster.trees]
    if any(lines):
        places = (i % booster.targets for i in range(len(trees)))
        total = emit_lined(graph, wide, list(zip(trees, places, lines, strict=False)))
    else:
        total = emit_trees(graph, wide, trees, single=False, refuses_missing=False)
    return mean(graph, total, booster.average)


def _whole(graph: Graph, column: Column) -> Column:
    """Return a column cut to its whole part, as C does; NaN becomes -1, which is no category."""
    filled = materialise(graph, Block((column.then(Fill(-1.0)),)))
    cut = graph.node("Cast", [filled], to=TensorProto.INT64)
    return of_wire(graph, graph.node("Cast", [cut], to=TensorProto.DOUBLE), 1).columns[0]


def _classifier(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    booster, graph = booster_of(estimator), emitter.graph
    classes, factor = np.asarray(estimator.classes_), float(booster.options.get("sigmoid", 1.0))
    if booster.objective in _LOGIT and len(classes) == 2:
        if booster.objective == "cross_entropy":
            factor = 1.0
        raw = _raw(emitter, estimator, booster, block)
        limit = last_below_half(_logistic(factor), np.float64)
        return Classified(
            classes=classes,
            index=exceeds(graph, raw, limit),
            probabilities=both(graph, raw, factor),
            scores=raw if booster.average == 1 else None,
        )
    if booster.targets != len(classes) or booster.objective not in ("multiclass", "multiclassova"):
        raise emitter.refuse(
            estimator, f"it answers {len(classes)} classes by '{booster.objective}'"
        )
    raw = _raw(emitter, estimator, booster, block)
    if booster.objective == "multiclass":
        probabilities = softmax(graph, raw)
    else:
        probabilities = logistic(graph, graph.node("Mul", [raw, graph.constant(factor)]))
    return Classified(
        classes=classes,
        index=first_highest(graph, probabilities),
        probabilities=probabilities,
        scores=raw if booster.average == 1 else None,
    )


def _logistic(factor: float) -> Callable[[Any], Any]:
    return lambda score: 1.0 / (1.0 + np.exp(-factor * score))


def _regressor(emitter: Emitter, estimator: Any, block: Block) -> Predicted:
    booster, graph = booster_of(estimator), emitter.graph
    raw = _raw(emitter, estimator, booster, block)
    if booster.objective in _LOG:
        return Predicted(value=graph.node("Exp", [raw]))
    if booster.objective in _LOGIT:
        factor = float(booster.options.get("sigmoid", 1.0))
        return Predicted(value=logistic(graph, graph.node("Mul", [raw, graph.constant(factor)])))
    if booster.objective == "cross_entropy_lambda":
        grown = graph.node("Add", [graph.node("Exp", [raw]), graph.constant(1.0)])
        return Predicted(value=graph.node("Log", [grown]))
    if booster.objective not in _IDENTITY:
        raise emitter.refuse(estimator, f"its objective '{booster.objective}' is not known")
    if "sqrt" in booster.options:
        raw = graph.node("Mul", [raw, graph.node("Abs", [raw])])
    return Predicted(value=raw)


def _booster(emitter: Emitter, estimator: Any, block: Block) -> Classified | Predicted:
    """Emit a booster that stands without an estimator."""
    emit = _classifier if hasattr(estimator, "classes_") else _regressor
    return emit(emitter, estimator, block)


TABLE: dict[str, Emit] = {
    "cannery.serving.boosters.LightgbmBooster": _booster,
    "lightgbm.sklearn.LGBMClassifier": _classifier,
    "lightgbm.sklearn.LGBMRanker": _regressor,
    "lightgbm.sklearn.LGBMRegressor": _regressor,
}
