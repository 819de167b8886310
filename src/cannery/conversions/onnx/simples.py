"""Baselines, which answer without looking at a row."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from cannery.conversions.onnx.answers import flat
from cannery.conversions.onnx.builder import CODES
from cannery.conversions.onnx.columns import Block, Column, materialise
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.maps import Clip, Fill
from cannery.conversions.onnx.results import Classified, Predicted, Several


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


def _dummy_classifier(emitter: Emitter, estimator: Any, block: Block) -> Classified | Several:
    if estimator.strategy in ("stratified", "uniform"):
        raise emitter.refuse(estimator, f"strategy '{estimator.strategy}' answers at random")
    if estimator.n_outputs_ == 1:
        constant = np.ravel(estimator.constant)[0]
        told = estimator.classes_, estimator.class_prior_, constant
        return _always(emitter, estimator, block, told)
    constants = np.ravel(estimator.constant)
    constants = np.broadcast_to(constants, len(estimator.classes_))
    each = zip(estimator.classes_, estimator.class_prior_, constants, strict=True)
    return Several(parts=tuple(_always(emitter, estimator, block, told) for told in each))


def _always(
    emitter: Emitter, estimator: Any, block: Block, told: tuple[Any, Any, Any]
) -> Classified:
    """Return the answer by classes, their prior, and the constant where one is asked for."""
    (classes, prior, constant), graph = told, emitter.graph
    chosen = int(np.argmax(prior))
    if estimator.strategy == "constant":
        chosen = list(classes).index(constant)
    row = prior if estimator.strategy == "prior" else np.eye(len(classes))[chosen]
    nought = graph.node("Cast", [flat(graph, zeros(emitter, block))], to=TensorProto.INT64)
    return Classified(
        classes=classes,
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
