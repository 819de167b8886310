"""Imputers that look at the other columns: rounds of regressions, and the nearest rows of the training."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.columns import Block, Column, join, materialise, of_wire
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.encoders import filled, shown, shows_missing
from cannery.conversions.onnx.maps import Clip, Fill

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]

_LARGEST = 4096
"""Rows of the training that are looked through for each row."""
_CELLS = 4_000_000
"""Differences that are computed, at most, to look for rows that are equally far."""
_SLACK = 1e-12
"""Relative; distances that differ by less are equal but for their rounding."""


def _with_indicator(emitter: Emitter, estimator: Any, block: Block, columns: list[Column]) -> Block:
    if not estimator.add_indicator:
        return Block(tuple(columns))
    return join([Block(tuple(columns)), shown(emitter, estimator.indicator_, block)])


def _flags(emitter: Emitter, estimator: Any, column: Column) -> str:
    """Return bool [N, 1]: where the column is missing."""
    wire = materialise(emitter.graph, Block((shows_missing(emitter, estimator, column),)))
    return emitter.graph.node("Cast", [wire], to=TensorProto.BOOL)


def _iterative(emitter: Emitter, estimator: Any, block: Block) -> Block:
    graph = emitter.graph
    if estimator.sample_posterior:
        raise emitter.refuse(estimator, "it draws at random", "set sample_posterior=False")
    empty = getattr(estimator, "_is_empty_feature", None)
    if empty is None:  # before scikit-learn 1.5
        empty = np.isnan(estimator.initial_imputer_.statistics_)
    kept = list(block.numeric().columns)
    if not estimator.keep_empty_features:
        kept = [c for c, is_empty in zip(kept, empty, strict=True) if not is_empty]
    current = list(filled(emitter, estimator.initial_imputer_, block).columns)
    flags: dict[int, str] = {}
    for number, step in enumerate(estimator.imputation_sequence_ if estimator.n_iter_ else ()):
        at = int(step.feat_idx)
        inputs = Block(tuple(current[int(i)] for i in step.neighbor_feat_idx))
        told = emitter.at(f"imputation_sequence_[{number}]").regress(step.estimator, inputs)
        low, high = float(estimator._min_value[at]), float(estimator._max_value[at])
        value = Column(wire=told.value, index=0, maps=(Clip(low, high),))
        graph.widths[told.value] = 1
        if at not in flags:
            flags[at] = _flags(emitter, estimator, kept[at])
        pair = [materialise(graph, Block((c,))) for c in (value, current[at])]
        current[at] = of_wire(graph, graph.node("Where", [flags[at], *pair]), 1).columns[0]
    return _with_indicator(emitter, estimator, block, current)


def _nearest(emitter: Emitter, estimator: Any, block: Block) -> Block:
    graph = emitter.graph
    if len(estimator._fit_X) > _LARGEST:
        raise emitter.refuse(estimator, f"it looks through more than {_LARGEST} rows")
    if estimator.metric != "nan_euclidean":
        raise emitter.refuse(estimator, "its metric is a function")
    if estimator.weights not in ("uniform", "distance"):
        raise emitter.refuse(estimator, "its weights are a function")
    _check_ties(emitter, estimator)
    distances = _nan_distances(emitter, estimator, block)
    columns: list[Column] = []
    for i, column in enumerate(block.columns):
        if not estimator._valid_mask[i]:
            if estimator.keep_empty_features:
                columns.append(column.then(Fill(0.0), Clip(0.0, 0.0)))
            continue
        values = [
            _neighbours_mean(graph, estimator, distances, i),
            materialise(graph, Block((column,))),
        ]
        chosen = graph.node("Where", [_flags(emitter, estimator, column), *values])
        columns.append(of_wire(graph, chosen, 1).columns[0])
    return _with_indicator(emitter, estimator, block, columns)


def _check_ties(emitter: Emitter, estimator: Any) -> None:
    """Refuse where rows like those of the training, some columns missing, have equally far neighbours."""
    random, seen = np.random.default_rng(0), ~np.asarray(estimator._mask_fit_X)
    rows = np.where(seen, estimator._fit_X, 0.0)
    many = max(1, min(len(rows), 50, _CELLS // rows.size))
    some = random.choice(len(rows), many, replace=False)
    for column in np.flatnonzero(estimator._valid_mask):
        donors = np.flatnonzero(seen[:, column])
        values = np.asarray(estimator._fit_X)[donors, column]
        known = seen[some] & (random.integers(0, 2, size=(many, rows.shape[1])) == 1)
        known[:, column] = False
        far = _mean_distances(rows[some], known, rows[donors], seen[donors])
        if _is_torn(far, values, min(estimator.n_neighbors, len(donors))):
            raise emitter.refuse(
                estimator,
                "rows such as those of its training are equally far from rows of different "
                "values, and which of these it takes is left to the order of its search",
            )


def _mean_distances(rows: Numbers, known: Flags, others: Numbers, seen: Flags) -> Numbers:
    """Return [rows, others]: the mean squared difference over the columns that both have."""
    shared = known[:, None] & seen[None]
    away = np.where(shared, rows[:, None] - others[None], 0.0)
    count = shared.sum(axis=2)
    return np.where(count == 0, np.inf, (away**2).sum(axis=2) / np.maximum(count, 1))


def _is_torn(far: Numbers, values: Numbers, count: int) -> bool:
    """Whether the last of the nearest is as far as the next, and it matters which is taken."""
    if count == len(values):
        return False
    low, high = np.partition(far, (count - 1, count), axis=1)[:, [count - 1, count]].T
    tied = np.flatnonzero((high <= low * (1 + _SLACK)) & np.isfinite(high))
    return any(np.ptp(values[np.isclose(far[row], low[row], _SLACK, 0)]) for row in tied)


def _nan_distances(emitter: Emitter, estimator: Any, block: Block) -> str:
    """Return [N, rows of training]: distances over the columns that both have; infinite without any."""
    graph, seen = emitter.graph, ~np.asarray(estimator._mask_fit_X)
    rows = np.where(seen, estimator._fit_X, 0.0)
    missing = materialise(
        graph, Block(tuple(shows_missing(emitter, estimator, c) for c in block.numeric().columns))
    )
    gone = graph.node("Cast", [missing], to=TensorProto.BOOL)
    x = graph.node("Where", [gone, graph.constant(0.0), materialise(graph, block)])
    present = graph.node("Sub", [graph.constant(1.0), missing])

    def against(wire: str, matrix: Any) -> str:
        turned = np.ascontiguousarray(np.asarray(matrix, dtype=float).T)
        return graph.node("MatMul", [wire, graph.constant(turned)])

    own = against(graph.node("Mul", [x, x]), seen)
    total = graph.node("Add", [own, against(present, rows * rows)])
    squared = graph.node("Relu", [graph.node("Add", [total, against(x, -2.0 * rows)])])
    shared = against(present, seen)
    none = graph.node("Equal", [shared, graph.constant(0.0)])
    share = graph.node("Div", [squared, graph.node("Where", [none, graph.constant(1.0), shared])])
    scaled = graph.node("Mul", [share, graph.constant(float(len(block)))])
    return graph.node("Where", [none, graph.constant(np.inf), graph.node("Sqrt", [scaled])])


def _neighbours_mean(graph: Graph, estimator: Any, distances: str, column: int) -> str:
    """Return [N, 1]: the mean of a column over the nearest rows that have it."""
    donors = np.flatnonzero(~np.asarray(estimator._mask_fit_X)[:, column])
    values = np.asarray(estimator._fit_X, dtype=float)[donors, column]
    count = min(estimator.n_neighbors, len(donors))
    to_donors = graph.node("Gather", [distances, graph.constant(donors.astype(np.int64))], axis=1)
    near, places = graph.lowest(to_donors, count)
    weights = _weights(graph, near, estimator.weights)
    taken = graph.node("Gather", [graph.constant(values), places])
    axis = graph.constant([1])
    total = graph.node("ReduceSum", [graph.node("Mul", [taken, weights]), axis])
    weight = graph.node("ReduceSum", [weights, axis])
    nobody = graph.node("Equal", [weight, graph.constant(0.0)])
    mean = graph.node("Div", [total, graph.node("Where", [nobody, graph.constant(1.0), weight])])
    return graph.node("Where", [nobody, graph.constant(float(values.mean())), mean])


def _weights(graph: Graph, near: str, weights: str) -> str:
    """Return the weight of each neighbour, 0 for one that is infinitely far."""
    zero, one = graph.constant(0.0), graph.constant(1.0)
    if weights == "uniform":
        far = graph.node("Equal", [near, graph.constant(np.inf)])
        return graph.node("Where", [far, zero, one])
    same = graph.node("Equal", [near, zero])
    alike = graph.node("Cast", [same], to=TensorProto.DOUBLE)
    some = graph.node("Greater", [graph.node("ReduceMax", [alike, graph.constant([1])]), zero])
    inverse = graph.node("Div", [one, graph.node("Where", [same, one, near])])
    return graph.node("Where", [some, alike, inverse])


TABLE: dict[str, Emit] = {
    "sklearn.impute.IterativeImputer": _iterative,
    "sklearn.impute.KNNImputer": _nearest,
}
