"""XGBoost: float32 is compared, and float32 is summed, tree after tree.

Read from the JSON model (https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html).
"""

from __future__ import annotations

import ctypes
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from cannery.conversions.onnx.answers import (
    both,
    column,
    exceeds,
    first_highest,
    last_below_half,
    told_apart,
)
from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.columns import Block, materialise
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.encoders import numbered
from cannery.conversions.onnx.forests import emit_single_trees
from cannery.conversions.onnx.layouts import Tree
from cannery.conversions.onnx.maps import Drop
from cannery.conversions.onnx.results import Classified, Predicted, Result, Several
from cannery.errors import ConversionError
from cannery.serving.boosters import XgboostBooster

Singles = NDArray[np.float32]

_LOGIT = ("binary:logistic", "reg:logistic")
_LOG = ("count:poisson", "reg:gamma", "reg:tweedie", "survival:aft", "survival:cox")
_IDENTITY = (
    *("reg:absoluteerror", "reg:linear", "reg:pseudohubererror", "reg:quantileerror"),
    *("reg:squarederror", "reg:squaredlogerror"),
    *("rank:map", "rank:ndcg", "rank:pairwise"),
    *("binary:hinge", "binary:logitraw"),
)
_MULTI = ("multi:softmax", "multi:softprob")
_MOST_WEIGHTS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Booster:
    """What a fitted booster adds up, in its order."""

    objective: str
    trees: tuple[Tree, ...]
    """The start value stands in the leaves of each target's first tree."""
    targets: int
    weights: Singles | None = None
    """[columns + 1, targets] of a linear booster, the last row added first; with `start` then."""
    start: Singles


def booster_of(estimator: Any) -> Booster:
    """Read a fitted estimator of XGBoost; raises ConversionError for what is not known."""
    if callable(estimator.objective):
        raise ConversionError("its objective is a function of its own", hint="--runtime skops")
    try:
        learner = json.loads(bytes(estimator.get_booster().save_raw(raw_format="json")))["learner"]
        return _read(learner, stops=getattr(estimator, "stops", True))
    except (KeyError, TypeError) as error:
        raise ConversionError(
            f"this version of XGBoost keeps its model in another form ({error})",
            hint="fit it with XGBoost 1.6 or newer",
        ) from error


def numeric_splits(estimator: Any) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Yield the columns and thresholds of each tree: float32(x) <= threshold goes left."""
    for tree in booster_of(estimator).trees:
        inner = tree.left >= 0
        inner[list(tree.members)] = False
        yield tree.feature[inner], tree.threshold[inner]


def _read(learner: dict[str, Any], *, stops: bool) -> Booster:
    """Read a booster; `stops`: rounds after the best are left out."""
    gradient, objective = learner["gradient_booster"], str(learner["objective"]["name"])
    if objective not in (*_LOGIT, *_LOG, *_IDENTITY, *_MULTI):
        raise ConversionError(f"its objective '{objective}' is not known")
    parameters = learner["learner_model_param"]
    targets = max(1, int(parameters["num_class"]), int(parameters.get("num_target", 1)))
    sums = _start(objective, parameters["base_score"], targets)
    if gradient["name"] == "gblinear":
        weights = np.array(gradient["model"]["weights"], np.float32).reshape(-1, targets)
        return Booster(objective=objective, trees=(), targets=targets, weights=weights, start=sums)
    trees = tuple(_added(learner, sums, stops=stops))
    return Booster(objective=objective, trees=trees, targets=targets, start=sums)


def _added(learner: dict[str, Any], sums: Singles, *, stops: bool) -> Iterator[Tree]:
    """Yield the trees, each target's start value in the leaves of its first."""
    gradient, targets = learner["gradient_booster"], len(sums)
    model = gradient["gbtree"]["model"] if gradient["name"] == "dart" else gradient["model"]
    count = _kept(model, learner.get("attributes", {}) if stops else {}, targets)
    weights = gradient.get("weight_drop")
    started: set[int] = set()
    for index, given in enumerate(model["trees"][:count]):
        leaves, answered = _leaves(given, int(model["tree_info"][index]), targets)
        if weights is not None:  # each tree of dart is asked alone, from the start value
            leaves = np.float32(weights[index]) * (leaves + sums - sums)
        new = [target for target in answered if target not in started]
        leaves[:, new] = sums[new] + leaves[:, new]
        started.update(new)
        kept = np.isin(np.arange(targets), answered)
        yield _tree(given, np.where(kept, leaves, np.float32(0)))
    for target in sorted(set(range(targets)) - started):
        yield _stump(sums, target)


