"""Maps that bend a column: power transformations, and the quantiles of what was seen in training."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.elementary import expm1, log1p, normal_quantile
from cannery.conversions.onnx.searches import Rows, count_reached

Numbers = NDArray[np.float64]
_EPSILON = float(np.finfo(float).eps)
_MARGIN = 1e-7
"""How near to the lowest and highest quantile scikit-learn takes a number for it."""


@dataclass(frozen=True, slots=True)
class Power:
    """A power transformation, which never decreases."""

    method: Literal["box-cox", "yeo-johnson"]
    exponent: float


@dataclass(frozen=True)
class Quantiles:
    """The share of the training data below x, between 0 and 1, or the normal quantile of it."""

    quantiles: tuple[float, ...]
    """Ascending; equal ones may be among them."""
    references: tuple[float, ...]
    normal: bool

    @cached_property
    def distinct(self) -> Numbers:
        """The quantiles, each once."""
        return np.unique(np.array(self.quantiles))

    @cached_property
    def limits(self) -> tuple[float, float]:
        """Between these the normal quantiles are kept."""
        from scipy.special import ndtri  # scikit-learn's own, which only the worker has

        least = _MARGIN - np.spacing(1)
        return float(ndtri(least)), float(ndtri(1 - least))


def bend(curve: Power | Quantiles, x: Numbers) -> Numbers:
    """Compute with numpy and scipy, as scikit-learn does."""
    if isinstance(curve, Quantiles):
        return _quantiles(curve, x)
    from scipy import special, stats  # scikit-learn's own, which only the worker has

    made = special.boxcox if curve.method == "box-cox" else stats.yeojohnson
    shape = np.shape(x)
    return np.asarray(made(np.ravel(x), curve.exponent), dtype=float).reshape(shape)


def _quantiles(curve: Quantiles, x: Numbers) -> Numbers:
    q, r = np.array(curve.quantiles), np.array(curve.references)
    shares = 0.5 * (np.interp(x, q, r) - np.interp(-x, -q[::-1], -r[::-1]))
    margin = _MARGIN if curve.normal else 0.0
    with np.errstate(invalid="ignore"):
        high = x + margin > q[-1] if curve.normal else x == q[-1]
        low = x - margin < q[0] if curve.normal else x == q[0]
    shares = np.where(low, 0.0, np.where(high, 1.0, shares))
    shares = np.where(np.isnan(x), np.nan, shares)
    if not curve.normal:
        return shares
    from scipy.special import ndtri  # scikit-learn's own, which only the worker has

    return np.asarray(np.clip(ndtri(shares), *curve.limits), dtype=float)


def emit_power(graph: Graph, wire: str, steps: tuple[Power, ...]) -> str:
    """Add the nodes of one power transformation per column; all have the same method."""
    exponents = np.array([s.exponent for s in steps])
    if steps[0].method == "box-cox":
        return _powered(graph, graph.node("Log", [wire]), exponents)
    positive = graph.node("GreaterOrEqual", [wire, graph.constant(0.0)])
    magnitude = log1p(graph, graph.node("Abs", [wire]))
    above = _powered(graph, magnitude, exponents)
    below = graph.node("Neg", [_powered(graph, magnitude, 2.0 - exponents)])
    return graph.node("Where", [positive, above, below])


def _powered(graph: Graph, logarithm: str, exponents: Numbers) -> str:
    """Return (exp(e · l) - 1) / e, and its limit l where e is 0."""
    plain = np.abs(exponents) < _EPSILON
    row = np.where(plain, 1.0, exponents).reshape(1, -1)
    grown = expm1(graph, graph.node("Mul", [logarithm, graph.constant(row)]))
    divided = graph.node("Div", [grown, graph.constant(row)])
    if not plain.any():
        return divided
    return graph.node("Where", [graph.constant(plain.reshape(1, -1)), logarithm, divided])


def emit_quantiles(graph: Graph, wire: str, steps: tuple[Quantiles, ...]) -> str:
    """Add the nodes that interpolate from both sides between the quantiles of each column."""
    found = count_reached(graph, wire, [s.distinct for s in steps])
    size = 1 + max(len(s.distinct) for s in steps)
    rows = Rows(graph, found, len(steps), size)
    tables = np.stack([_table(step, size) for step in steps])
    left, right, start, end, slope, tie = (rows.take(tables[:, i]) for i in range(6))

    def line(away: str, begin: str) -> str:
        return graph.node("Add", [graph.node("Mul", [slope, away]), begin])

    forward = line(graph.node("Sub", [wire, left]), start)
    backward = line(graph.node("Sub", [right, wire]), graph.node("Neg", [end]))
    mean = graph.node("Mul", [graph.constant(0.5), graph.node("Sub", [forward, backward])])
    shares = graph.node("Where", [graph.node("Equal", [wire, left]), tie, mean])
    shares = graph.node("Where", [graph.node("IsNaN", [wire]), wire, shares])
    return _normal(graph, wire, shares, steps) if steps[0].normal else shares


def _table(curve: Quantiles, size: int) -> Numbers:
    """Return [6, size]: for each interval its ends, the shares there, the slope, the share at its start.

    Before the first interval and after the last the slope is 0; the rest repeats the last.
    """
    q, r, ends = np.array(curve.quantiles), np.array(curve.references), curve.distinct
    first = r[np.searchsorted(q, ends, side="left")]
    last = r[np.searchsorted(q, ends, side="right") - 1]
    ties = _quantiles(Quantiles(curve.quantiles, curve.references, normal=False), ends)
    slopes = (first[1:] - last[:-1]) / np.diff(ends) if len(ends) > 1 else np.empty(0)
    table = np.stack(
        [
            np.concatenate([ends[:1] - 1.0, ends]),
            np.concatenate([ends, ends[-1:] + 1.0]),
            np.concatenate([first[:1], last]),
            np.concatenate([first, last[-1:]]),
            np.concatenate([[0.0], slopes, [0.0]]),
            np.concatenate([ties[:1], ties]),
        ]
    )
    return np.concatenate([table, np.repeat(table[:, -1:], size - table.shape[1], axis=1)], axis=1)


def _normal(graph: Graph, wire: str, shares: str, steps: tuple[Quantiles, ...]) -> str:
    margin = graph.constant(_MARGIN)
    low, high = (graph.constant(np.array([[s.quantiles[at] for s in steps]])) for at in (0, -1))
    below = graph.node("Less", [graph.node("Sub", [wire, margin]), low])
    above = graph.node("Greater", [graph.node("Add", [wire, margin]), high])
    least, most = (graph.constant(value) for value in steps[0].limits)
    made = normal_quantile(graph, shares)
    made = graph.node("Where", [graph.node("Less", [made, least]), least, made])
    made = graph.node("Where", [graph.node("Greater", [made, most]), most, made])
    made = graph.node("Where", [above, most, made])
    return graph.node("Where", [below, least, made])


def shape_of(curve: Power | Quantiles) -> tuple[Any, ...]:
    """Return a key that is equal for curves which one node can compute side by side."""
    return (curve.method,) if isinstance(curve, Power) else ("quantiles", curve.normal)
