"""What is done to one number on its way through a pipeline, kept as data until it must be computed.

A column remembers its maps instead of computing them at once. Columns that take the same kinds of
map are then computed by one node with a row of operands, and a tree can take a whole chain of them
into its thresholds (`folds`), so that none is left to compute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from cannery.conversions.onnx import curves, elementary
from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.curves import Power, Quantiles

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`x <operator> operand`, in double."""

    operator: Literal["Add", "Sub", "Mul", "Div"]
    operand: float


@dataclass(frozen=True, slots=True)
class Clip:
    """The nearest number within [low, high]; NaN stays NaN."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Fill:
    """`value` in place of NaN."""

    value: float


@dataclass(frozen=True, slots=True)
class Replace:
    """`value` in place of `old`."""

    old: float
    value: float


@dataclass(frozen=True, slots=True)
class Drop:
    """NaN in place of every number within [low, high]."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Function:
    """A function of numpy's, by its name in `FUNCTIONS`."""

    name: str


@dataclass(frozen=True, slots=True)
class Above:
    """1 where x > threshold, else 0."""

    threshold: float


@dataclass(frozen=True, slots=True)
class Bins:
    """How many of the ascending edges are at most x."""

    edges: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Missing:
    """1 where x is NaN, else 0."""


@dataclass(frozen=True, slots=True)
class Is:
    """1 where x is one of the values (NaN is equal to NaN here), else 0."""

    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """The value that belongs to x (NaN is equal to NaN here), or the default."""

    keys: tuple[float, ...]
    values: tuple[float, ...]
    default: float


Map = (
    Arithmetic | Clip | Fill | Replace | Drop | Function | Above | Bins | Missing | Is | Table
    | Power | Quantiles
)  # fmt: skip

FUNCTIONS: dict[str, tuple[Any, bool, bool]] = {
    # name: (numpy's function, whether it never decreases, whether every number has a value)
    "absolute": (np.absolute, False, True),
    "arccos": (np.arccos, False, False),
    "arcsin": (np.arcsin, True, False),
    "arcsinh": (np.arcsinh, True, True),
    "arctan": (np.arctan, True, True),
    "cbrt": (np.cbrt, True, True),
    "ceil": (np.ceil, True, True),
    "cos": (np.cos, False, True),
    "deg2rad": (np.deg2rad, True, True),
    "degrees": (np.degrees, True, True),
    "exp": (np.exp, True, True),
    "exp2": (np.exp2, True, True),
    "expm1": (np.expm1, True, True),
    "floor": (np.floor, True, True),
    "log": (np.log, True, False),
    "log10": (np.log10, True, False),
    "log1p": (np.log1p, True, False),
    "log2": (np.log2, True, False),
    "negative": (np.negative, False, True),
    "positive": (np.positive, True, True),
    "rad2deg": (np.rad2deg, True, True),
    "radians": (np.radians, True, True),
    "reciprocal": (np.reciprocal, False, True),
    "rint": (np.rint, True, True),
    "sign": (np.sign, True, True),
    "sin": (np.sin, False, True),
    "sinh": (np.sinh, True, True),
    "sqrt": (np.sqrt, True, False),
    "square": (np.square, False, True),
    "tan": (np.tan, False, True),
    "tanh": (np.tanh, True, True),
}


_EXACT = (
    "absolute",
    "ceil",
    "deg2rad",
    "degrees",
    "floor",
    "negative",
    "positive",
    "rad2deg",
    "radians",
    "reciprocal",
    "rint",
    "sign",
    "sqrt",
    "square",
)
_OPERATORS = {"absolute": "Abs", "negative": "Neg", "positive": "Identity", "rint": "Round"}
"""Of the functions whose operator has another name."""


def apply(step: Map, x: Numbers) -> Numbers:
    """Compute one map with numpy, as scikit-learn does."""
    match step:
        case Arithmetic(operator, operand):
            return {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}[
                operator
            ](x, operand)
        case Clip(low, high):
            return np.clip(x, low, high)
        case Fill(value):
            return np.where(np.isnan(x), value, x)
        case Replace(old, value):
            return np.where(x == old, value, x)
        case Drop(low, high):
            return np.where((x >= low) & (x <= high), np.nan, x)
        case Function(name):
            result: Numbers = FUNCTIONS[name][0](x)
            return result
        case Power() | Quantiles():
            return curves.bend(step, x)
        case Above(threshold):
            return (x > threshold).astype(float)
        case Bins(edges):
            return np.searchsorted(np.array(edges), x, side="right").astype(float)
        case Missing():
            return np.isnan(x).astype(float)
        case Is(values):
            found = np.isin(x, [v for v in values if v == v])
            return (found | (np.isnan(x) & any(v != v for v in values))).astype(float)
        case Table(keys, values, default):
            out = np.full(x.shape, default)
            for key, value in zip(keys, values, strict=True):
                out[(x == key) | (np.isnan(x) & (key != key))] = value
            return out


def chain(maps: tuple[Map, ...], x: Numbers) -> Numbers:
    """Compute the maps one after the other with numpy."""
    with np.errstate(all="ignore"):
        for step in maps:
            x = apply(step, x)
    return x


