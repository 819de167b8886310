"""Scalers, binners, powers, polynomials and selections: numbers in, numbers out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.columns import Block, Column, materialise, of_wire
from cannery.conversions.onnx.curves import Power, Quantiles
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.maps import (
    FUNCTIONS,
    Above,
    Arithmetic,
    Bins,
    Clip,
    Function,
    Is,
    Map,
)
from cannery.conversions.onnx.results import Result


def _each(block: Block, *rows: Iterable[Map | None]) -> Block:
    """Apply to every column its map out of each row (None: no map)."""
    columns = []
    for column, *steps in zip(block.numeric().columns, *rows, strict=True):
        columns.append(column.then(*(step for step in steps if step is not None)))
    return Block(tuple(columns), block.sparse)


def _row(operator: Any, operands: Any, width: int) -> list[Map | None]:
    """Return one arithmetic map per column, or none where the original has no operand."""
    if operands is None:
        return [None] * width
    return [Arithmetic(operator, float(v)) for v in np.broadcast_to(operands, width)]


def _divide(block: Block, scale: Any) -> list[Map | None]:
    """Divide by the scale; on sparse input scikit-learn multiplies by its reciprocal."""
    if scale is not None and block.sparse:
        return _row("Mul", 1.0 / np.asarray(scale, dtype=float), len(block))
    return _row("Div", scale, len(block))


def _standard(emitter: Emitter, estimator: Any, block: Block) -> Block:
    mean = estimator.mean_ if estimator.with_mean else None
    scale = estimator.scale_ if estimator.with_std else None
    return _each(block, _row("Sub", mean, len(block)), _divide(block, scale))


def _min_max(emitter: Emitter, estimator: Any, block: Block) -> Block:
    scaled = _each(
        block,
        _row("Mul", estimator.scale_, len(block)),
        _row("Add", estimator.min_, len(block)),
    )
    return _clipped(scaled, estimator, *estimator.feature_range)


def _max_abs(emitter: Emitter, estimator: Any, block: Block) -> Block:
    return _clipped(_each(block, _divide(block, estimator.scale_)), estimator, -1.0, 1.0)


def _clipped(block: Block, estimator: Any, low: float, high: float) -> Block:
    if not getattr(estimator, "clip", False):
        return block
    return _each(block, [Clip(float(low), float(high))] * len(block))


def _robust(emitter: Emitter, estimator: Any, block: Block) -> Block:
    center = estimator.center_ if estimator.with_centering else None
    scale = estimator.scale_ if estimator.with_scaling else None
    return _each(block, _row("Sub", center, len(block)), _divide(block, scale))


def _binarizer(emitter: Emitter, estimator: Any, block: Block) -> Block:
    return _each(block, [Above(float(estimator.threshold))] * len(block))


def _bins(emitter: Emitter, estimator: Any, block: Block) -> Block:
    edges = [Bins(tuple(float(e) for e in row[1:-1])) for row in estimator.bin_edges_]
    if estimator.dtype is np.float32:
        raise emitter.refuse(estimator, "it bins in float32", "leave 'dtype' out")
    numbers = _each(block, edges)
    if estimator.encode == "ordinal":
        return numbers
    columns: list[Column] = []
    for column, categories in zip(numbers.columns, estimator._encoder.categories_, strict=True):
        columns += [column.then(Is((float(c),))) for c in categories]
    return Block(tuple(columns), sparse=estimator.encode == "onehot")


def _normalizer(emitter: Emitter, estimator: Any, block: Block) -> Block:
    graph, x = emitter.graph, materialise(emitter.graph, block)
    return of_wire(graph, normalised(graph, x, estimator.norm), len(block), sparse=block.sparse)


def normalised(graph: Graph, x: str, norm: str) -> str:
    """Return each row divided by its norm, 'l1', 'l2' or 'max'; a row of zeros stays."""
    axis = graph.constant([1])
    match norm:
        case "l1":
            length = graph.node("ReduceSum", [graph.node("Abs", [x]), axis])
        case "l2":
            squares = graph.node("ReduceSum", [graph.node("Mul", [x, x]), axis])
            length = graph.node("Sqrt", [squares])
        case _:
            length = graph.node("ReduceMax", [graph.node("Abs", [x]), axis])
    zero = graph.node("Equal", [length, graph.constant(0.0)])
    return graph.node("Div", [x, graph.node("Where", [zero, graph.constant(1.0), length])])


def _polynomial(emitter: Emitter, estimator: Any, block: Block) -> Block:
    """Multiply from the right, as scikit-learn reuses the terms of one degree less."""
    graph = emitter.graph
    terms = [_term(row) for row in estimator.powers_]
    known: dict[tuple[int, ...], Column] = {
        (i,): column for i, column in enumerate(block.numeric().columns)
    }
    known[()] = block.columns[0].then(Above(-np.inf))
    for degree in range(2, max(map(len, terms), default=0) + 1):
        wanted = sorted({t[-degree:] for t in terms if len(t) >= degree})
        first = materialise(graph, Block(tuple(known[(t[0],)] for t in wanted)))
        rest = materialise(graph, Block(tuple(known[t[1:]] for t in wanted)))
        made = of_wire(graph, graph.node("Mul", [rest, first]), len(wanted))
        known |= dict(zip(wanted, made.columns, strict=True))
    return Block(tuple(known[t] for t in terms), block.sparse)


def _term(powers: Any) -> tuple[int, ...]:
    """Return the columns that a term multiplies, each as often as its power says."""
    return tuple(int(i) for i in np.repeat(np.arange(len(powers)), powers))


def _power(emitter: Emitter, estimator: Any, block: Block) -> Block:
    powers = [Power(estimator.method, float(e)) for e in estimator.lambdas_]
    bent = _each(block, powers)
    return _standard(emitter, estimator._scaler, bent) if estimator.standardize else bent


def _quantiles(emitter: Emitter, estimator: Any, block: Block) -> Block:
    references = tuple(float(r) for r in estimator.references_)
    normal = estimator.output_distribution == "normal"
    if np.isnan(estimator.quantiles_).any():
        raise emitter.refuse(estimator, "a column was empty when it was fitted")
    return _each(
        block,
        [
            Quantiles(tuple(float(q) for q in column), references, normal)
            for column in estimator.quantiles_.T
        ],
    )


def _selected(emitter: Emitter, estimator: Any, block: Block) -> Block:
    kept = block.take(np.flatnonzero(estimator.get_support()).tolist())
    return kept.named(None)


def _eliminated(emitter: Emitter, estimator: Any, block: Block) -> Result:
    """Emit what RFE has left: its estimator on the columns that it kept."""
    kept = _selected(emitter, estimator, block)
    return emitter.at("estimator_").emit(estimator.estimator_, kept)


def _function(emitter: Emitter, estimator: Any, block: Block) -> Block:
    """Apply a function of numpy's, known by identity and never by name alone."""
    if estimator.func is None:
        return block
    if estimator.func is np.clip:
        return _each(block, [_clip(emitter, estimator)] * len(block)).named(
            [c.name or "" for c in block.columns]
        )
    name = next((n for n, (f, _, _) in FUNCTIONS.items() if f is estimator.func), None)
    if name is None:
        raise emitter.refuse(
            estimator,
            f"its function {getattr(estimator.func, '__name__', estimator.func)!r} is not on the list",
            "take one of numpy's " + ", ".join(sorted(FUNCTIONS)),
        )
    if estimator.kw_args:
        raise emitter.refuse(estimator, "'kw_args' are given to its function")
    if any(c.kind == "boolean" for c in block.columns) and not estimator.validate:
        raise emitter.refuse(estimator, "numpy computes in half precision on booleans")
    if name == "reciprocal" and any(c.kind == "long" for c in block.columns):
        raise emitter.refuse(estimator, "numpy divides whole numbers without a rest")
    return _each(block, [Function(name)] * len(block)).named([c.name or "" for c in block.columns])


