"""Labels spread from a few rows to all: a row takes the shares of those that are like it."""

from __future__ import annotations

from typing import Any

import numpy as np

from cannery.conversions.onnx.answers import by_highest
from cannery.conversions.onnx.columns import Block, materialise
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.neighbors import nearest
from cannery.conversions.onnx.pairs import Kernel, dense, similarity
from cannery.conversions.onnx.results import Classified


def _propagated(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    graph = emitter.graph
    shares = np.asarray(estimator.label_distributions_, dtype=np.float64)
    if estimator.kernel == "rbf":
        kernel = Kernel(name="rbf", gamma=float(estimator.gamma))
        alike = similarity(graph, materialise(graph, block), dense(estimator.X_), kernel)
        total = graph.node("MatMul", [alike, graph.constant(shares)])
    elif estimator.kernel == "knn":
        count = int(estimator.n_neighbors)
        _, places = nearest(emitter, estimator.nn_fit, block, count, shares)
        chosen = graph.node("Gather", [graph.constant(shares), places])
        total = graph.node("ReduceSum", [chosen, graph.constant([1])], keepdims=0)
    else:
        raise emitter.refuse(estimator, "its kernel is a function")
    whole = graph.node("ReduceSum", [total, graph.constant([1])])
    return by_highest(graph, estimator.classes_, graph.node("Div", [total, whole]))


TABLE: dict[str, Emit] = {
    "sklearn.semi_supervised.LabelPropagation": _propagated,
    "sklearn.semi_supervised.LabelSpreading": _propagated,
}
