"""CatBoost: float32 is compared with borders, and doubles are summed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cannery.conversions.onnx.answers import (
    both,
    column,
    concat,
    exceeds,
    first_highest,
    logistic,
    softmax,
    told_apart,
)
from cannery.conversions.onnx.cbm import Model, read
from cannery.conversions.onnx.columns import Block
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.forests import emit_trees
from cannery.conversions.onnx.layouts import Tree
from cannery.conversions.onnx.results import Classified, Predicted, Several
from cannery.errors import ConversionError

_BINARY = frozenset({"Logloss", "CrossEntropy", "Focal"})
Ints = NDArray[np.int64]


def model_of(estimator: Any) -> Model:
    """Read a fitted estimator of CatBoost; raises ConversionError for what is not known."""
    if not estimator.is_fitted():
        raise ConversionError("it is not fitted", hint="fit it first")
    model = read(bytes(estimator._serialize_model()))
    if model.categorical:
        raise ConversionError(
            "it takes categories, texts or embeddings, which it encodes itself",
            hint="its own file serves it; for a graph encode them before it (TargetEncoder, OneHotEncoder)",
        )
    return model


def numeric_splits(estimator: Any) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Yield the columns and thresholds of each tree: float32(x) <= threshold goes left."""
    for tree in _trees(model_of(estimator)):
        inner = tree.left >= 0
        yield tree.feature[inner], tree.threshold[inner]


def _trees(model: Model) -> Iterator[Tree]:
    counts = [len(f.borders) for f in model.features]
    # Behind the last border stands one that leaves name, lest they name none.
    columns = np.array([*np.repeat([f.index for f in model.features], counts), 0], dtype=np.int64)
    borders = np.concatenate([*(f.borders for f in model.features), [0]]).astype(np.float64)
    right = np.array([*np.repeat([f.missing_right for f in model.features], counts), False], bool)
    taken = 0
    for start, size in zip(model.tree_starts.tolist(), model.tree_sizes.tolist(), strict=True):
        splits = model.tree_splits[start : start + size]
        if len(model.steps):
            steps, leaf_of = model.steps[start : start + size], model.leaf_of[start : start + size]
            shape = _stepwise(splits, steps.astype(np.int64), leaf_of.astype(np.int64))
        else:
            shape = _symmetric(splits, taken, model.targets)
            taken += model.targets << size
        split, left, after, leaf = shape
        split = np.where(left < 0, len(columns) - 1, split)
        values = model.leaf_values[np.where(left < 0, leaf, 0)[:, None] + np.arange(model.targets)]
        yield Tree(
            feature=columns[split],
            threshold=borders[split],
            left=left,
            right=after,
            missing_left=~right[split],
            values=values,
        )


_Shape = tuple[Ints, Ints, Ints, Ints]
"""Of each node: its split, its children (-1 in a leaf), and where the values of a leaf begin."""


def _symmetric(splits: NDArray[np.int32], first: int, targets: int) -> _Shape:
    """Return a tree that asks one question at each depth; the first decides the last bit of the leaf."""
    depth = len(splits)
    inner, leaves = (1 << depth) - 1, 1 << depth
    nodes = np.arange(inner)
    none, zeros = np.full(leaves, -1), np.zeros(leaves, np.int64)
    return (
        np.concatenate([np.repeat(splits[::-1].astype(np.int64), 1 << np.arange(depth)), zeros]),
        np.concatenate([2 * nodes + 1, none]),
        np.concatenate([2 * nodes + 2, none]),
        np.concatenate([np.zeros(inner, np.int64), first + targets * np.arange(leaves)]),
    )


def _stepwise(splits: NDArray[np.int32], steps: Ints, leaf_of: Ints) -> _Shape:
    """Return a tree of any form; where a step leads nowhere, the node itself is the leaf."""
    nodes = np.arange(len(splits))
    half = nodes[(steps == 0).sum(axis=1) == 1]
    extra = len(splits) + np.arange(len(half))
    children = np.where(steps > 0, nodes[:, None] + steps, -1)
    children[half] = np.where(children[half] < 0, extra[:, None], children[half])
    none, zeros = np.full(len(half), -1), np.zeros(len(half), np.int64)
    return (
        np.concatenate([splits.astype(np.int64), zeros]),
        np.concatenate([children[:, 0], none]),
        np.concatenate([children[:, 1], none]),
        np.concatenate([leaf_of, leaf_of[half]]),
    )


def _sums(emitter: Emitter, model: Model, block: Block) -> str:
    """Return what the trees add up to, double [N, targets]."""
    graph, trees = emitter.graph, list(_trees(model))
    known = max((f.index for f in model.features), default=-1) + 1
    if not trees or known > len(block):
        raise ConversionError(
            f"it has {len(trees)} trees over {known} columns, and {len(block)} are given"
        )
    total = emit_trees(graph, block, trees, single=True, refuses_missing=False)
    if model.scale != 1.0:
        total = graph.node("Mul", [total, graph.constant(model.scale)])
    if model.bias.any():
        total = graph.node("Add", [total, graph.constant(model.bias[None, :])])
    return total


def _classifier(emitter: Emitter, estimator: Any, block: Block) -> Classified | Several:
    model, graph, classes = model_of(estimator), emitter.graph, np.asarray(estimator.classes_)
    if model.loss in _BINARY and model.targets == 1 and len(classes) == 2:
        raw = _sums(emitter, model, block)
        share = float(estimator.get_probability_threshold())
        limit = -math.log(1 / share - 1) if 0 < share < 1 else math.copysign(math.inf, share - 0.5)
        return Classified(
            classes=classes, index=exceeds(graph, raw, limit), probabilities=both(graph, raw)
        )
    if model.loss in ("MultiLogloss", "MultiCrossEntropy"):
        raw = _sums(emitter, model, block)
        return told_apart(graph, raw, model.targets, 0.0)
    if model.loss not in ("MultiClass", "MultiClassOneVsAll") or model.targets != len(classes):
        raise emitter.refuse(estimator, f"it answers {len(classes)} classes by '{model.loss}'")
    raw = _sums(emitter, model, block)
    one_by_one = model.loss == "MultiClassOneVsAll"
    return Classified(
        classes=classes,
        index=first_highest(graph, raw),
        probabilities=logistic(graph, raw) if one_by_one else softmax(graph, raw),
    )


def _raw(emitter: Emitter, estimator: Any, block: Block) -> Predicted:
    model, graph = model_of(estimator), emitter.graph
    value = _sums(emitter, model, block)
    asked = getattr(estimator, "_get_default_prediction_type", lambda: "RawFormulaVal")()
    match asked:
        case "RawFormulaVal":
            pass
        case "Exponent":
            value = graph.node("Exp", [value])
        case "RMSEWithUncertainty":
            doubled = graph.node("Mul", [column(graph, value, 1), graph.constant(2.0)])
            value = concat(graph, [column(graph, value, 0), graph.node("Exp", [doubled])])
        case _:
            raise emitter.refuse(estimator, f"it answers '{asked}', which is not known")
    return Predicted(value=value, columns=model.targets, flat=model.targets == 1)


TABLE: dict[str, Emit] = {
    "catboost.core.CatBoost": _raw,
    "catboost.core.CatBoostClassifier": _classifier,
    "catboost.core.CatBoostRanker": _raw,
    "catboost.core.CatBoostRegressor": _raw,
}
