"""Ridge regression and components of kernels, and the feature maps that stand for kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.columns import Block, join, materialise, of_wire
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.pairs import Kernel, dense, similarity
from cannery.conversions.onnx.results import Predicted


def _similarity(emitter: Emitter, estimator: Any, block: Block, points: Any, gamma: Any) -> str:
    if not isinstance(estimator.kernel, str) or estimator.kernel_params:
        raise emitter.refuse(estimator, "its kernel is a function, or has 'kernel_params'")
    kept = dense(points)
    known = Kernel(
        name=estimator.kernel,
        gamma=1.0 / kept.shape[1] if gamma is None else float(gamma),
        coef0=1.0 if estimator.coef0 is None else float(estimator.coef0),
        degree=3.0 if estimator.degree is None else float(estimator.degree),
    )
    return similarity(emitter.graph, materialise(emitter.graph, block), kept, known)


def _kernel_ridge(emitter: Emitter, estimator: Any, block: Block) -> Predicted:
    made = _similarity(emitter, estimator, block, estimator.X_fit_, estimator.gamma)
    weights = np.asarray(estimator.dual_coef_, dtype=float)
    rows = weights.reshape(len(weights), -1)
    value = emitter.graph.node("MatMul", [made, emitter.graph.constant(rows)])
    return Predicted(value=value, columns=rows.shape[1], flat=weights.ndim == 1)


def _kernel_pca(emitter: Emitter, estimator: Any, block: Block) -> Block:
    graph, center = emitter.graph, estimator._centerer
    gamma = getattr(estimator, "gamma_", estimator.gamma)
    gram = _similarity(emitter, estimator, block, estimator.X_fit_, gamma)
    mean = graph.node("ReduceMean", [gram, graph.constant([1])])
    centred = graph.node("Sub", [gram, graph.constant(np.reshape(center.K_fit_rows_, (1, -1)))])
    centred = graph.node("Sub", [centred, mean])
    centred = graph.node("Add", [centred, graph.constant(float(center.K_fit_all_))])
    vectors = np.zeros_like(estimator.eigenvectors_)
    kept = np.flatnonzero(estimator.eigenvalues_)
    vectors[:, kept] = estimator.eigenvectors_[:, kept] / np.sqrt(estimator.eigenvalues_[kept])
    wire = graph.node("MatMul", [centred, graph.constant(np.ascontiguousarray(vectors))])
    return of_wire(graph, wire, vectors.shape[1])


def _nystroem(emitter: Emitter, estimator: Any, block: Block) -> Block:
    graph, matrix = emitter.graph, np.asarray(estimator.normalization_, dtype=float)
    gram = _similarity(emitter, estimator, block, estimator.components_, estimator.gamma)
    wire = graph.node("MatMul", [gram, graph.constant(np.ascontiguousarray(matrix.T))])
    return of_wire(graph, wire, len(matrix))


def _cosines(emitter: Emitter, estimator: Any, x: str) -> Block:
    """Return the cosines of random projections."""
    graph, weights = emitter.graph, np.asarray(estimator.random_weights_, dtype=float)
    product = graph.node("MatMul", [x, graph.constant(np.ascontiguousarray(weights))])
    offset = np.reshape(estimator.random_offset_, (1, -1)).astype(float)
    waves = graph.node("Cos", [graph.node("Add", [product, graph.constant(offset)])])
    scale = graph.constant(float((2.0 / weights.shape[1]) ** 0.5))
    return of_wire(graph, graph.node("Mul", [waves, scale]), weights.shape[1])


def _rbf_sampler(emitter: Emitter, estimator: Any, block: Block) -> Block:
    return _cosines(emitter, estimator, materialise(emitter.graph, block))


def _skewed(emitter: Emitter, estimator: Any, block: Block) -> Block:
    graph = emitter.graph
    skewness = graph.constant(float(estimator.skewedness))
    moved = graph.node("Add", [materialise(graph, block), skewness])
    return _cosines(emitter, estimator, graph.node("Log", [moved]))


def _additive(emitter: Emitter, estimator: Any, block: Block) -> Block:
    graph, x = emitter.graph, materialise(emitter.graph, block)
    interval = estimator.sample_interval or {1: 0.8, 2: 0.5, 3: 0.4}[estimator.sample_steps]
    zero = graph.node("Equal", [x, graph.constant(0.0)])
    whole = graph.node("Where", [zero, graph.constant(1.0), x])
    turn = graph.node("Mul", [graph.node("Log", [whole]), graph.constant(float(interval))])
    wires = [graph.node("Sqrt", [graph.node("Mul", [whole, graph.constant(float(interval))])])]
    for step in range(1, estimator.sample_steps):
        double = graph.node("Mul", [whole, graph.constant(2.0)])
        share = graph.node("Mul", [double, graph.constant(float(interval))])
        damped = graph.constant(float(np.cosh(np.pi * step * interval)))
        factor = graph.node("Sqrt", [graph.node("Div", [share, damped])])
        angle = graph.node("Mul", [turn, graph.constant(float(step))])
        wires += [graph.node("Mul", [factor, graph.node(f, [angle])]) for f in ("Cos", "Sin")]
    kept = (graph.node("Where", [zero, graph.constant(0.0), wire]) for wire in wires)
    return join([of_wire(graph, wire, len(block)) for wire in kept], sparse=block.sparse)


def _count_sketch(emitter: Emitter, estimator: Any, block: Block) -> Block:
    """Emit the circular convolution of several sketches, by their Fourier transforms."""
    graph, size = emitter.graph, int(estimator.n_components)
    x = materialise(graph, block)
    x = graph.node("Mul", [x, graph.constant(float(np.sqrt(estimator.gamma)))])
    angles = 2.0 * np.pi * (np.outer(np.arange(size), np.arange(size)) % size) / size
    cosine, sine = np.cos(angles), np.sin(angles)
    real = imaginary = ""
    for hashes, bits in zip(estimator.indexHash_, estimator.bitHash_, strict=True):
        matrix = np.zeros((len(hashes), size))
        matrix[np.arange(len(hashes)), hashes] = bits
        sketch = graph.node("MatMul", [x, graph.constant(matrix[: len(block)])])
        if len(hashes) > len(block):
            constant = np.sqrt(estimator.coef0) * matrix[-1:]
            sketch = graph.node("Add", [sketch, graph.constant(constant)])
        ours = [graph.node("MatMul", [sketch, graph.constant(m)]) for m in (cosine, -sine)]
        real, imaginary = _times(graph, (real, imaginary), (ours[0], ours[1]))
    parts = [
        graph.node("MatMul", [wire, graph.constant(m)])
        for wire, m in ((real, cosine / size), (imaginary, sine / size))
    ]
    return of_wire(graph, graph.node("Sub", parts), size)


def _times(graph: Graph, a: tuple[str, str], b: tuple[str, str]) -> tuple[str, str]:
    """Multiply two complex numbers; an empty one is 1."""
    if not a[0]:
        return b
    products = {(i, j): graph.node("Mul", [a[i], b[j]]) for i in (0, 1) for j in (0, 1)}
    return (
        graph.node("Sub", [products[0, 0], products[1, 1]]),
        graph.node("Add", [products[0, 1], products[1, 0]]),
    )


TABLE: dict[str, Emit] = {
    "sklearn.kernel_ridge.KernelRidge": _kernel_ridge,
    "sklearn.decomposition.KernelPCA": _kernel_pca,
    "sklearn.kernel_approximation.AdditiveChi2Sampler": _additive,
    "sklearn.kernel_approximation.Nystroem": _nystroem,
    "sklearn.kernel_approximation.PolynomialCountSketch": _count_sketch,
    "sklearn.kernel_approximation.RBFSampler": _rbf_sampler,
    "sklearn.kernel_approximation.SkewedChi2Sampler": _skewed,
}
