"""Histogram gradient boosting of scikit-learn: doubles are compared as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cannery.conversions.onnx.answers import both, exceeds, first_highest, softmax
from cannery.conversions.onnx.columns import Block, Column, join
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.forests import emit_trees
from cannery.conversions.onnx.layouts import Tree
from cannery.conversions.onnx.maps import Table
from cannery.conversions.onnx.results import Classified, Predicted


def _tree(nodes: NDArray[Any], values: NDArray[np.float64]) -> Tree:
    leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        feature=np.where(leaf, 0, nodes["feature_idx"]).astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        values=values,
    )


def _raw(emitter: Emitter, estimator: Any, block: Block) -> str:
    """Return the raw predictions [N, k]; the baseline goes into the leaves of the first trees."""
    if estimator.is_categorical_ is not None and np.any(estimator.is_categorical_):
        block = _remapped(emitter, estimator, block)
    count = int(estimator.n_trees_per_iteration_)
    start = np.broadcast_to(np.asarray(estimator._baseline_prediction, dtype=float).ravel(), count)
    extra: list[Column] = []
    trees = []
    for position, stage in enumerate(estimator._predictors):
        for k, predictor in enumerate(stage):
            nodes = predictor.nodes
            values = np.zeros((len(nodes), count))
            values[:, k] = nodes["value"] + (start[k] if position == 0 else 0.0)
            tree = _tree(nodes, values)
            if nodes["is_categorical"].any():
                tree = _categorical(estimator, predictor, tree, block, extra)
            trees.append(tree)
    wide = join([block, Block(tuple(extra))])
    return emit_trees(emitter.graph, wide, trees, single=False, refuses_missing=False)


def _remapped(emitter: Emitter, estimator: Any, block: Block) -> Block:
    """Return the columns as the estimator's own preprocessor orders and encodes them."""
    preprocessor = getattr(estimator, "_preprocessor", None)
    if preprocessor is None:
        raise emitter.refuse(
            estimator,
            "before scikit-learn 1.4, categories are told apart modulo 256",
            "fit it with a newer scikit-learn",
        )
    encoder = preprocessor.named_transformers_["encoder"]
    chosen = np.flatnonzero(estimator.is_categorical_).tolist()
    others = np.flatnonzero(~estimator.is_categorical_).tolist()
    encoded = emitter.at("encoder").transform(encoder, block.take(chosen))
    return join([encoded, block.take(others)])


def _categorical(
    estimator: Any, predictor: Any, tree: Tree, block: Block, extra: list[Column]
) -> Tree:
    """Turn each categorical split into a numeric one on a column of its own that tells the side."""
    nodes, feature, threshold = predictor.nodes, tree.feature.copy(), tree.threshold.copy()
    for at in np.flatnonzero(nodes["is_categorical"] & ~nodes["is_leaf"].astype(bool)):
        node = nodes[at]
        known = [float(v) for v in estimator._bin_mapper.bin_thresholds_[node["feature_idx"]]]
        left = _bits(predictor.raw_left_cat_bitsets[node["bitset_idx"]])
        sides = tuple(0.0 if int(v) in left else 1.0 for v in known)
        other = 0.0 if node["missing_go_to_left"] else 1.0
        column = block.columns[int(node["feature_idx"])]
        extra.append(column.then(Table(tuple(known), sides, other)))
        feature[at], threshold[at] = len(block) + len(extra) - 1, 0.5
    return replace(tree, feature=feature, threshold=threshold)


def _bits(words: NDArray[np.uint32]) -> set[int]:
    """Return the numbers of the bits that are set."""
    return {32 * i + b for i, word in enumerate(words) for b in range(32) if int(word) >> b & 1}


def _classifier(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    graph, raw = emitter.graph, _raw(emitter, estimator, block)
    binary = int(estimator.n_trees_per_iteration_) == 1
    return Classified(
        classes=estimator.classes_,
        index=exceeds(graph, raw, 0.0) if binary else first_highest(graph, raw),
        probabilities=both(graph, raw) if binary else softmax(graph, raw),
        scores=raw,
    )


def _regressor(emitter: Emitter, estimator: Any, block: Block) -> Predicted:
    raw = _raw(emitter, estimator, block)
    link = type(estimator._loss.link).__name__
    if link not in ("IdentityLink", "LogLink"):
        raise emitter.refuse(estimator, f"its link {link} is not known")
    return Predicted(value=emitter.graph.node("Exp", [raw]) if link == "LogLink" else raw)


TABLE: dict[str, Emit] = {
    "sklearn.ensemble.HistGradientBoostingClassifier": _classifier,
    "sklearn.ensemble.HistGradientBoostingRegressor": _regressor,
}
