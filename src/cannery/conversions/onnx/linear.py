"""Linear models and networks: products of matrices, in double."""

from __future__ import annotations

from typing import Any

import numpy as np

from cannery.conversions.onnx.answers import (
    both,
    by_highest,
    column,
    exceeds,
    first_highest,
    logistic,
    pair,
    shares,
    softmax,
)
from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.columns import Block, materialise
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.maps import Clip, emit
from cannery.conversions.onnx.results import Classified, Predicted, Several


def product(graph: Graph, wire: str, coefficients: Any, intercept: Any) -> str:
    """Return `x @ coefficients.T + intercept`, [N, k]; a sparse or flat coefficient is taken as rows."""
    dense = coefficients.toarray() if hasattr(coefficients, "toarray") else coefficients
    rows = np.atleast_2d(np.asarray(dense, dtype=float))
    scores = graph.node("MatMul", [wire, graph.constant(np.ascontiguousarray(rows.T))])
    shift = np.broadcast_to(np.asarray(intercept, dtype=float), len(rows)).reshape(1, -1)
    return graph.node("Add", [scores, graph.constant(shift)]) if shift.any() else scores


def _scores(emitter: Emitter, estimator: Any, block: Block) -> str:
    x = materialise(emitter.graph, block)
    return product(emitter.graph, x, estimator.coef_, estimator.intercept_)


def _labelled(graph: Graph, estimator: Any, scores: str, probabilities: str | None) -> Classified:
    binary = len(estimator.classes_) == 2
    return Classified(
        classes=estimator.classes_,
        index=exceeds(graph, scores, 0.0) if binary else first_highest(graph, scores),
        probabilities=probabilities,
        scores=scores,
    )


