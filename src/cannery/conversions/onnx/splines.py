"""Spline bases: on every interval between knots, each basis function is one polynomial."""

from __future__ import annotations

from math import factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cannery.conversions.onnx.columns import Block, materialise, of_wire
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.searches import Rows, count_reached

Numbers = NDArray[np.float64]


def _pieces(spline: Any, extrapolation: str) -> tuple[Numbers, Numbers, Numbers]:
    """Return the edges, and for each interval its origin and the polynomials [powers, bases] in x - origin.

    The first interval lies below the knots, the last above them. Powers descend.
    """
    k, knots = spline.k, spline.t
    first, last = k, len(knots) - k - 1  # the knots between which the basis is whole
    origins = knots[first:last]
    inside = np.stack([spline(origins, nu=p) / factorial(p) for p in range(k, -1, -1)])
    edges = np.concatenate([origins, [np.nextafter(knots[last], np.inf)]])
    below, above = inside[:, :1], inside[:, -1:]
    ends = np.array([knots[first], knots[last]])
    starts = np.concatenate([origins[:1], origins, origins[-1:]])
    if extrapolation in ("constant", "linear"):
        below, above = (_continued(spline, end, extrapolation)[:, None] for end in ends)
        starts = np.concatenate([ends[:1], origins, ends[1:]])
    return edges, starts, np.concatenate([below, inside, above], axis=1).transpose(1, 0, 2)


def _continued(spline: Any, end: float, extrapolation: str) -> Numbers:
    """Return [powers, bases]: the value at the end of the knots, and the slope where it goes on linearly."""
    powers = np.zeros((spline.k + 1, spline.c.shape[1]))
    powers[-1] = spline(end)
    if extrapolation == "linear" and spline.k:
        powers[-2] = spline(end, nu=1)
    return powers


def _spline(emitter: Emitter, estimator: Any, block: Block) -> Block:
    graph, kind = emitter.graph, estimator.extrapolation
    if kind == "error":
        raise emitter.refuse(
            estimator, "it refuses numbers beyond its knots, which a graph can't", "let it continue"
        )
    if estimator.degree < {"constant": 1, "linear": 2}.get(kind, 0):
        raise emitter.refuse(
            estimator,
            f"of degree {estimator.degree}, '{kind}' is not the same for all columns",
            "take a higher degree, or extrapolation='continue'",
        )
    splines, x = estimator.bsplines_, materialise(emitter.graph, block)
    bases = splines[0].c.shape[1]
    wire = _wrapped(emitter, x, splines) if kind == "periodic" else x
    pieces = [_pieces(spline, kind) for spline in splines]
    edges = [p[0] for p in pieces]
    rows = Rows(graph, count_reached(graph, wire, edges), len(splines), len(edges[0]) + 1)
    away = graph.node("Sub", [wire, rows.take([p[1] for p in pieces])])
    away = graph.node("Unsqueeze", [away, graph.constant([2])])
    tables = np.array([p[2] for p in pieces])
    value = rows.take(tables[:, :, 0])
    for power in range(1, tables.shape[2]):
        grown = graph.node("Mul", [value, away])
        value = graph.node("Add", [grown, rows.take(tables[:, :, power])])
    if getattr(estimator, "handle_missing", "error") == "zeros":
        missing = graph.node("Unsqueeze", [graph.node("IsNaN", [x]), graph.constant([2])])
        value = graph.node("Where", [missing, graph.constant(0.0), value])
    width = bases * len(splines)
    made = of_wire(graph, graph.node("Reshape", [value, graph.constant([-1, width])]), width)
    kept = [i for i in range(width) if estimator.include_bias or (i + 1) % bases]
    return Block(made.take(kept).columns, sparse=bool(estimator.sparse_output))


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