def is_ascending(step: Map) -> bool:
    """Tell whether the map, over all numbers but NaN, never decreases."""
    match step:
        case Arithmetic(operator, operand):
            return operator in ("Add", "Sub") or operand > 0
        case Clip() | Fill() | Above() | Bins() | Missing() | Power() | Quantiles():
            return True
        case Function(name):
            return FUNCTIONS[name][1]
        case _:
            return False


def is_total(step: Map) -> bool:
    """Tell whether the map answers a number, never NaN, for every number that the original takes."""
    if isinstance(step, Function):
        return FUNCTIONS[step.name][2]
    return not isinstance(step, Drop)


def is_exact(step: Map) -> bool:
    """Tell whether a graph computes the map to the last bit, by the same few operations."""
    if isinstance(step, Function):
        return step.name in _EXACT
    return not isinstance(step, Power | Quantiles)


def shape_of(step: Map) -> tuple[Any, ...]:
    """Return a key that is equal for maps which one node can compute side by side."""
    match step:
        case Arithmetic(operator, _):
            return ("arithmetic", operator)
        case Function(name):
            return ("function", name)
        case Power() | Quantiles():
            return curves.shape_of(step)
        case Bins(edges):
            return ("bins", len(edges))
        case Is((value,)) if value == value:
            return ("is",)
        case Is() | Table():
            return (step,)
        case _:
            return (type(step).__name__,)


def emit(graph: Graph, wire: str, steps: tuple[Any, ...]) -> str:
    """Add the nodes for one map per column of `wire` [N, len(steps)]; all have one `shape_of`."""
    first: Map = steps[0]
    match first:
        case Arithmetic():
            return graph.node(first.operator, [wire, _row(graph, [s.operand for s in steps])])
        case Clip():
            return _clip(graph, wire, steps)
        case Fill():
            missing = graph.node("IsNaN", [wire])
            return graph.node("Where", [missing, _row(graph, [s.value for s in steps]), wire])
        case Replace():
            found = graph.node("Equal", [wire, _row(graph, [s.old for s in steps])])
            return graph.node("Where", [found, _row(graph, [s.value for s in steps]), wire])
        case Drop():
            return _drop(graph, wire, steps)
        case Function(name):
            return _function(graph, wire, name)
        case Power():
            return curves.emit_power(graph, wire, steps)
        case Quantiles():
            return curves.emit_quantiles(graph, wire, steps)
        case Above():
            above = graph.node("Greater", [wire, _row(graph, [s.threshold for s in steps])])
            return as_numbers(graph, above)
        case Bins():
            return _bins(graph, wire, steps)
        case Missing():
            return as_numbers(graph, graph.node("IsNaN", [wire]))
        case Is((value,)) if value == value:
            row = _row(graph, [s.values[0] for s in steps])
            return as_numbers(graph, graph.node("Equal", [wire, row]))
        case Is(values):
            return graph.lookup(wire, dict.fromkeys(values, 1.0) or {np.nan: 0.0}, 0.0)
        case Table(keys, values, default):
            table = dict(zip(keys, values, strict=True)) or {np.nan: default}
            return graph.lookup(wire, table, default)


def as_numbers(graph: Graph, wire: str) -> str:
    """Turn truth values or integers into doubles."""
    return graph.node("Cast", [wire], to=TensorProto.DOUBLE)


def _row(graph: Graph, values: list[float]) -> str:
    return graph.constant(np.array(values, dtype=float).reshape(1, -1))


def _clip(graph: Graph, wire: str, steps: tuple[Any, ...]) -> str:
    """Clip by comparisons: unlike Min and Max they leave NaN as it is on every processor."""
    low, high = _row(graph, [s.low for s in steps]), _row(graph, [s.high for s in steps])
    raised = graph.node("Where", [graph.node("Less", [wire, low]), low, wire])
    return graph.node("Where", [graph.node("Greater", [raised, high]), high, raised])


def _drop(graph: Graph, wire: str, steps: tuple[Any, ...]) -> str:
    low, high = _row(graph, [s.low for s in steps]), _row(graph, [s.high for s in steps])
    reached = graph.node("GreaterOrEqual", [wire, low])
    within = graph.node("And", [reached, graph.node("LessOrEqual", [wire, high])])
    return graph.node("Where", [within, graph.constant(np.nan), wire])


def _bins(graph: Graph, wire: str, steps: tuple[Any, ...]) -> str:
    edges = np.array([s.edges for s in steps], dtype=float)
    if not edges.size:
        return graph.node("Mul", [wire, graph.constant(0.0)])
    stacked = graph.node("Unsqueeze", [wire, graph.constant([2])])
    reached = graph.node("GreaterOrEqual", [stacked, graph.constant(edges[None])])
    counted = as_numbers(graph, reached)
    return graph.node("ReduceSum", [counted, graph.constant([2])], keepdims=0)


def _function(graph: Graph, wire: str, name: str) -> str:
    if name in elementary.FUNCTIONS:
        return elementary.FUNCTIONS[name](graph, wire)
    return graph.node(_OPERATORS.get(name, name.capitalize()), [wire])
