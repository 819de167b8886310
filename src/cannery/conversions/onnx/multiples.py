"""One estimator for each class, each pair of classes, or each target; and chains of them."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.dummy import DummyClassifier

from cannery.conversions.onnx.answers import (
    column,
    concat,
    exceeds,
    first_highest,
    pair,
    sharpened,
    stand,
)
from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.columns import Block, join, of_wire
from cannery.conversions.onnx.emitter import Emit, Emitter, qualified_name
from cannery.conversions.onnx.machines import confident, votes
from cannery.conversions.onnx.maps import as_numbers
from cannery.conversions.onnx.pairs import inner
from cannery.conversions.onnx.results import Classified, Predicted, Several, width_of
from cannery.conversions.onnx.simples import zeros


def _constant(emitter: Emitter, block: Block, value: float) -> str:
    return emitter.graph.node("Add", [zeros(emitter, block), emitter.graph.constant(value)])


def _is_constant(estimator: Any) -> bool:
    return qualified_name(type(estimator)) == "sklearn.multiclass._ConstantPredictor"


def _member(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    """Emit one classifier between 0 and 1, of which one may never have been seen in training."""
    if not _is_constant(estimator):
        return emitter.classify(estimator, block)
    value = float(np.ravel(estimator.y_)[0])
    score = _constant(emitter, block, value)
    return Classified(
        classes=np.array([0, 1]),
        index=exceeds(emitter.graph, score, 0.5),
        probabilities=pair(emitter.graph, score),
        scores=score,
    )


def _score(emitter: Emitter, estimator: Any, block: Block) -> str:
    """Return the score [N, 1] of the positive class: the decision function, else the probability."""
    if not _is_constant(estimator) and is_regressor(estimator):
        return emitter.regress(estimator, block).value
    member = _member(emitter, estimator, block)
    if hasattr(estimator, "decision_function"):
        if member.scores is None or width_of(member) != 1:
            raise emitter.refuse(estimator, "its 'decision_function' is not converted")
        return member.scores
    return column(emitter.graph, sharpened(emitter.graph, _probable(emitter, estimator, member)), 1)


def _probable(emitter: Emitter, estimator: Any, member: Classified) -> str:
    if member.probabilities is None or len(member.classes) != 2:
        raise emitter.refuse(estimator, "it has no probabilities of two classes")
    return member.probabilities


def _threshold(estimator: Any) -> float:
    scored = hasattr(estimator, "decision_function") and is_classifier(estimator)
    return 0.0 if scored else 0.5


def _one_vs_rest(emitter: Emitter, estimator: Any, block: Block) -> Classified | Several:
    graph, members = emitter.graph, estimator.estimators_
    scores = [_score(emitter.at(str(i)), m, block) for i, m in enumerate(members)]
    positive: list[str] = []
    if hasattr(estimator, "predict_proba"):
        for i, member in enumerate(members):
            place = emitter.at(str(i))
            made = _probable(place, member, _member(place, member, block))
            positive.append(column(graph, sharpened(graph, made), 1))
    threshold = _threshold(members[0])
    if estimator.multilabel_:
        parts = [
            Classified(
                classes=np.array([0, 1]),
                index=exceeds(graph, score, threshold),
                probabilities=pair(graph, positive[i]) if positive else None,
            )
            for i, score in enumerate(scores)
        ]
        return Several(parts=tuple(parts), indicator=True)
    several = len(scores) > 1
    together = concat(graph, scores)
    probabilities = None
    if positive:
        made = concat(graph, positive) if several else pair(graph, positive[0])
        probabilities = _divided(graph, made)
    index = _winner(graph, estimator, together) if several else exceeds(graph, together, threshold)
    return Classified(
        classes=estimator.classes_,
        index=index,
        probabilities=probabilities,
        scores=together if hasattr(estimator, "decision_function") else None,
    )


def _winner(graph: Graph, estimator: Any, scores: str) -> str:
    """Return the position of the highest score: of equals the first, or until scikit-learn 1.8 the last."""
    even = DummyClassifier(strategy="prior").fit(np.zeros((2, 1)), [0, 1])
    tied = copy(estimator)
    tied.estimators_ = [even] * len(estimator.estimators_)
    last = tied.predict(np.zeros((1, 1)))[0] == estimator.classes_[-1]
    return graph.node("ArgMax", [scores], axis=1, keepdims=0, select_last_index=int(last))


def _divided(graph: Graph, parts: str) -> str:
    """Divide each row by its sum; a row of zeros stays as it is."""
    total = graph.node("ReduceSum", [parts, graph.constant([1])])
    empty = graph.node("Equal", [total, graph.constant(0.0)])
    return graph.node("Div", [parts, graph.node("Where", [empty, graph.constant(1.0), total])])


def _one_vs_one(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    graph, count = emitter.graph, len(estimator.classes_)
    if estimator.pairwise_indices_ is not None:
        raise emitter.refuse(estimator, "its kernel is computed beforehand")
    lost, duels = [], []
    for i, member in enumerate(estimator.estimators_):
        place = emitter.at(str(i))
        duels.append(graph.node("Neg", [_score(place, member, block)]))
        if is_regressor(member):
            raise emitter.refuse(estimator, "its members are no classifiers")
        lost.append(stand(graph, _member(place, member, block).index))
    second = as_numbers(graph, concat(graph, lost))
    first = graph.node("Sub", [graph.constant(1.0), second])
    scores = confident(graph, votes(graph, first, count), concat(graph, duels), count)
    if count > 2:
        return Classified(
            classes=estimator.classes_, index=first_highest(graph, scores), scores=scores
        )
    score = column(graph, scores, 1)
    threshold = _threshold(estimator.estimators_[0])
    return Classified(
        classes=estimator.classes_, index=exceeds(graph, score, threshold), scores=score
    )


def _own_squares(graph: Graph, scores: str) -> str:
    """Return each row's sum of squares, shape (rows, 1).

    Codes that are equally far are told apart by the last bit, and scikit-learn's sum is that of
    a matrix product: from left to right, each step rounded once.
    """
    rows = graph.node("Unsqueeze", [scores, graph.constant([1])])
    columns = graph.node("Unsqueeze", [scores, graph.constant([2])])
    return graph.node("Squeeze", [graph.node("MatMul", [rows, columns]), graph.constant([2])])


def _output_code(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    """Emit OutputCodeClassifier: the class whose code is nearest to the scores."""
    graph, codes = emitter.graph, np.asarray(estimator.code_book_, dtype=np.float64)
    members = enumerate(estimator.estimators_)
    scores = concat(graph, [_score(emitter.at(str(i)), m, block) for i, m in members])
    far = graph.node("Add", [_own_squares(graph, scores), inner(graph, scores, -2.0 * codes)])
    norms = graph.constant(np.einsum("ij,ij->i", codes, codes).reshape(1, -1))
    distances = graph.node("Relu", [graph.node("Add", [far, norms])])
    nearest = graph.node("ArgMin", [distances], axis=1, keepdims=0)
    return Classified(classes=estimator.classes_, index=nearest)


def _several_classifiers(emitter: Emitter, estimator: Any, block: Block) -> Several:
    members = enumerate(estimator.estimators_)
    return Several(parts=tuple(emitter.at(str(i)).classify(m, block) for i, m in members))


def _several_regressors(emitter: Emitter, estimator: Any, block: Block) -> Predicted:
    members = enumerate(estimator.estimators_)
    values = [emitter.at(str(i)).regress(m, block).value for i, m in members]
    return Predicted(value=concat(emitter.graph, values), columns=len(values), flat=False)


def _lengthened(graph: Graph, block: Block, earlier: list[str]) -> Block:
    """Return the columns and the answers that came before."""
    return join([block.numeric(), *(of_wire(graph, wire, 1) for wire in earlier)])


def _regressor_chain(emitter: Emitter, estimator: Any, block: Block) -> Predicted:
    graph, answers = emitter.graph, list[str]()
    for i, member in enumerate(estimator.estimators_):
        seen = _lengthened(graph, block, answers)
        answers.append(emitter.at(str(i)).regress(member, seen).value)
    ordered = [answers[place] for place in np.argsort(estimator.order_)]
    return Predicted(value=concat(graph, ordered), columns=len(ordered), flat=False)


def _classifier_chain(emitter: Emitter, estimator: Any, block: Block) -> Several:
    """Emit ClassifierChain, which answers its labels as doubles."""
    graph, told, parts = emitter.graph, list[str](), list[Classified]()
    method = getattr(estimator, "chain_method_", "predict")
    for i, member in enumerate(estimator.estimators_):
        place = emitter.at(str(i))
        part = place.classify(member, _lengthened(graph, block, told))
        classes = np.asarray(part.classes)
        if classes.dtype.kind not in "iufb":
            raise emitter.refuse(estimator, "its labels are no numbers")
        part = replace(part, classes=classes.astype(np.float64))
        told.append(_told(place, member, part, method))
        parts.append(part)
    ordered = tuple(parts[place] for place in np.argsort(estimator.order_))
    if any(len(part.classes) != 2 for part in ordered):
        ordered = tuple(replace(part, probabilities=None) for part in ordered)
    return Several(parts=ordered, indicator=True)


def _told(emitter: Emitter, estimator: Any, part: Classified, method: str) -> str:
    """Return what a member of a chain tells those after it, [N, 1]."""
    graph = emitter.graph
    match method:
        case "predict":
            return stand(graph, graph.node("Gather", [graph.constant(part.classes), part.index]))
        case "predict_proba":
            return column(graph, _probable(emitter, estimator, part), 1)
        case "predict_log_proba":
            made = column(graph, _probable(emitter, estimator, part), 1)
            return graph.node("Log", [made])
        case _:
            if part.scores is None or width_of(part) != 1:
                raise emitter.refuse(estimator, f"its '{method}' is not converted")
            return part.scores


TABLE: dict[str, Emit] = {
    "sklearn.multiclass.OneVsRestClassifier": _one_vs_rest,
    "sklearn.multiclass.OneVsOneClassifier": _one_vs_one,
    "sklearn.multiclass.OutputCodeClassifier": _output_code,
    "sklearn.multioutput.MultiOutputClassifier": _several_classifiers,
    "sklearn.multioutput.MultiOutputRegressor": _several_regressors,
    "sklearn.multioutput.ClassifierChain": _classifier_chain,
    "sklearn.multioutput.RegressorChain": _regressor_chain,
}
