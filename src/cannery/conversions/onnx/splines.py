"""Spline bases, by the very operations of scipy: trees behind them ask about the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.columns import Block, materialise, of_wire
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.searches import Rows, count_reached

Numbers = NDArray[np.float64]


def _spline(emitter: Emitter, estimator: Any, block: Block) -> Block:
    graph, kind, splines = emitter.graph, estimator.extrapolation, estimator.bsplines_
    if estimator.degree < {"constant": 1, "linear": 2}.get(kind, 0):
        raise emitter.refuse(
            estimator,
            f"of degree {estimator.degree}, '{kind}' is not the same for all columns",
            "take a higher degree, or extrapolation='continue'",
        )
    given = materialise(graph, block)
    x = _wrapped(emitter, given, splines) if kind == "periodic" else given
    low, high = (graph.constant(ends) for ends in _ends(splines))
    below, above = graph.node("Less", [x, low]), graph.node("Greater", [x, high])
    if kind == "error":  # what it refuses, nobody can take for an answer
        outside = graph.node("Or", [below, above])
        x = graph.node("Where", [outside, graph.constant(np.nan), x])
    if kind in ("constant", "linear"):
        x = graph.node("Where", [above, high, graph.node("Where", [below, low, x])])
    value = _bases(graph, x, splines)
    if kind == "linear":
        for side, (outside, end) in enumerate(((below, low), (above, high))):
            line = _continued(graph, graph.node("Sub", [given, end]), splines, side)
            value = graph.node("Where", [_apart(graph, outside), line, value])
    if getattr(estimator, "handle_missing", "error") == "zeros":
        missing = _apart(graph, graph.node("IsNaN", [given]))
        value = graph.node("Where", [missing, graph.constant(0.0), value])
    bases = splines[0].c.shape[1]
    width = bases * len(splines)
    made = of_wire(graph, graph.node("Reshape", [value, graph.constant([-1, width])]), width)
    kept = [i for i in range(width) if estimator.include_bias or (i + 1) % bases]
    return Block(made.take(kept).columns, sparse=bool(estimator.sparse_output))


def _apart(graph: Graph, wire: str) -> str:
    """Return [N, K, 1] from [N, K]."""
    return graph.node("Unsqueeze", [wire, graph.constant([2])])


def _ends(splines: Any) -> Numbers:
    """Return the knots between which the bases are whole, [2, 1, K]."""
    return np.array([[[s.t[s.k] for s in splines]], [[s.t[-s.k - 1] for s in splines]]])


def _bases(graph: Graph, x: str, splines: Any) -> str:
    """Return the bases [N, K, bases] at numbers [N, K], by de Boor's recursion."""
    k = splines[0].k
    edges = [s.t[k + 1 : -k - 1] for s in splines]
    intervals = len(edges[0]) + 1
    index = count_reached(graph, x, edges) if intervals > 1 else _first(graph, x)
    rows = Rows(graph, index, len(splines), intervals)
    at, x = np.arange(k, k + intervals), _apart(graph, x)
    value = graph.node("Where", [graph.node("IsNaN", [x]), x, graph.constant(1.0)])
    left, right = (graph.constant(np.array(p)) for p in ([0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1]))
    for j in range(1, k + 1):
        places = at[:, None] + np.arange(1, j + 1)
        upper, lower = (np.array([s.t[p] for s in splines]) for p in (places, places - j))
        width = np.where(upper == lower, np.inf, upper - lower)
        share = graph.node("Div", [value, rows.take(width)])
        falling = graph.node("Mul", [share, graph.node("Sub", [rows.take(upper), x])])
        rising = graph.node("Mul", [share, graph.node("Sub", [x, rows.take(lower)])])
        value = graph.node(
            "Add", [graph.node("Pad", [rising, left]), graph.node("Pad", [falling, right])]
        )
    places = at[:, None] + np.arange(-k, 1)
    chosen = rows.take(np.array([s.c[places] for s in splines]))  # [N, K, k + 1, bases]
    met = graph.node("MatMul", [graph.node("Unsqueeze", [value, graph.constant([2])]), chosen])
    return graph.node("Squeeze", [met, graph.constant([2])])


def _first(graph: Graph, x: str) -> str:
    """Return the number of the only interval, 0, for each number."""
    never = graph.node("Less", [x, graph.constant(-np.inf)])
    return graph.node("Cast", [never], to=TensorProto.INT64)


def _continued(graph: Graph, away: str, splines: Any, side: int) -> str:
    """Return what the bases are beyond an end, so far `away` from it: the value and the slope there."""
    ends = [(s.t[s.k], s.t[-s.k - 1])[side] for s in splines]
    values = np.array([[s(end) for s, end in zip(splines, ends, strict=True)]])
    slopes = np.array([[s(end, nu=1) for s, end in zip(splines, ends, strict=True)]])
    steps = graph.node("Mul", [_apart(graph, away), graph.constant(slopes)])
    return graph.node("Add", [graph.constant(values), steps])


def _wrapped(emitter: Emitter, x: str, splines: Any) -> str:
    """Return the numbers moved by whole periods to between the knots, as numpy's remainder does."""
    graph = emitter.graph
    first = np.array([[s.t[s.k] for s in splines]])
    period = np.array([[s.t[-s.k - 1] for s in splines]]) - first
    if not (period > 0).all():
        raise emitter.refuse(splines, "a column was constant when it was fitted")
    period_wire, first_wire = graph.constant(period), graph.constant(first)
    left = graph.node("Mod", [graph.node("Sub", [x, first_wire]), period_wire], fmod=1)
    more = graph.node("Add", [left, period_wire])
    negative = graph.node("Less", [left, graph.constant(0.0)])
    return graph.node("Add", [first_wire, graph.node("Where", [negative, more, left])])


TABLE: dict[str, Emit] = {"sklearn.preprocessing.SplineTransformer": _spline}