def _leaves(given: dict[str, Any], target: int, targets: int) -> tuple[Singles, list[int]]:
    """Return what each node adds to each target, [nodes, targets], and the targets that the tree answers."""
    count = len(given["left_children"])
    if int(given["tree_param"].get("size_leaf_vector", 1)) <= 1:
        alone = np.zeros((count, targets), np.float32)
        alone[:, target] = np.array(given["split_conditions"], np.float32)
        return alone, [target]
    every = list(range(targets))
    if "leaf_weights" not in given:  # before 3.1
        return np.array(given["base_weights"], np.float32).reshape(count, targets), every
    values = np.array(given["leaf_weights"], np.float32).reshape(-1, targets)
    leaf = np.array(given["left_children"]) < 0
    return values[np.where(leaf, given["right_children"], 0)], every


def _kept(model: dict[str, Any], attributes: dict[str, Any], targets: int) -> int:
    """Return how many trees answer: those up to the best iteration where fitting stopped early."""
    count = len(model["trees"])
    if "best_iteration" not in attributes:
        return count
    rounds = int(attributes["best_iteration"]) + 1
    if "iteration_indptr" in model:
        return int(model["iteration_indptr"][min(rounds, len(model["iteration_indptr"]) - 1)])
    parallel = int(model["gbtree_model_param"].get("num_parallel_tree", 1))
    return min(count, rounds * targets * max(1, parallel))


def _start(objective: str, given: str, targets: int) -> Singles:
    """Return the margin of each target before the first tree."""
    score = np.atleast_1d(np.array(json.loads(given), dtype=np.float32))
    one = np.float32(1.0)
    with np.errstate(all="ignore"):
        if objective in _LOGIT:
            score = -_log(one / score - one)
        if objective in _LOG:
            score = _log(score)
    return np.broadcast_to(score, targets)


def _log(values: Singles) -> Singles:
    """Return logarithms as the C library rounds them, where there is one: XGBoost calls that very function."""
    try:
        function = ctypes.CDLL("libm.so.6").logf
    except OSError:
        return np.log(values.astype(np.float64)).astype(np.float32)
    function.argtypes, function.restype = [ctypes.c_float], ctypes.c_float
    return np.array([function(value) for value in values.tolist()], np.float32)


def _tree(given: dict[str, Any], leaves: Singles) -> Tree:
    """Return a tree whose splits `x < t` are `x <= ` the float before t."""
    left = np.array(given["left_children"], dtype=np.int64)
    right = np.where(left < 0, -1, np.array(given["right_children"], dtype=np.int64))
    limits = np.array(given["split_conditions"], dtype=np.float32)
    first = np.array(given["default_left"], dtype=bool)
    members = _members(given)
    swapped = np.isin(np.arange(len(left)), list(members))  # the members of its sets go right
    return Tree(
        feature=np.where(left < 0, 0, np.array(given["split_indices"], dtype=np.int64)),
        threshold=np.nextafter(limits, np.float32(-np.inf)).astype(np.float64),
        left=np.where(swapped, right, left),
        right=np.where(swapped, left, right),
        missing_left=first ^ swapped,
        values=leaves.astype(np.float64),
        members=members,
    )


def _members(given: dict[str, Any]) -> dict[int, tuple[float, ...]]:
    """Return the numbers of the categories for which each node asks."""
    if not any(given.get("split_type", ())):
        return {}
    return {
        node: tuple(float(c) for c in sorted(given["categories"][start : start + size]))
        for node, start, size in zip(
            given["categories_nodes"],
            given["categories_segments"],
            given["categories_sizes"],
            strict=True,
        )
    }


