"""Targets that were transformed for training: the prediction, and the way back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cannery.conversions.onnx.answers import column, concat
from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.columns import Block, materialise, of_wire
from cannery.conversions.onnx.elementary import erf
from cannery.conversions.onnx.emitter import Emit, Emitter, qualified_name
from cannery.conversions.onnx.interpolations import interpolate
from cannery.conversions.onnx.maps import FUNCTIONS, Arithmetic, Function, Map
from cannery.conversions.onnx.results import Predicted

_MARGIN = 1e-7
"""How near to 0 and 1 scikit-learn takes a share for it."""
_TINY = float(np.spacing(1.0))


def _transformed_target(emitter: Emitter, estimator: Any, block: Block) -> Predicted:
    predicted = emitter.at("regressor_").regress(estimator.regressor_, block)
    answer = of_wire(emitter.graph, predicted.value, predicted.columns)
    undone = _undo(emitter.at("transformer_"), estimator.transformer_, answer)
    flat = predicted.columns == 1 and getattr(estimator, "_training_dim", 1) == 1
    value = materialise(emitter.graph, undone)
    return Predicted(value=value, columns=predicted.columns, flat=flat)


def _undo(emitter: Emitter, inner: Any, block: Block) -> Block:
    """Return the columns after the inverse of the target's transformation."""
    match qualified_name(type(inner)).removeprefix("sklearn."):
        case "preprocessing.FunctionTransformer":
            return _function(emitter, inner, block)
        case "preprocessing.StandardScaler":
            scale = inner.scale_ if inner.with_std else None
            return _scaled(block, scale, inner.mean_ if inner.with_mean else None)
        case "preprocessing.RobustScaler":
            scale = inner.scale_ if inner.with_scaling else None
            return _scaled(block, scale, inner.center_ if inner.with_centering else None)
        case "preprocessing.MaxAbsScaler":
            return _scaled(block, inner.scale_, None)
        case "preprocessing.MinMaxScaler":
            shifted = _each(block, "Sub", inner.min_)
            return _each(shifted, "Div", inner.scale_)
        case "preprocessing.PowerTransformer":
            return _power(emitter, inner, block)
        case "preprocessing.QuantileTransformer":
            return _quantiles(emitter, inner, block)
        case "pipeline.Pipeline":
            for name, step in reversed(inner.steps):
                if step is not None and step != "passthrough":
                    block = _undo(emitter.at(name), step, block)
            return block
        case _:
            raise emitter.refuse(
                inner, "its inverse is not on the list", "give func and inverse_func of numpy's"
            )


def _each(block: Block, operator: Any, operands: Any) -> Block:
    steps = [Arithmetic(operator, float(v)) for v in np.broadcast_to(operands, len(block))]
    return Block(tuple(c.then(s) for c, s in zip(block.columns, steps, strict=True)))


def _scaled(block: Block, scale: Any, shift: Any) -> Block:
    if scale is not None:
        block = _each(block, "Mul", scale)
    return block if shift is None else _each(block, "Add", shift)


def _function(emitter: Emitter, inner: Any, block: Block) -> Block:
    if inner.inverse_func is None:
        return block
    known = {f: name for name, (f, _, _) in FUNCTIONS.items()}
    name = known.get(inner.inverse_func)
    if name is None or inner.inv_kw_args:
        shown = getattr(inner.inverse_func, "__name__", inner.inverse_func)
        raise emitter.refuse(inner, f"its inverse function {shown!r} is not on the list")
    step: Map = Function(name)
    return Block(tuple(c.then(step) for c in block.columns))


def _power(emitter: Emitter, inner: Any, block: Block) -> Block:
    if inner.standardize:
        block = _scaled(block, inner._scaler.scale_, inner._scaler.mean_)
    graph, wire = emitter.graph, materialise(emitter.graph, block)
    made = _unbox if inner.method == "box-cox" else _unjohnson
    parts = [
        made(graph, column(graph, wire, i), float(exponent))
        for i, exponent in enumerate(inner.lambdas_)
    ]
    return of_wire(graph, concat(graph, parts), len(parts))


def _unbox(graph: Graph, wire: str, exponent: float) -> str:
    """Return (e · x + 1) to the power 1/e, and exp(x) where e is 0."""
    if exponent == 0:
        return graph.node("Exp", [wire])
    raised = graph.node(
        "Add", [graph.node("Mul", [wire, graph.constant(exponent)]), graph.constant(1.0)]
    )
    return graph.node("Pow", [raised, graph.constant(1 / exponent)])


def _unjohnson(graph: Graph, wire: str, exponent: float) -> str:
    one = graph.constant(1.0)
    positive = graph.node("GreaterOrEqual", [wire, graph.constant(0.0)])
    above = _unbox(graph, wire, 0.0 if abs(exponent) < _TINY else exponent)
    other = 2.0 - exponent
    mirrored = graph.node("Neg", [wire])
    below = _unbox(graph, mirrored, 0.0 if abs(other) <= _TINY else other)
    return graph.node(
        "Where", [positive, graph.node("Sub", [above, one]), graph.node("Sub", [one, below])]
    )


def _quantiles(emitter: Emitter, inner: Any, block: Block) -> Block:
    graph, wire = emitter.graph, materialise(emitter.graph, block)
    references = np.asarray(inner.references_, dtype=np.float64)
    normal = inner.output_distribution == "normal"
    if normal:
        wire = _normal_share(graph, wire)
    parts = []
    for i, quantiles in enumerate(np.asarray(inner.quantiles_, dtype=np.float64).T):
        share = column(graph, wire, i)
        made = interpolate(graph, share, references, quantiles)
        if normal:
            made = _bounded(graph, share, made, quantiles)
        parts.append(made)
    return of_wire(graph, concat(graph, parts), len(parts))


def _normal_share(graph: Graph, wire: str) -> str:
    """Return the share of the normal distribution below x."""
    root = graph.node("Mul", [wire, graph.constant(float(np.sqrt(0.5)))])
    raised = graph.node("Add", [erf(graph, root), graph.constant(1.0)])
    return graph.node("Mul", [raised, graph.constant(0.5)])


def _bounded(graph: Graph, share: str, made: str, quantiles: NDArray[np.float64]) -> str:
    """Take a share that is almost 0 or 1 for it."""
    margin = graph.constant(_MARGIN)
    low = graph.node("Less", [graph.node("Sub", [share, margin]), graph.constant(0.0)])
    high = graph.node("Greater", [graph.node("Add", [share, margin]), graph.constant(1.0)])
    made = graph.node("Where", [high, graph.constant(float(quantiles[-1])), made])
    return graph.node("Where", [low, graph.constant(float(quantiles[0])), made])


TABLE: dict[str, Emit] = {"sklearn.compose.TransformedTargetRegressor": _transformed_target}
