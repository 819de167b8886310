"""AdaBoost: members that vote, or predict, with weights of their own."""

from __future__ import annotations

import warnings
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier

from cannery.conversions.onnx.answers import both, concat, exceeds, first_highest, mean, softmax
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
    """Emit AdaBoostClassifier (SAMME): every member votes with its weight."""
    graph, count = emitter.graph, len(estimator.classes_)
    if getattr(estimator, "algorithm", "") == "SAMME.R":
        raise emitter.refuse(estimator, "its members add probabilities (SAMME.R)")
    if count == 1:
        raise emitter.refuse(estimator, "it knows a single class")
    members = list(zip(estimator.estimators_, estimator.estimator_weights_, strict=False))
    if all(is_tree(member) for member, _ in members):
        trees = []
        for member, weight in members:
            chosen = fractions(member.tree_, len(member.classes_)).argmax(axis=1)
            values = _weights(estimator, member.classes_, weight)[chosen]
            trees.append(tree_of(member.tree_, _kept(values)))
        total = emit_trees(graph, block, trees, single=True, refuses_missing=False)
    else:
        parts = []
        for i, (member, weight) in enumerate(members):
            result = emitter.at(str(i)).classify(member, block)
            values = _weights(estimator, result.classes, weight)
            parts.append(graph.node("Gather", [graph.constant(_kept(values)), result.index]))
        total = total_of(graph, parts)
    return _answer(graph, estimator, total)


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
