"""Baselines, which answer without looking at a row."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from cannery.conversions.onnx.builder import CODES
from cannery.conversions.onnx.columns import Block, Column, materialise
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.maps import Clip, Fill
from cannery.conversions.onnx.results import Classified, Predicted


def zeros(emitter: Emitter, block: Block) -> str:
    """Return [N, 1] zeros, whatever the first column holds."""
    first = block.columns[0]
    if first.kind == "string":
        first = Column(wire=CODES, index=first.index)
    nothing = (Fill(0.0), Clip(0.0, 0.0))
    return materialise(
        emitter.graph, Block((Column(wire=first.wire, index=first.index, maps=nothing),))
    )


def _repeated(emitter: Emitter, block: Block, row: Any) -> str:
    """Return [N, k]: the same row for every record."""
    values = np.asarray(row, dtype=float).reshape(1, -1)
    return emitter.graph.node("Add", [zeros(emitter, block), emitter.graph.constant(values)])


def _dummy_classifier(emitter: Emitter, estimator: Any, block: Block) -> Classified:
    graph, strategy = emitter.graph, estimator.strategy
    if estimator.n_outputs_ != 1 or strategy in ("stratified", "uniform"):
        raise emitter.refuse(
            estimator, f"strategy '{strategy}' answers at random or several labels"
        )
    count = len(estimator.classes_)
    chosen = int(np.argmax(estimator.class_prior_))
    if strategy == "constant":
        chosen = list(estimator.classes_).index(np.ravel(estimator.constant)[0])
    row = estimator.class_prior_ if strategy == "prior" else np.eye(count)[chosen]
    nought = graph.node(
        "Cast",
        [graph.node("Squeeze", [zeros(emitter, block), graph.constant([1])])],
        to=TensorProto.INT64,
    )
    return Classified(
        classes=estimator.classes_,
        index=graph.node("Add", [nought, graph.constant(chosen)]),
        probabilities=_repeated(emitter, block, row),
    )


def _dummy_regressor(emitter: Emitter, estimator: Any, block: Block) -> Predicted:
    outputs = int(estimator.n_outputs_)
    value = _repeated(emitter, block, estimator.constant_)
    return Predicted(value=value, columns=outputs, flat=outputs == 1)


TABLE: dict[str, Emit] = {
    "sklearn.dummy.DummyClassifier": _dummy_classifier,
    "sklearn.dummy.DummyRegressor": _dummy_regressor,
}
