"""Clusters: the nearest centre, or the likeliest component of a mixture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cannery.conversions.onnx.answers import concat, first_highest
from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.columns import Block, materialise
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.pairs import inner
from cannery.conversions.onnx.results import Classified, Clustered

Numbers = NDArray[np.float64]


def _nearest(graph: Graph, wire: str, centers: Numbers) -> str:
    """Return the centre with the least |c|² - 2·x·c, the first of equals."""
    norms = np.einsum("ij,ij->i", centers, centers).reshape(1, -1)
    distances = graph.node("Add", [inner(graph, wire, -2.0 * centers), graph.constant(norms)])
    return graph.node("ArgMin", [distances], axis=1, keepdims=0)


def _nearest_center(emitter: Emitter, estimator: Any, block: Block) -> Clustered:
    centers = np.asarray(estimator.cluster_centers_, dtype=float)
    if not len(centers):
        raise emitter.refuse(estimator, "it found no cluster")
    return Clustered(index=_nearest(emitter.graph, materialise(emitter.graph, block), centers))


def _birch(emitter: Emitter, estimator: Any, block: Block) -> Clustered:
    graph, x = emitter.graph, materialise(emitter.graph, block)
    nearest = _nearest(graph, x, np.asarray(estimator.subcluster_centers_, dtype=float))
    labels = graph.constant(np.asarray(estimator.subcluster_labels_, dtype=np.int64))
    return Clustered(index=graph.node("Gather", [labels, nearest]))


def _bisecting(emitter: Emitter, estimator: Any, block: Block) -> Clustered:
    """Go down the tree of bisections to the cluster at its end."""
    graph, x = emitter.graph, materialise(emitter.graph, block)
    shift = np.asarray(getattr(estimator, "_X_mean", 0.0), dtype=float)

    def under(node: Any) -> str:
        if node.left is None:
            return graph.constant(np.int64(node.label))
        pair = np.stack([node.left.center, node.right.center]) + shift
        right = graph.node("Equal", [_nearest(graph, x, pair), graph.constant(1)])
        return graph.node("Where", [right, under(node.right), under(node.left)])

    root = estimator._bisecting_tree
    if root.left is None:
        raise emitter.refuse(estimator, "it has a single cluster")
    return Clustered(index=under(root))


def _mixture(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    """Emit a Gaussian mixture: the likeliest component, and the probability of each."""
    graph, x = emitter.graph, materialise(emitter.graph, block)
    distances = _mahalanobis(graph, estimator, x)
    still = np.zeros((1, estimator.n_features_in_))
    constants = estimator._estimate_log_prob(still) + estimator._estimate_log_weights()
    constants = constants + 0.5 * _squares(estimator, still)
    halved = graph.node("Mul", [distances, graph.constant(-0.5)])
    joint = graph.node("Add", [halved, graph.constant(constants)])
    return Classified(
        classes=np.arange(len(estimator.means_)),
        index=first_highest(graph, joint),
        probabilities=_shares(graph, joint),
    )


def _shares(graph: Graph, joint: str) -> str:
    """Return the share of each component in scikit-learn's order: so far out that digits are lost, they sum to more than 1."""
    axis = graph.constant([1])
    highest = graph.node("ReduceMax", [joint, axis])
    rest = graph.node("Exp", [graph.node("Sub", [joint, highest])])
    more = graph.node("Log", [graph.node("ReduceSum", [rest, axis])])
    total = graph.node("Add", [highest, more])
    return graph.node("Exp", [graph.node("Sub", [joint, total])])


def _factors(estimator: Any) -> list[Numbers]:
    """Return, for each component, the matrix by which (x - mean) becomes a plain distance."""
    given, kind = np.asarray(estimator.precisions_cholesky_, dtype=float), estimator.covariance_type
    size, count = estimator.means_.shape[1], len(estimator.means_)
    match kind:
        case "full":
            return list(given)
        case "tied":
            return [given] * count
        case "diag":
            return [np.diag(row) for row in given]
        case _:
            return [np.eye(size) * value for value in given]


def _squares(estimator: Any, rows: Numbers) -> Numbers:
    """Return the squared distances [rows, components] with numpy."""
    pairs = zip(estimator.means_, _factors(estimator), strict=True)
    return np.stack(
        [((rows @ factor - mean @ factor) ** 2).sum(axis=1) for mean, factor in pairs], axis=1
    )


def _mahalanobis(graph: Graph, estimator: Any, x: str) -> str:
    """Return the squared distances [N, components] to the means, each by its own factor."""
    parts = []
    for mean, factor in zip(estimator.means_, _factors(estimator), strict=True):
        if estimator.covariance_type in ("diag", "spherical"):
            away = graph.node("Sub", [x, graph.constant(np.reshape(mean, (1, -1)))])
            turned = graph.node("Mul", [away, graph.constant(np.diag(factor).reshape(1, -1))])
        else:  # in scikit-learn's order: of huge numbers it leaves what this leaves
            turned = graph.node("MatMul", [x, graph.constant(np.ascontiguousarray(factor))])
            shift = np.reshape(mean @ factor, (1, -1))
            turned = graph.node("Sub", [turned, graph.constant(shift)])
        parts.append(graph.node("ReduceSumSquare", [turned, graph.constant([1])]))
    return concat(graph, parts)


TABLE: dict[str, Emit] = {
    **{
        f"sklearn.cluster.{name}": _nearest_center
        for name in ("AffinityPropagation", "KMeans", "MeanShift", "MiniBatchKMeans")
    },
    "sklearn.cluster.Birch": _birch,
    "sklearn.cluster.BisectingKMeans": _bisecting,
    "sklearn.mixture.GaussianMixture": _mixture,
    "sklearn.mixture.BayesianGaussianMixture": _mixture,
}
