"""Decision trees, forests and gradient boosting of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray

from cannery.conversions.onnx.answers import both, by_highest, exceeds, first_highest, softmax
from cannery.conversions.onnx.columns import Block
from cannery.conversions.onnx.emitter import Emit, Emitter, qualified_name
from cannery.conversions.onnx.forests import emit_mean, emit_trees
from cannery.conversions.onnx.layouts import Tree
from cannery.conversions.onnx.results import Classified, Predicted, Several

_COUNTS_IN_LEAVES = tuple(int(p) for p in sklearn.__version__.split(".")[:2]) < (1, 4)
"""Before 1.4 the leaves of classification trees held weights, not fractions."""


def tree_of(fitted: Any, values: NDArray[np.float64]) -> Tree:
    """Return the arrays of a fitted `sklearn.tree._tree.Tree` with `values` [nodes, targets] in its leaves."""
    left = np.asarray(fitted.children_left, dtype=np.int64)
    missing = getattr(fitted, "missing_go_to_left", None)
    if missing is None:  # before 1.3 trees take no NaN, so that it may go where `mirrors` wants it
        missing = fitted.n_node_samples[left] > fitted.n_node_samples[fitted.children_right]
    return Tree(
        feature=np.where(left < 0, 0, fitted.feature),
        threshold=np.asarray(fitted.threshold, dtype=np.float64),
        left=left,
        right=np.asarray(fitted.children_right, dtype=np.int64),
        missing_left=np.asarray(missing, bool),
        values=values,
    )


def fractions(fitted: Any, classes: int, output: int = 0) -> NDArray[np.float64]:
    """Return the class distribution [nodes, classes] of a classification tree."""
    values = np.asarray(fitted.value[:, output, :classes], dtype=np.float64)
    if not _COUNTS_IN_LEAVES:
        return values
    total = values.sum(axis=1, keepdims=True)
    return values / np.where(total == 0, 1.0, total)


def emit_classifier(emitter: Emitter, estimator: Any, block: Block) -> Classified | Several:
    """Emit one decision tree, or the mean of the class distributions of many; label by label."""
    if estimator.n_outputs_ == 1:
        return _voted(emitter, estimator, block, estimator.classes_, 0)
    parts = [
        _voted(emitter, estimator, block, classes, k)
        for k, classes in enumerate(estimator.classes_)
    ]
    return Several(parts=tuple(parts))


def _voted(
    emitter: Emitter, estimator: Any, block: Block, classes: NDArray[Any], output: int
) -> Classified:
    members = getattr(estimator, "estimators_", [estimator])
    trees = [tree_of(m.tree_, fractions(m.tree_, len(classes), output)) for m in members]
    return by_highest(emitter.graph, classes, emit_mean(emitter.graph, block, trees))


def emit_regressor(emitter: Emitter, estimator: Any, block: Block) -> Predicted:
    """Emit one regression tree, or the mean of many."""
    members = getattr(estimator, "estimators_", [estimator])
    trees = [
        tree_of(m.tree_, np.asarray(m.tree_.value[:, :, 0], dtype=np.float64)) for m in members
    ]
    outputs = int(estimator.n_outputs_)
    value = emit_mean(emitter.graph, block, trees)
    return Predicted(value=value, columns=outputs, flat=outputs == 1)


def _boosted(emitter: Emitter, estimator: Any, block: Block) -> str:
    """Return the raw predictions [N, k]; the start value goes into the leaves of the first trees."""
    stages = estimator.estimators_
    rate, count = float(estimator.learning_rate), stages.shape[1]
    start, offset = _start(emitter, estimator, block, count)
    trees = []
    for position, stage in enumerate(stages):
        for k, member in enumerate(stage):
            values = np.zeros((member.tree_.node_count, count))
            values[:, k] = rate * member.tree_.value[:, 0, 0]
            if position == 0:
                values[:, k] = start[k] + values[:, k]
            trees.append(tree_of(member.tree_, values))
    total = emit_trees(emitter.graph, block, trees, single=True, refuses_missing=True)
    return total if offset is None else emitter.graph.node("Add", [offset, total])


def _start(
    emitter: Emitter, estimator: Any, block: Block, count: int
) -> tuple[NDArray[np.float64], str | None]:
    """Return what the sum starts from: constants, and the wire of an initial regressor if there is one."""
    init = estimator.init_
    if isinstance(init, str):  # "zero"
        return np.zeros(count), None
    kind = qualified_name(type(init))
    constant = kind in ("sklearn.dummy.DummyClassifier", "sklearn.dummy.DummyRegressor")
    if constant and getattr(init, "strategy", "") not in ("stratified", "uniform"):
        row = np.zeros((1, estimator.n_features_in_), dtype=np.float32)
        return np.asarray(estimator._raw_predict_init(row)[0], dtype=np.float64), None
    if kind.startswith(("sklearn.tree.", "sklearn.ensemble.")) and "Hist" not in kind:
        result = emitter.at("init").emit(init, block)
        if isinstance(result, Predicted):
            return np.zeros(count), result.value
    raise emitter.refuse(
        estimator,
        f"'init' is {kind}, which computes in float32 here",
        "leave 'init' out, or take 'zero' or a regression tree",
    )


def emit_boosting_classifier(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    """Emit GradientBoostingClassifier."""
    graph, raw = emitter.graph, _boosted(emitter, estimator, block)
    if estimator.estimators_.shape[1] > 1:
        return Classified(
            classes=estimator.classes_,
            index=first_highest(graph, raw),
            probabilities=softmax(graph, raw),
            scores=raw,
        )
    if estimator.loss not in ("log_loss", "exponential", "deviance"):
        raise emitter.refuse(estimator, f"the loss '{estimator.loss}' is not known")
    probabilities = both(graph, raw, 2.0 if estimator.loss == "exponential" else 1.0)
    old = "_gb_losses" in type(estimator._loss).__module__  # labels from probabilities until 1.3
    return Classified(
        classes=estimator.classes_,
        index=first_highest(graph, probabilities)
        if old
        else exceeds(graph, raw, 0.0, inclusive=True),
        probabilities=probabilities,
        scores=raw,
    )


def emit_boosting_regressor(emitter: Emitter, estimator: Any, block: Block) -> Predicted:
    """Emit GradientBoostingRegressor: every loss has the identity as its link."""
    return Predicted(value=_boosted(emitter, estimator, block))


TABLE: dict[str, Emit] = {
    **dict.fromkeys(
        (
            "sklearn.tree.DecisionTreeClassifier",
            "sklearn.tree.ExtraTreeClassifier",
            "sklearn.ensemble.RandomForestClassifier",
            "sklearn.ensemble.ExtraTreesClassifier",
            "imblearn.ensemble._forest.BalancedRandomForestClassifier",
        ),
        emit_classifier,
    ),
    **dict.fromkeys(
        (
            "sklearn.tree.DecisionTreeRegressor",
            "sklearn.tree.ExtraTreeRegressor",
            "sklearn.ensemble.RandomForestRegressor",
            "sklearn.ensemble.ExtraTreesRegressor",
        ),
        emit_regressor,
    ),
    "sklearn.ensemble.GradientBoostingClassifier": emit_boosting_classifier,
    "sklearn.ensemble.GradientBoostingRegressor": emit_boosting_regressor,
}
