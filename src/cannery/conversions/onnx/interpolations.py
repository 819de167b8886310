"""Lines between knots: isotonic regression, and whatever else is interpolated."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.columns import Block, materialise
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.maps import Clip, emit
from cannery.conversions.onnx.results import Predicted
from cannery.conversions.onnx.searches import count_reached

Numbers = NDArray[np.float64]
Singles = NDArray[np.float32]


def interpolate(graph: Graph, wire: str, x: Numbers, y: Numbers) -> str:
    """Interpolate [N, 1] as numpy does: find the last knot reached, then go on by its slope.

    Outside of the knots the first and the last answer.
    """
    if len(x) == 1:
        x, y = np.array([x[0], x[0] + 1.0]), np.array([y[0], y[0]])
    slopes = np.append(np.diff(y) / np.diff(x), 0.0)
    clipped = emit(graph, wire, (Clip(float(x[0]), float(x[-1])),))
    knot = count_reached(graph, clipped, [x[1:]])
    beyond = graph.node("Sub", [clipped, graph.node("Gather", [graph.constant(x), knot])])
    risen = graph.node("Mul", [graph.node("Gather", [graph.constant(slopes), knot]), beyond])
    return graph.node("Add", [risen, graph.node("Gather", [graph.constant(y), knot])])


def _in_singles(graph: Graph, wire: str, x: Singles, y: Singles) -> str:
    """Interpolate [N, 1] as scipy does in float32: on to a knot by the slope before it, rounding each step."""
    if len(x) == 1:
        x, y = np.append(x, x + 1), np.append(y, y)
    clipped = emit(graph, wire, (Clip(float(x[0]), float(x[-1])),))
    passed = np.nextafter(x[1:-1].astype(np.float64), np.inf)
    interval = count_reached(graph, clipped, [passed])
    slope, start, height = (
        graph.node("Gather", [graph.constant(table), interval])
        for table in (np.diff(y) / np.diff(x), x[:-1], y[:-1])
    )
    away = graph.node("Sub", [graph.node("Cast", [clipped], to=TensorProto.FLOAT), start])
    made = graph.node("Add", [graph.node("Mul", [slope, away]), height])
    return graph.node("Cast", [made], to=TensorProto.DOUBLE)


def isotonic(emitter: Emitter, regression: Any, score: str) -> str:
    """Return the answer [N, 1] of an isotonic regression to a score [N, 1]."""
    graph = emitter.graph
    x, y = np.asarray(regression.X_thresholds_), np.asarray(regression.y_thresholds_)
    if x.dtype == y.dtype == np.float32:  # of XGBoost's probabilities
        score = graph.node("Cast", [score], to=TensorProto.FLOAT)
        score = graph.node("Cast", [score], to=TensorProto.DOUBLE)
        made = _in_singles(graph, score, x, y)
    else:
        made = interpolate(graph, score, x.astype(float), y.astype(float))
    match regression.out_of_bounds:
        case "clip":
            return made
        case "nan" if len(x) == 1:  # a constant, whatever the score
            return made
        case "nan":
            below = graph.node("Less", [score, graph.constant(float(x[0]))])
            above = graph.node("Greater", [score, graph.constant(float(x[-1]))])
            outside = graph.node("Or", [below, above])
            return graph.node("Where", [outside, graph.constant(np.nan), made])
        case _:
            raise emitter.refuse(
                regression,
                "it refuses numbers outside of its knots, which a graph can't",
                "fit it with out_of_bounds='clip'",
            )


def _regressor(emitter: Emitter, estimator: Any, block: Block) -> Predicted:
    score = materialise(emitter.graph, block)
    return Predicted(value=isotonic(emitter, estimator, score))


TABLE: dict[str, Emit] = {"sklearn.isotonic.IsotonicRegression": _regressor}