def _clip(emitter: Emitter, estimator: Any) -> Clip:
    """Return the edges that numpy's clip is given."""
    given = {n.removeprefix("a_"): v for n, v in (estimator.kw_args or {}).items() if v is not None}
    if not given.keys() <= {"min", "max"} or any(np.ndim(v) for v in given.values()):
        raise emitter.refuse(estimator, "its edges are not two numbers, 'a_min' and 'a_max'")
    return Clip(float(given.get("min", -np.inf)), float(given.get("max", np.inf)))


_SELECTORS = (
    "GenericUnivariateSelect",
    "SelectFdr",
    "SelectFpr",
    "SelectFromModel",
    "SelectFwe",
    "SelectKBest",
    "SelectPercentile",
    "SequentialFeatureSelector",
    "VarianceThreshold",
)

TABLE: dict[str, Emit] = {
    "sklearn.preprocessing.StandardScaler": _standard,
    "sklearn.preprocessing.MinMaxScaler": _min_max,
    "sklearn.preprocessing.MaxAbsScaler": _max_abs,
    "sklearn.preprocessing.RobustScaler": _robust,
    "sklearn.preprocessing.Binarizer": _binarizer,
    "sklearn.preprocessing.KBinsDiscretizer": _bins,
    "sklearn.preprocessing.Normalizer": _normalizer,
    "sklearn.preprocessing.PolynomialFeatures": _polynomial,
    "sklearn.preprocessing.FunctionTransformer": _function,
    "sklearn.preprocessing.PowerTransformer": _power,
    "sklearn.preprocessing.QuantileTransformer": _quantiles,
    **{f"sklearn.feature_selection.{name}": _selected for name in _SELECTORS},
    **{f"sklearn.feature_selection.{name}.transform": _selected for name in ("RFE", "RFECV")},
    **{f"sklearn.feature_selection.{name}": _eliminated for name in ("RFE", "RFECV")},
}
