"""What is laid over a classifier: calibrated probabilities, and thresholds other than a half."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cannery.conversions.onnx.answers import (
    by_highest,
    column,
    concat,
    exceeds,
    mean,
    pair,
    shares,
    sharpened,
    softmax,
)
from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.columns import Block
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.interpolations import isotonic
from cannery.conversions.onnx.results import Classified


def _response(emitter: Emitter, estimator: Any, inner: Any, result: Classified, method: str) -> str:
    """Return the wire of `method`; refuses where the emitted answer lacks what the original has."""
    wire = result.scores if method == "decision_function" else result.probabilities
    if wire is None:
        raise emitter.refuse(
            estimator, f"the '{method}' of {type(inner).__name__} is not converted"
        )
    return wire


def _calibrated(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    """Emit the mean of the calibrated members."""
    graph, members = emitter.graph, estimator.calibrated_classifiers_
    total = ""
    for i, member in enumerate(members):
        probabilities = _member(emitter.at(str(i)), estimator, member, block)
        total = graph.node("Add", [total, probabilities]) if total else probabilities
    return by_highest(graph, estimator.classes_, mean(graph, total, len(members)))


def _member(emitter: Emitter, estimator: Any, member: Any, block: Block) -> str:
    """Return the probabilities [N, classes] of one calibrated classifier."""
    graph = emitter.graph
    inner = getattr(member, "estimator", None) or member.base_estimator
    result = emitter.exactly().classify(inner, block)
    scored = hasattr(inner, "decision_function")
    method = "decision_function" if scored else "predict_proba"
    wire = _response(emitter, estimator, inner, result, method)
    classes, known = list(member.classes), list(inner.classes_)
    if member.method == "temperature" and len(known) == len(classes):
        return _at_most_one(graph, _tempered(graph, member, wire, scored=scored))
    if member.method not in ("sigmoid", "isotonic"):
        raise emitter.refuse(estimator, f"its method '{member.method}' is not known here")
    if len(classes) == 2:
        score = wire if scored else column(graph, wire, 1)
        return _at_most_one(graph, pair(graph, _calibrate(emitter, member.calibrators[0], score)))
    if len(known) == 2 or (result.columns or len(known)) != len(known):
        raise emitter.refuse(estimator, "a member's scores are not one for each class")
    parts = [
        sharpened(graph, _calibrate(emitter, calibrator, column(graph, wire, k)))
        for k, calibrator in enumerate(member.calibrators)
    ]
    made = concat(graph, parts)
    if known != classes:  # what a member has not seen gets nothing
        places = np.eye(len(classes))[[classes.index(c) for c in known]]
        made = graph.node("MatMul", [made, graph.constant(places)])
    return _at_most_one(graph, shares(graph, made, len(classes)))


def _tempered(graph: Graph, member: Any, wire: str, *, scored: bool) -> str:
    """Return the softmax of the scores over a temperature; of probabilities, their logarithms.

    Scores of several classes that all look like probabilities would be taken for these.
    """
    if scored and len(member.classes) == 2:
        wire = concat(graph, [graph.node("Neg", [wire]), wire])
    elif not scored:
        if len(member.classes) == 2:
            wire = pair(graph, column(graph, wire, 1))
        wire = graph.node("Log", [graph.node("Add", [wire, graph.constant(1e-12)])])
    beta = graph.constant(float(member.calibrators[0].beta_))
    return softmax(graph, graph.node("Mul", [wire, beta]))


def _at_most_one(graph: Graph, wire: str) -> str:
    above = graph.node("Greater", [wire, graph.constant(1.0)])
    return graph.node("Where", [above, graph.constant(1.0), wire])


def _calibrate(emitter: Emitter, calibrator: Any, score: str) -> str:
    """Return the calibrated probability [N, 1] of a score [N, 1]."""
    graph = emitter.graph
    if type(calibrator).__name__ == "_SigmoidCalibration":
        scaled = graph.node("Mul", [score, graph.constant(float(calibrator.a_))])
        shifted = graph.node("Add", [scaled, graph.constant(float(calibrator.b_))])
        return graph.node("Sigmoid", [graph.node("Neg", [shifted])])
    return isotonic(emitter, calibrator, score)


def _fixed(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    """Emit FixedThresholdClassifier."""
    inner = getattr(estimator, "estimator_", estimator.estimator)
    result = emitter.exactly().at("estimator_").classify(inner, block)
    method = _method(estimator, inner)
    threshold = estimator.threshold
    if isinstance(threshold, str):  # "auto"
        threshold = 0.5 if method == "predict_proba" else 0.0
    return _decided(emitter, estimator, inner, result, (method, threshold, estimator.pos_label))


def _tuned(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    """Emit TunedThresholdClassifierCV."""
    inner = estimator.estimator_
    result = emitter.exactly().at("estimator_").classify(inner, block)
    positive = estimator._curve_scorer._get_pos_label()
    rule = (_method(estimator, inner), estimator.best_threshold_, positive)
    return _decided(emitter, estimator, inner, result, rule)


def _method(estimator: Any, inner: Any) -> str:
    if estimator.response_method != "auto":
        return str(estimator.response_method)
    return "predict_proba" if hasattr(inner, "predict_proba") else "decision_function"


def _decided(
    emitter: Emitter, estimator: Any, inner: Any, result: Classified, rule: tuple[str, Any, Any]
) -> Classified:
    """Replace the label: the positive class where its score reaches the threshold."""
    graph, (method, threshold, positive) = emitter.graph, rule
    classes = list(estimator.classes_)
    place = 1 if positive is None else classes.index(positive)
    wire = _response(emitter, estimator, inner, result, method)
    if method == "predict_proba":
        score = column(graph, wire, place)
    else:
        score = wire if place == 1 else graph.node("Neg", [wire])
    reached = exceeds(graph, score, float(threshold), inclusive=True)
    index = reached if place == 1 else graph.node("Sub", [graph.constant(1), reached])
    return replace(result, classes=estimator.classes_, index=index)


TABLE: dict[str, Emit] = {
    "sklearn.calibration.CalibratedClassifierCV": _calibrated,
    "sklearn.model_selection.FixedThresholdClassifier": _fixed,
    "sklearn.model_selection.TunedThresholdClassifierCV": _tuned,
}
