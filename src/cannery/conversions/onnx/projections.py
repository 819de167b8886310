"""Projections: principal, independent and discriminant components, random and pooled ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.columns import Block, materialise, of_wire
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.pairs import dense


def _projected(
    graph: Graph, block: Block, matrix: Any, *, mean: Any = None, scale: Any = None
) -> Block:
    """Return the columns of (x - mean) / scale @ matrix."""
    x, weights = materialise(graph, block), dense(matrix)
    if mean is not None:
        x = graph.node("Sub", [x, graph.constant(np.reshape(mean, (1, -1)).astype(float))])
    if scale is not None:
        x = graph.node("Div", [x, graph.constant(np.reshape(scale, (1, -1)).astype(float))])
    product = graph.node("MatMul", [x, graph.constant(np.ascontiguousarray(weights))])
    return of_wire(graph, product, weights.shape[1])


def _pca(emitter: Emitter, estimator: Any, block: Block) -> Block:
    graph, components = emitter.graph, np.asarray(estimator.components_, dtype=float)
    x = materialise(graph, block)
    projected = graph.node("MatMul", [x, graph.constant(np.ascontiguousarray(components.T))])
    shift = np.reshape(estimator.mean_, (1, -1)) @ components.T
    projected = graph.node("Sub", [projected, graph.constant(shift)])
    if estimator.whiten:
        scale = np.sqrt(estimator.explained_variance_)
        scale = np.maximum(scale, np.finfo(scale.dtype).eps)
        projected = graph.node("Div", [projected, graph.constant(scale.reshape(1, -1))])
    return of_wire(graph, projected, len(components))


def _components(emitter: Emitter, estimator: Any, block: Block) -> Block:
    """Emit what multiplies by its components as they are."""
    made = _projected(emitter.graph, block, dense(estimator.components_).T)
    keeps = type(estimator).__name__ == "SparseRandomProjection" and not estimator.dense_output
    return Block(made.columns, sparse=block.sparse and keeps)


def _factors(emitter: Emitter, estimator: Any, block: Block) -> Block:
    components = np.asarray(estimator.components_, dtype=float)
    weighted = components / estimator.noise_variance_
    covariance = np.linalg.inv(np.eye(len(components)) + weighted @ components.T)
    return _projected(emitter.graph, block, weighted.T @ covariance, mean=estimator.mean_)


def _independent(emitter: Emitter, estimator: Any, block: Block) -> Block:
    mean = estimator.mean_ if estimator.whiten else None
    return _projected(emitter.graph, block, np.asarray(estimator.components_).T, mean=mean)


def _sparse_components(emitter: Emitter, estimator: Any, block: Block) -> Block:
    """Emit ridge regression on the components: one matrix, whatever the rows."""
    components = np.asarray(estimator.components_, dtype=float)
    gram = components @ components.T + estimator.ridge_alpha * np.eye(len(components))
    matrix = np.linalg.solve(gram, components).T
    return _projected(emitter.graph, block, matrix, mean=estimator.mean_)


def _discriminants(emitter: Emitter, estimator: Any, block: Block) -> Block:
    if estimator.solver == "lsqr":
        raise emitter.refuse(estimator, "with the solver 'lsqr' it transforms nothing")
    mean = estimator.xbar_ if estimator.solver == "svd" else None
    kept = estimator.scalings_[:, : estimator._max_components]
    return _projected(emitter.graph, block, kept, mean=mean)


def _scores(emitter: Emitter, estimator: Any, block: Block) -> Block:
    """Emit the scores of partial least squares."""
    mean, scale = estimator._x_mean, estimator._x_std
    return _projected(emitter.graph, block, estimator.x_weights_, mean=mean, scale=scale)


def _pooled(emitter: Emitter, estimator: Any, block: Block) -> Block:
    if estimator.pooling_func is not np.mean:
        raise emitter.refuse(estimator, "its columns are not pooled by numpy's mean")
    sizes = np.bincount(estimator.labels_)
    graph = emitter.graph
    chosen = np.eye(len(sizes))[estimator.labels_]
    sums = _projected(graph, block, chosen)
    wire = graph.node("Div", [materialise(graph, sums), graph.constant(sizes[None].astype(float))])
    return of_wire(graph, wire, len(sizes))


def _hidden(emitter: Emitter, estimator: Any, block: Block) -> Block:
    """Emit the mean activations of a restricted Boltzmann machine."""
    graph, components = emitter.graph, np.asarray(estimator.components_, dtype=float)
    product = materialise(graph, _projected(graph, block, components.T))
    shift = np.reshape(estimator.intercept_hidden_, (1, -1)).astype(float)
    wire = graph.node("Sigmoid", [graph.node("Add", [product, graph.constant(shift)])])
    return of_wire(graph, wire, len(components))


TABLE: dict[str, Emit] = {
    "sklearn.decomposition.PCA": _pca,
    "sklearn.decomposition.IncrementalPCA": _pca,
    "sklearn.decomposition.TruncatedSVD": _components,
    "sklearn.decomposition.FactorAnalysis": _factors,
    "sklearn.decomposition.FastICA": _independent,
    "sklearn.decomposition.SparsePCA": _sparse_components,
    "sklearn.decomposition.MiniBatchSparsePCA": _sparse_components,
    "sklearn.random_projection.GaussianRandomProjection": _components,
    "sklearn.random_projection.SparseRandomProjection": _components,
    "sklearn.neighbors.NeighborhoodComponentsAnalysis": _components,
    "sklearn.neural_network.BernoulliRBM": _hidden,
    "sklearn.cluster.FeatureAgglomeration": _pooled,
    "sklearn.discriminant_analysis.LinearDiscriminantAnalysis.transform": _discriminants,
    "sklearn.cross_decomposition.PLSSVD": _scores,
}