def _classifier(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    """Emit a linear classifier without probabilities."""
    return _labelled(emitter.graph, estimator, _scores(emitter, estimator, block), None)


def _logistic(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    """Emit logistic regression; `multi_class` is of scikit-learn before 1.8."""
    graph, scores = emitter.graph, _scores(emitter, estimator, block)
    mode = getattr(estimator, "multi_class", "auto")
    if len(estimator.classes_) == 2:
        # the softmax of (-s, s) is the logistic function of 2s
        probabilities = both(graph, scores, 2.0 if mode == "multinomial" else 1.0)
    elif mode == "ovr" or (mode != "multinomial" and estimator.solver == "liblinear"):
        probabilities = shares(graph, logistic(graph, scores), len(estimator.classes_))
    else:
        probabilities = softmax(graph, scores)
    return _labelled(graph, estimator, scores, probabilities)


def _ridge(emitter: Emitter, estimator: Any, block: Block) -> Classified | Several:
    """Emit a ridge classifier, also of several labels of 0 and 1."""
    graph, scores = emitter.graph, _scores(emitter, estimator, block)
    if not estimator._label_binarizer.y_type_.startswith("multilabel"):
        return _labelled(graph, estimator, scores, None)
    classes = np.array([0, 1])
    parts = []
    for k in range(len(estimator.classes_)):
        score = column(graph, scores, k)
        parts.append(Classified(classes=classes, index=exceeds(graph, score, 0.0), scores=score))
    return Several(parts=tuple(parts))


def _sgd(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    graph, scores = emitter.graph, _scores(emitter, estimator, block)
    binary, count = len(estimator.classes_) == 2, len(estimator.classes_)
    if estimator.loss in ("log_loss", "log"):
        made = both(graph, scores) if binary else shares(graph, logistic(graph, scores), count)
        return _labelled(graph, estimator, scores, made)
    if estimator.loss != "modified_huber":
        return _labelled(graph, estimator, scores, None)
    clipped = emit(graph, scores, (Clip(-1.0, 1.0),) * (1 if binary else count))
    raised = graph.node("Add", [clipped, graph.constant(1.0)])
    halved = graph.node("Div", [raised, graph.constant(2.0)])
    made = pair(graph, halved) if binary else shares(graph, halved, count)
    return _labelled(graph, estimator, scores, made)


def _regressor(emitter: Emitter, estimator: Any, block: Block) -> Predicted:
    x = materialise(emitter.graph, block)
    value = product(emitter.graph, x, estimator.coef_, estimator.intercept_)
    flat = np.ndim(estimator.coef_) == 1 or type(estimator).__name__ in (
        "LinearSVR",
        "SGDRegressor",
    )
    return Predicted(value=value, columns=len(np.atleast_2d(estimator.coef_)), flat=flat)


def _partial_least_squares(emitter: Emitter, estimator: Any, block: Block) -> Predicted:
    graph, weights = emitter.graph, np.asarray(estimator.coef_, dtype=float)
    mean = np.asarray(estimator._x_mean, dtype=float).reshape(1, -1)
    if weights.shape[1] != mean.shape[1] or not hasattr(estimator, "_predict_1d"):
        raise emitter.refuse(
            estimator, "before scikit-learn 1.3 it scaled", "fit it with a newer scikit-learn"
        )
    away = graph.node("Sub", [materialise(graph, block), graph.constant(mean)])
    value = product(graph, away, weights, estimator.intercept_)
    return Predicted(value=value, columns=len(weights), flat=bool(estimator._predict_1d))


def _generalised(emitter: Emitter, estimator: Any, block: Block) -> Predicted:
    x = materialise(emitter.graph, block)
    value = product(emitter.graph, x, estimator.coef_, estimator.intercept_)
    loss = getattr(estimator, "_base_loss", None)
    link = type(getattr(loss, "link", None)).__name__
    if link not in ("LogLink", "IdentityLink"):
        raise emitter.refuse(estimator, f"its link {link} is not known")
    return Predicted(value=emitter.graph.node("Exp", [value]) if link == "LogLink" else value)


def _network(emitter: Emitter, estimator: Any, block: Block) -> str:
    """Return the output layer of a perceptron, [N, outputs], before its own function."""
    graph, wire = emitter.graph, materialise(emitter.graph, block)
    functions = {"identity": "", "logistic": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}
    last = len(estimator.coefs_) - 1
    for i, (weights, shift) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        wire = product(graph, wire, np.asarray(weights).T, shift)
        function = functions[estimator.activation]
        if i < last and function:
            wire = graph.node(function, [wire])
    return wire


def _network_classifier(emitter: Emitter, estimator: Any, block: Block) -> Classified | Several:
    graph, raw = emitter.graph, _network(emitter, estimator, block)
    if estimator._label_binarizer.y_type_.startswith("multilabel"):
        parts = [
            _either(graph, np.array([0, 1]), column(graph, raw, k))
            for k in range(int(estimator.n_outputs_))
        ]
        return Several(parts=tuple(parts), indicator=True)
    if estimator.out_activation_ == "softmax":
        return by_highest(graph, estimator.classes_, softmax(graph, raw))
    return _either(graph, estimator.classes_, raw)


def _either(graph: Graph, classes: Any, raw: str) -> Classified:
    """Return the answer of one output unit: the second class where its function exceeds a half."""
    positive = graph.node("Sigmoid", [raw])
    return Classified(
        classes=classes,
        index=exceeds(graph, positive, 0.5),
        probabilities=pair(graph, positive),
    )


def _network_regressor(emitter: Emitter, estimator: Any, block: Block) -> Predicted:
    outputs = int(estimator.n_outputs_)
    raw = _network(emitter, estimator, block)
    if estimator.out_activation_ == "exp":  # of the loss 'poisson'
        raw = emitter.graph.node("Exp", [raw])
    elif estimator.out_activation_ != "identity":
        raise emitter.refuse(estimator, f"its output is '{estimator.out_activation_}'")
    return Predicted(value=raw, columns=outputs, flat=outputs == 1)


def _kinds(package: str, names: str, function: Emit) -> dict[str, Emit]:
    return {f"sklearn.{package}.{name}": function for name in names.split()}


_REGRESSORS = (
    "ARDRegression BayesianRidge ElasticNet ElasticNetCV HuberRegressor Lars LarsCV Lasso LassoCV "
    "LassoLars LassoLarsCV LassoLarsIC LinearRegression MultiTaskElasticNet MultiTaskElasticNetCV "
    "MultiTaskLasso MultiTaskLassoCV OrthogonalMatchingPursuit OrthogonalMatchingPursuitCV "
    "PassiveAggressiveRegressor QuantileRegressor Ridge RidgeCV SGDRegressor TheilSenRegressor"
)

TABLE: dict[str, Emit] = {
    **_kinds("linear_model", _REGRESSORS, _regressor),
    **_kinds("svm", "LinearSVR", _regressor),
    **_kinds("cross_decomposition", "CCA PLSCanonical PLSRegression", _partial_least_squares),
    **_kinds("linear_model", "GammaRegressor PoissonRegressor TweedieRegressor", _generalised),
    **_kinds(
        "linear_model",
        "PassiveAggressiveClassifier Perceptron",
        _classifier,
    ),
    **_kinds("linear_model", "RidgeClassifier RidgeClassifierCV", _ridge),
    **_kinds("svm", "LinearSVC", _classifier),
    **_kinds("linear_model", "LogisticRegression LogisticRegressionCV", _logistic),
    **_kinds("linear_model", "SGDClassifier", _sgd),
    **_kinds("neural_network", "MLPClassifier", _network_classifier),
    **_kinds("neural_network", "MLPRegressor", _network_regressor),
}