def frame_categories(estimator: Any) -> dict[int, tuple[Any, ...]]:
    """Return the categories of each column that was one of pandas' dtype `category`, by its place.

    Raises ConversionError where the booster has forgotten them.
    """
    booster = estimator.get_booster()
    kinds = booster.feature_types or ()
    places = [place for place, kind in enumerate(kinds) if kind == "c"]
    if not places:
        return {}
    learner = json.loads(bytes(booster.save_raw(raw_format="json")))["learner"]
    gradient = learner["gradient_booster"]
    encodings = gradient.get("gbtree", gradient).get("model", {}).get("cats", {}).get("enc", ())
    if len(encodings) != len(kinds):
        raise ConversionError(
            "it does not know the categories of its columns, as XGBoost before 3.1",
            hint="fit it with a newer XGBoost, or encode them in the pipeline",
        )
    return {place: _listed(encodings[place]) for place in places}


def _listed(encoding: dict[str, Any]) -> tuple[Any, ...]:
    """Return the categories of a column: texts one after the other, or numbers."""
    values = encoding["values"]
    if "offsets" not in encoding:
        return tuple(values)
    ends, data = encoding["offsets"], bytes(v & 0xFF for v in values)
    return tuple(data[a:b].decode() for a, b in itertools.pairwise(ends))


def _stump(sums: Singles, target: int) -> Tree:
    none, values = np.array([-1]), np.zeros((1, len(sums)))
    values[0, target] = sums[target]
    return Tree(
        feature=np.zeros(1, np.int64),
        threshold=np.zeros(1),
        left=none,
        right=none,
        missing_left=np.zeros(1, bool),
        values=values,
    )


def _margins(emitter: Emitter, estimator: Any, booster: Booster, block: Block) -> str:
    """Return the margins, float [N, targets]."""
    coded = {
        place: numbered(emitter.graph, block.columns[place], categories)
        for place, categories in frame_categories(estimator).items()
    }
    block = Block(tuple(coded.get(i, c) for i, c in enumerate(block.columns)), block.sparse)
    block = _missing(estimator, block)
    if booster.weights is None:
        return emit_single_trees(emitter.graph, block, booster.trees)
    return _line(emitter.graph, booster.weights, booster.start, block)


def _line(graph: Graph, weights: Singles, start: Singles, block: Block) -> str:
    """Return bias + start + the weighted columns, added one after the other; a missing one adds nothing."""
    if len(weights) > _MOST_WEIGHTS:
        raise ConversionError(f"its sum over {len(weights) - 1} columns can't be kept in order")
    if len(weights) != len(block) + 1:
        raise ConversionError(f"it has {len(weights) - 1} weights, for {len(block)} columns")
    wire = materialise(graph, block)
    zero = graph.constant(0.0)
    filled = graph.node("Where", [graph.node("IsNaN", [wire]), zero, wire])
    values, total = _singles(graph, filled), graph.constant((weights[-1] + start[0])[None, :])
    for index, weight in enumerate(weights[:-1]):
        part = graph.node("Mul", [column(graph, values, index), graph.constant(weight[None, :])])
        total = graph.node("Add", [total, part])
    return total


def _missing(estimator: Any, block: Block) -> Block:
    """Return the columns with NaN where XGBoost takes a number for missing.

    That is the parameter `missing`, compared in float32; and zero in a sparse matrix, which
    doesn't hold it.
    """
    gone = []
    value = np.float32(np.nan if estimator.missing is None else estimator.missing)
    if np.isinf(value):
        raise ConversionError(f"it takes {value} for missing", hint="leave 'missing' out")
    if block.sparse:
        gone.append(Drop(0.0, 0.0))
    if not np.isnan(value):
        gone.append(Drop(*_rounded_to(value)))
    columns = block.numeric().columns
    return Block(tuple(c.then(*gone) for c in columns)) if gone else block


def _rounded_to(value: np.float32) -> tuple[float, float]:
    """Return the least and the greatest double that becomes this float32."""
    ends = []
    for side in (np.float32(-np.inf), np.float32(np.inf)):
        middle = (float(value) + float(np.nextafter(value, side))) / 2
        inside = np.float32(middle) == value
        ends.append(middle if inside else float(np.nextafter(middle, float(value))))
    return ends[0], ends[1]


