"""Rows described by the clusters they lie near, or by the leaves they fall into."""

from __future__ import annotations

from typing import Any

import numpy as np

from cannery.conversions.onnx.columns import Block, materialise, of_wire
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.encoders import one_hot
from cannery.conversions.onnx.forests import emit_trees
from cannery.conversions.onnx.pairs import dense, squared
from cannery.conversions.onnx.trees import tree_of


def _distances(emitter: Emitter, estimator: Any, block: Block) -> Block:
    """Emit the distance to every center."""
    graph = emitter.graph
    centers = getattr(estimator, "cluster_centers_", None)
    centers = estimator.subcluster_centers_ if centers is None else centers
    distances = squared(graph, materialise(graph, block), dense(centers))
    return of_wire(graph, graph.node("Sqrt", [distances]), len(centers))


def _leaves(emitter: Emitter, estimator: Any, block: Block) -> Block:
    """Emit one indicator for each leaf of each tree: the number of the leaf, encoded."""
    members = estimator.estimators_
    trees = []
    for i, member in enumerate(members):
        nodes = member.tree_.node_count
        values = np.zeros((nodes, len(members)))
        values[:, i] = np.arange(nodes)
        trees.append(tree_of(member.tree_, values))
    numbers = emit_trees(emitter.graph, block, trees, single=True, refuses_missing=True)
    leaves = of_wire(emitter.graph, numbers, len(members))
    return one_hot(emitter, estimator.one_hot_encoder_, leaves)


_CLUSTERS = ("Birch", "BisectingKMeans", "KMeans", "MiniBatchKMeans")

TABLE: dict[str, Emit] = {
    **{f"sklearn.cluster.{name}.transform": _distances for name in _CLUSTERS},
    "sklearn.ensemble.RandomTreesEmbedding": _leaves,
}
