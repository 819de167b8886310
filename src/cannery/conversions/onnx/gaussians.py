"""Gaussian processes: kernels between rows and training, and the classifier's approximation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.gaussian_process import kernels as family

from cannery.conversions.onnx.answers import column, exceeds, pair
from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.columns import Block, materialise
from cannery.conversions.onnx.elementary import erf
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.ensembles import total_of
from cannery.conversions.onnx.pairs import Kernel, falling, inner, measured, similarity
from cannery.conversions.onnx.results import Classified, Predicted, Result
from cannery.conversions.onnx.simples import zeros
from cannery.errors import ConversionError

Numbers = NDArray[np.float64]


def _covariance(graph: Graph, kernel: Any, wire: str, points: Numbers) -> str:
    """Return the covariance [N, points] of each row with each point of the training."""
    match kernel:
        case family.Sum():
            parts = [_covariance(graph, k, wire, points) for k in (kernel.k1, kernel.k2)]
            return graph.node("Add", parts)
        case family.Product():
            parts = [_covariance(graph, k, wire, points) for k in (kernel.k1, kernel.k2)]
            return graph.node("Mul", parts)
        case family.Exponentiation():
            made = _covariance(graph, kernel.kernel, wire, points)
            return graph.node("Pow", [made, graph.constant(float(kernel.exponent))])
        case family.ConstantKernel():
            return graph.constant(np.full((1, len(points)), float(kernel.constant_value)))
        case family.WhiteKernel():
            return graph.constant(np.zeros((1, len(points))))
        case family.DotProduct():
            shift = graph.constant(float(kernel.sigma_0**2))
            return graph.node("Add", [inner(graph, wire, points), shift])
        case family.PairwiseKernel():
            return _pairwise(graph, kernel, wire, points)
        case _:
            return _stationary(graph, kernel, wire, points)


def _pairwise(graph: Graph, kernel: Any, wire: str, points: Numbers) -> str:
    if not isinstance(kernel.metric, str) or kernel.pairwise_kernels_kwargs:
        raise ConversionError("its kernel is a function, or has arguments of its own")
    known = Kernel(name=kernel.metric, gamma=float(kernel.gamma), coef0=1.0)
    return similarity(graph, wire, points, known)


def _stationary(graph: Graph, kernel: Any, wire: str, points: Numbers) -> str:
    """Return a covariance that depends on the distance alone."""
    if type(kernel) is family.ExpSineSquared:
        distance = graph.node("Sqrt", [measured(graph, wire, points, 2.0)])
        turned = graph.node("Mul", [distance, graph.constant(np.pi / float(kernel.periodicity))])
        wave = graph.node(
            "Div", [graph.node("Sin", [turned]), graph.constant(float(kernel.length_scale))]
        )
        return falling(graph, graph.node("Mul", [wave, wave]), 2.0)
    if type(kernel) is family.RationalQuadratic:
        width = 2.0 * float(kernel.alpha) * float(kernel.length_scale) ** 2
        away = graph.node("Div", [measured(graph, wire, points, 2.0), graph.constant(width)])
        raised = graph.node("Add", [away, graph.constant(1.0)])
        return graph.node("Pow", [raised, graph.constant(-float(kernel.alpha))])
    if type(kernel) not in (family.RBF, family.Matern):
        raise ConversionError(f"its kernel '{type(kernel).__name__}' is not on the list")
    scale = np.broadcast_to(np.asarray(kernel.length_scale, dtype=float), points.shape[1])
    scaled = graph.node("Div", [wire, graph.constant(scale.reshape(1, -1))])
    squares = measured(graph, scaled, points / scale, 2.0)
    if type(kernel) is family.RBF or kernel.nu == np.inf:
        return falling(graph, squares, 0.5)
    return _matern(graph, float(kernel.nu), graph.node("Sqrt", [squares]))


def _matern(graph: Graph, smoothness: float, distance: str) -> str:
    factors = {0.5: 1.0, 1.5: np.sqrt(3.0), 2.5: np.sqrt(5.0)}
    if smoothness not in factors:
        raise ConversionError(f"its Matern kernel of nu={smoothness} needs Bessel functions")
    scaled = graph.node("Mul", [distance, graph.constant(float(factors[smoothness]))])
    fading = falling(graph, scaled, 1.0)
    if smoothness == 0.5:
        return fading
    growing = graph.node("Add", [scaled, graph.constant(1.0)])
    if smoothness == 2.5:
        third = graph.node("Div", [graph.node("Mul", [scaled, scaled]), graph.constant(3.0)])
        growing = graph.node("Add", [growing, third])
    return graph.node("Mul", [growing, fading])


def _variance(graph: Graph, kernel: Any, wire: str) -> str:
    """Return the covariance of each row with itself, [N, 1] or [1, 1]."""
    match kernel:
        case family.Sum():
            return graph.node("Add", [_variance(graph, k, wire) for k in (kernel.k1, kernel.k2)])
        case family.Product():
            return graph.node("Mul", [_variance(graph, k, wire) for k in (kernel.k1, kernel.k2)])
        case family.Exponentiation():
            made = _variance(graph, kernel.kernel, wire)
            return graph.node("Pow", [made, graph.constant(float(kernel.exponent))])
        case family.ConstantKernel():
            return graph.constant(np.array([[float(kernel.constant_value)]]))
        case family.WhiteKernel():
            return graph.constant(np.array([[float(kernel.noise_level)]]))
        case family.DotProduct():
            own = graph.node("ReduceSumSquare", [wire, graph.constant([1])])
            return graph.node("Add", [own, graph.constant(float(kernel.sigma_0**2))])
        case family.PairwiseKernel() if kernel.metric not in ("rbf", "laplacian"):
            raise ConversionError(f"its kernel of pairs, '{kernel.metric}', is not on the list")
        case _:
            return graph.constant(np.array([[1.0]]))


def _regressor(emitter: Emitter, estimator: Any, block: Block) -> Predicted:
    graph = emitter.graph
    if not hasattr(estimator, "X_train_"):
        raise emitter.refuse(estimator, "it has not seen any row", "fit it first")
    points = np.asarray(estimator.X_train_, dtype=np.float64)
    made = _covariance(graph, estimator.kernel_, materialise(graph, block), points)
    weights = np.asarray(estimator.alpha_, dtype=np.float64).reshape(len(points), -1)
    mean = graph.node("MatMul", [_whole(emitter, block, made), graph.constant(weights)])
    scale = np.broadcast_to(np.asarray(estimator._y_train_std, dtype=float), weights.shape[1])
    shift = np.broadcast_to(np.asarray(estimator._y_train_mean, dtype=float), weights.shape[1])
    scaled = graph.node("Mul", [mean, graph.constant(scale.reshape(1, -1))])
    value = graph.node("Add", [scaled, graph.constant(shift.reshape(1, -1))])
    return Predicted(value=value, columns=weights.shape[1], flat=weights.shape[1] == 1)


def _whole(emitter: Emitter, block: Block, covariance: str) -> str:
    """Return a row for each record, also where the kernel is a constant."""
    return emitter.graph.node("Add", [covariance, zeros(emitter, block)])


def _classifier(emitter: Emitter, estimator: Any, block: Block) -> Result:
    """Emit GaussianProcessClassifier by what it holds: one process, or several against each other."""
    result = emitter.at("base_estimator_").emit(estimator.base_estimator_, block)
    if not isinstance(result, Classified):
        raise emitter.refuse(estimator, "it answers several labels at once")
    return result


def _laplace(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    """Emit one process between two classes: its logistic function averaged by five error functions.

    The approximation of Williams and Barber (1998), which scikit-learn takes.
    """
    from sklearn.gaussian_process._gpc import COEFS, LAMBDAS

    graph, wire = emitter.graph, materialise(emitter.graph, block)
    points = np.asarray(estimator.X_train_, dtype=np.float64)
    made = _whole(emitter, block, _covariance(graph, estimator.kernel_, wire, points))
    weights = (estimator.y_train_ - estimator.pi_).reshape(-1, 1).astype(np.float64)
    mean = graph.node("MatMul", [made, graph.constant(weights)])
    whitened = np.linalg.solve(estimator.L_, np.diag(np.ravel(estimator.W_sr_))).T
    known = graph.node("MatMul", [made, graph.constant(np.ascontiguousarray(whitened))])
    explained = graph.node("ReduceSumSquare", [known, graph.constant([1])])
    variance = graph.node("Sub", [_variance(graph, estimator.kernel_, wire), explained])
    positive = _averaged(graph, mean, variance, (LAMBDAS.ravel(), COEFS.ravel()))
    return Classified(
        classes=estimator.classes_,
        index=exceeds(graph, mean, 0.0),
        probabilities=pair(graph, positive),
    )


def _averaged(graph: Graph, mean: str, variance: str, terms: tuple[Numbers, Numbers]) -> str:
    """Return the probability [N, 1], operation by operation as scikit-learn computes it.

    Rows far from all training are told apart by the last bit.
    """

    def by(operator: str, left: str, right: str | float) -> str:
        return graph.node(
            operator, [left, right if isinstance(right, str) else graph.constant(right)]
        )

    slopes, shares = terms
    alpha = graph.node("Div", [graph.constant(1.0), by("Mul", variance, 2.0)])
    width = graph.node("Sqrt", [graph.node("Div", [graph.constant(np.pi), alpha])])
    area = by("Mul", graph.node("Sqrt", [by("Mul", by("Mul", variance, 2.0), np.pi)]), 2.0)
    row = slopes.reshape(1, -1)
    spread = graph.node("Add", [alpha, graph.constant(row**2)])
    root = graph.node("Sqrt", [graph.node("Div", [alpha, spread])])
    scaled = graph.node("Mul", [mean, graph.constant(row)])
    bent = erf(graph, graph.node("Mul", [scaled, root]))
    halves = graph.node("Div", [graph.node("Mul", [width, bent]), area])
    weighed = graph.node("Mul", [halves, graph.constant(shares.reshape(1, -1))])
    total = total_of(graph, [column(graph, weighed, k) for k in range(len(shares))])
    return by("Add", total, float(0.5 * shares.sum()))


_PLACE = "sklearn.gaussian_process."

TABLE: dict[str, Emit] = {
    _PLACE + "GaussianProcessRegressor": _regressor,
    _PLACE + "GaussianProcessClassifier": _classifier,
    _PLACE + "_gpc._BinaryGaussianProcessClassifierLaplace": _laplace,
}
