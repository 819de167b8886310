"""AdaBoost: members that vote, or predict, with weights of their own."""

from __future__ import annotations

import warnings
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier

from cannery.conversions.onnx.answers import (
    both,
    column,
    concat,
    exceeds,
    first_highest,
    mean,
    softmax,
)
from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.columns import Block
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.ensembles import is_tree, total_of
from cannery.conversions.onnx.forests import emit_apart, emit_trees
from cannery.conversions.onnx.maps import as_numbers
from cannery.conversions.onnx.results import Classified, Predicted
from cannery.conversions.onnx.trees import fractions, tree_of


def _weights(estimator: Any, classes: NDArray[Any], weight: float) -> NDArray[np.float64]:
    """Return [len(classes), all classes]: what a vote for each of these classes adds to all."""
    hit = np.asarray(classes)[:, None] == np.asarray(estimator.classes_)[None]
    return np.where(hit, weight, _lost(estimator) * weight)


def _lost(estimator: Any) -> float:
    """Return what a vote of weight 1 adds to the other classes: below 0, or until scikit-learn 1.5 nothing."""
    even = DummyClassifier(strategy="prior").fit(np.zeros((1, 1)), [estimator.classes_[0]])
    alone = copy(estimator)
    alone.estimators_, alone.estimator_weights_ = [even], np.ones(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the row has no names
        scores = np.ravel(alone.decision_function(np.zeros((1, estimator.n_features_in_))))
    return float(scores[0] + 1.0 if len(scores) == 1 else scores[1])


def _classifier(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    """Emit AdaBoostClassifier: members vote with their weights (SAMME), or add logarithms (SAMME.R, until scikit-learn 1.5)."""
    graph, count = emitter.graph, len(estimator.classes_)
    logs = getattr(estimator, "algorithm", "") == "SAMME.R"
    if count == 1:
        raise emitter.refuse(estimator, "it knows a single class")
    members = list(zip(estimator.estimators_, estimator.estimator_weights_, strict=False))
    if logs and any(len(member.classes_) != count for member, _ in members):
        raise emitter.refuse(estimator, "a member knows fewer classes")
    if all(is_tree(member) for member, _ in members):
        trees = []
        for member, weight in members:
            shares = fractions(member.tree_, len(member.classes_))
            chosen = shares.argmax(axis=1)
            values = _logs(shares) if logs else _weights(estimator, member.classes_, weight)[chosen]
            trees.append(tree_of(member.tree_, _kept(values)))
        total = emit_trees(graph, block, trees, single=True, refuses_missing=False)
    else:
        parts = []
        for i, (member, weight) in enumerate(members):
            result = emitter.at(str(i)).classify(member, block)
            if logs:
                parts.append(_added(emitter, member, result))
                continue
            values = _weights(estimator, result.classes, weight)
            parts.append(graph.node("Gather", [graph.constant(_kept(values)), result.index]))
        total = total_of(graph, parts)
    return _answer(graph, estimator, total)


_EPSILON = float(np.finfo(np.float64).eps)


def _logs(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what a member of SAMME.R adds to each class."""
    logs = np.log(np.clip(shares, _EPSILON, None))
    count = shares.shape[1]
    added: NDArray[np.float64] = (count - 1) * (logs - logs.sum(axis=1, keepdims=True) / count)
    return added


def _added(emitter: Emitter, member: Any, result: Classified) -> str:
    """Return the same for a member that is no tree, for two classes the second's lead."""
    graph, shares, count = emitter.graph, result.probabilities, len(result.classes)
    if shares is None:
        raise emitter.refuse(member, "it has no probabilities")
    low = graph.node("Less", [shares, graph.constant(_EPSILON)])
    logs = graph.node("Log", [graph.node("Where", [low, graph.constant(_EPSILON), shares])])
    if count == 2:
        return graph.node("Sub", [column(graph, logs, 1), column(graph, logs, 0)])
    middle = graph.node("ReduceMean", [logs, graph.constant([1])])
    away = graph.node("Sub", [logs, middle])
    return graph.node("Mul", [away, graph.constant(float(count - 1))])


def _kept(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return, for two classes, the second's lead over the first; else the values themselves."""
    return values[:, 1:] - values[:, :1] if values.shape[1] == 2 else values


def _answer(graph: Graph, estimator: Any, total: str) -> Classified:
    count = len(estimator.classes_)
    scores = mean(graph, total, float(estimator.estimator_weights_.sum()))
    if count == 2:
        return Classified(
            classes=estimator.classes_,
            index=exceeds(graph, scores, 0.0),
            probabilities=both(graph, scores, 1.0),
            scores=scores,
        )
    return Classified(
        classes=estimator.classes_,
        index=first_highest(graph, scores),
        probabilities=softmax(graph, mean(graph, scores, float(count - 1))),
        scores=scores,
    )


def _regressor(emitter: Emitter, estimator: Any, block: Block) -> Predicted:
    """Emit AdaBoostRegressor: the weighted median of its members."""
    graph, members = emitter.graph, estimator.estimators_
    count = len(members)
    predicted = _predictions(emitter, members, block)
    many = graph.constant(np.array([count], dtype=np.int64))
    values, order = graph.nodes("TopK", [predicted, many], 2, axis=1, largest=0, sorted=1)
    weights = graph.constant(np.asarray(estimator.estimator_weights_[:count], dtype=np.float64))
    summed = graph.node(
        "CumSum", [graph.node("Gather", [weights, order]), graph.constant(np.int64(1))]
    )
    last = graph.node("Gather", [summed, graph.constant(np.array([count - 1]))], axis=1)
    half = graph.node("Mul", [last, graph.constant(0.5)])
    reached = as_numbers(graph, graph.node("GreaterOrEqual", [summed, half]))
    place = graph.node("ArgMax", [reached], axis=1, keepdims=1)
    return Predicted(value=graph.node("GatherElements", [values, place], axis=1))


def _predictions(emitter: Emitter, members: Any, block: Block) -> str:
    """Return [N, members]: trees in one node, a target for each."""
    if not all(is_tree(m) for m in members):
        values = [emitter.at(str(i)).regress(m, block).value for i, m in enumerate(members)]
        return concat(emitter.graph, values)
    trees = [tree_of(m.tree_, m.tree_.value[:, :, 0]) for m in members]
    return emit_apart(emitter.graph, block, trees)


TABLE: dict[str, Emit] = {
    "imblearn.ensemble._weight_boosting.RUSBoostClassifier": _classifier,
    "sklearn.ensemble.AdaBoostClassifier": _classifier,
    "sklearn.ensemble.AdaBoostRegressor": _regressor,
}
