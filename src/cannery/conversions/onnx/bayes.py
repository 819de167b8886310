"""Naive Bayes, and the discriminant analyses: the class with the greatest joint likelihood."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from cannery.conversions.onnx.answers import both, column, concat, exceeds, first_highest, softmax
from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.columns import Block, materialise
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.linear import product
from cannery.conversions.onnx.maps import Above, emit
from cannery.conversions.onnx.results import Classified

Numbers = NDArray[np.float64]

_BEYOND = 1 << 40
"""A position that no table has: a row that asks for it is refused, as by the original."""


def posterior(graph: Graph, estimator: Any, joint: str) -> Classified:
    """Return the answer from joint log likelihoods [N, classes]."""
    return Classified(
        classes=estimator.classes_,
        index=first_highest(graph, joint),
        probabilities=softmax(graph, joint),
    )


def _gaussian(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    graph, variance = emitter.graph, np.asarray(estimator.var_, dtype=float)
    x = graph.node("Unsqueeze", [materialise(graph, block), graph.constant([1])])
    away = graph.node("Sub", [x, graph.constant(estimator.theta_[None])])
    squared = graph.node("Div", [graph.node("Mul", [away, away]), graph.constant(variance[None])])
    half = graph.node(
        "Mul",
        [
            graph.node("ReduceSum", [squared, graph.constant([2])], keepdims=0),
            graph.constant(0.5),
        ],
    )
    base = -0.5 * np.sum(np.log(2.0 * np.pi * variance), axis=1)
    prior = np.log(estimator.class_prior_)
    joint = graph.node("Sub", [graph.constant(base[None]), half])
    return posterior(graph, estimator, graph.node("Add", [joint, graph.constant(prior[None])]))


def _multinomial(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    x = materialise(emitter.graph, block)
    prior = estimator.class_log_prior_
    if type(estimator).__name__ == "ComplementNB" and len(estimator.classes_) > 1:
        prior = np.zeros(len(estimator.classes_))
    joint = product(emitter.graph, x, estimator.feature_log_prob_, prior)
    return posterior(emitter.graph, estimator, joint)


def _bernoulli(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    graph, x = emitter.graph, materialise(emitter.graph, block)
    if estimator.binarize is not None:
        x = emit(graph, x, (Above(float(estimator.binarize)),) * len(block))
    present = np.asarray(estimator.feature_log_prob_, dtype=float)
    absent = np.log(1 - np.exp(present))
    shift = estimator.class_log_prior_ + absent.sum(axis=1)
    return posterior(graph, estimator, product(graph, x, present - absent, shift))


def _categorical(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    """Emit CategoricalNB; it cuts the fraction off, and refuses a category that it has not seen."""
    graph, x = emitter.graph, materialise(emitter.graph, block)
    whole = graph.node("Cast", [x], to=TensorProto.INT64)
    negative = graph.node("Less", [whole, graph.constant(0)])
    places = graph.node("Where", [negative, graph.constant(_BEYOND), whole])
    joint = ""
    for i, table in enumerate(estimator.feature_log_prob_):
        rows = graph.constant(np.ascontiguousarray(np.asarray(table, dtype=float).T))
        place = graph.node("Squeeze", [column(graph, places, i), graph.constant([1])])
        part = graph.node("Gather", [rows, place])
        joint = graph.node("Add", [joint, part]) if joint else part
    prior = graph.constant(np.asarray(estimator.class_log_prior_, dtype=float).reshape(1, -1))
    return posterior(graph, estimator, graph.node("Add", [joint, prior]))


def _linear_discriminant(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    graph, x = emitter.graph, materialise(emitter.graph, block)
    scores = product(graph, x, estimator.coef_, estimator.intercept_)
    binary = len(estimator.classes_) == 2
    return Classified(
        classes=estimator.classes_,
        index=exceeds(graph, scores, 0.0) if binary else first_highest(graph, scores),
        probabilities=both(graph, scores) if binary else softmax(graph, scores),
        scores=scores,
    )


def _quadratic_discriminant(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    graph, x = emitter.graph, materialise(emitter.graph, block)
    norms, logs = [], []
    for mean, rotation, scaling in zip(
        estimator.means_, estimator.rotations_, estimator.scalings_, strict=True
    ):
        matrix: Numbers = np.asarray(rotation, dtype=float) * np.asarray(scaling) ** -0.5
        away = graph.node("Sub", [x, graph.constant(np.reshape(mean, (1, -1)))])
        turned = graph.node("MatMul", [away, graph.constant(np.ascontiguousarray(matrix))])
        norms.append(graph.node("ReduceSumSquare", [turned, graph.constant([1])]))
        logs.append(float(np.sum(np.log(scaling))))
    shifted = graph.node("Add", [concat(graph, norms), graph.constant(np.array([logs]))])
    halved = graph.node("Mul", [shifted, graph.constant(-0.5)])
    prior = graph.constant(np.log(estimator.priors_).reshape(1, -1))
    joint = graph.node("Add", [halved, prior])
    scores = joint
    if len(estimator.classes_) == 2:
        scores = graph.node("Sub", [column(graph, joint, 1), column(graph, joint, 0)])
    return Classified(
        classes=estimator.classes_,
        index=first_highest(graph, joint),
        probabilities=softmax(graph, joint),
        scores=scores,
    )


TABLE: dict[str, Emit] = {
    "sklearn.discriminant_analysis.LinearDiscriminantAnalysis": _linear_discriminant,
    "sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis": _quadratic_discriminant,
    "sklearn.naive_bayes.GaussianNB": _gaussian,
    "sklearn.naive_bayes.MultinomialNB": _multinomial,
    "sklearn.naive_bayes.ComplementNB": _multinomial,
    "sklearn.naive_bayes.BernoulliNB": _bernoulli,
    "sklearn.naive_bayes.CategoricalNB": _categorical,
}