def _classifier(emitter: Emitter, estimator: Any, block: Block) -> Classified | Several:
    booster, classes = booster_of(estimator), np.asarray(estimator.classes_)
    graph, two = emitter.graph, len(classes) == 2
    if booster.objective == "binary:hinge" and booster.targets == 1 and two:
        index = exceeds(graph, _doubles(graph, _margins(emitter, estimator, booster, block)), 0.0)
        shares = graph.node("Gather", [graph.constant(np.eye(2)), index])
        return Classified(classes=classes, index=index, probabilities=shares)
    if booster.objective in _LOGIT and booster.targets == 1 and two:
        scores = _doubles(graph, _margins(emitter, estimator, booster, block))
        limit = last_below_half(_logistic, np.float32)
        return Classified(
            classes=classes,
            index=exceeds(graph, scores, limit),
            probabilities=_pair(graph, scores) if emitter.to_the_bit else both(graph, scores),
        )
    if booster.objective in _LOGIT and booster.targets > 1:
        scores = _doubles(graph, _margins(emitter, estimator, booster, block))
        return told_apart(graph, scores, booster.targets, last_below_half(_logistic, np.float32))
    alone = isinstance(estimator, XgboostBooster)  # an estimator of two classes answers two labels
    if booster.objective not in _MULTI or booster.targets != len(classes) or (two and not alone):
        raise emitter.refuse(
            estimator, f"it answers {len(classes)} classes by '{booster.objective}'"
        )
    margins = _margins(emitter, estimator, booster, block)
    shares = _softmax(graph, margins)
    highest = shares if booster.objective == "multi:softprob" else margins
    return Classified(
        classes=classes,
        index=first_highest(graph, highest),
        probabilities=_doubles(graph, shares),
    )


def _pair(graph: Graph, scores: str) -> str:
    """Return [N, 2], double: both probabilities with each step rounded as XGBoost and its estimator do."""
    one = graph.constant(np.float32(1.0))
    grown = _singles(graph, graph.node("Exp", [graph.node("Neg", [scores])]))
    positive = graph.node("Div", [one, graph.node("Add", [one, grown])])
    negative = graph.node("Sub", [one, positive])
    return _doubles(graph, graph.node("Concat", [negative, positive], axis=1))


def _logistic(score: np.float32) -> np.float32:
    grown = np.float32(np.exp(-np.float64(score)))
    return np.float32(1.0) / (np.float32(1.0) + grown)


def _softmax(graph: Graph, margins: str) -> str:
    """Return the shares as XGBoost rounds them, so that equal shares are equal: float [N, targets]."""
    axis = graph.constant([1])
    below = graph.node("Sub", [margins, graph.node("ReduceMax", [margins, axis])])
    grown = _singles(graph, graph.node("Exp", [_doubles(graph, below)]))
    total = graph.node("ReduceSum", [_doubles(graph, grown), axis])
    return graph.node("Div", [grown, _singles(graph, total)])


def _doubles(graph: Graph, wire: str) -> str:
    return graph.node("Cast", [wire], to=TensorProto.DOUBLE)


def _singles(graph: Graph, wire: str) -> str:
    return graph.node("Cast", [wire], to=TensorProto.FLOAT)


def _regressor(emitter: Emitter, estimator: Any, block: Block) -> Predicted:
    booster, graph = booster_of(estimator), emitter.graph
    if booster.objective in _MULTI:
        raise emitter.refuse(estimator, f"its objective '{booster.objective}' is a classifier's")
    value = _doubles(graph, _margins(emitter, estimator, booster, block))
    if booster.objective == "binary:hinge":
        above = graph.node("Greater", [value, graph.constant(0.0)])
        value = graph.node("Cast", [above], to=TensorProto.DOUBLE)
    if booster.objective in _LOGIT:
        value = graph.node("Sigmoid", [value])
    if booster.objective in _LOG:
        value = _doubles(graph, _singles(graph, graph.node("Exp", [value])))
    return Predicted(value=value, columns=booster.targets, flat=booster.targets == 1)


def _booster(emitter: Emitter, estimator: Any, block: Block) -> Result:
    """Emit a booster that stands without an estimator."""
    emit = _classifier if hasattr(estimator, "classes_") else _regressor
    return emit(emitter, estimator, block)


TABLE: dict[str, Emit] = {
    "cannery.serving.boosters.XgboostBooster": _booster,
    "xgboost.sklearn.XGBClassifier": _classifier,
    "xgboost.sklearn.XGBRFClassifier": _classifier,
    "xgboost.sklearn.XGBRFRegressor": _regressor,
    "xgboost.sklearn.XGBRanker": _regressor,
    "xgboost.sklearn.XGBRegressor": _regressor,
}
