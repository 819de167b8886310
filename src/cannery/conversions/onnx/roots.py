"""Chooses, for each column that a tree asks for, the wire on which it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from cannery.conversions.onnx.builder import CODES, UNKNOWN_CODE, Graph
from cannery.conversions.onnx.columns import Block, Column, materialise
from cannery.conversions.onnx.folds import (
    another,
    ascends,
    last_passing,
    lowest_defined,
    told_apart,
)
from cannery.conversions.onnx.maps import (
    Drop,
    Fill,
    Map,
    Table,
    chain,
    is_ascending,
    is_exact,
    is_total,
)
from cannery.conversions.onnx.searches import count_reached

Numbers = NDArray[np.float64]


def settle(
    graph: Graph, block: Block, used: Sequence[int], *, sets: bool, refuses_missing: bool
) -> dict[int, Column]:
    """Return the used columns with the maps that `fold` can take into their splits.

    What can't be folded is computed, and has no map left. `sets`: a split may ask for a set.
    """
    settled: dict[int, Column] = {}
    computed: dict[Column, int] = {}
    for i in used:
        needed, left = _plan(block.columns[i], sets=sets, refuses_missing=refuses_missing)
        if needed is None:
            settled[i] = block.columns[i]
        else:
            place = computed.setdefault(needed, len(computed))
            settled[i] = Column(wire="", index=place, maps=left)
    if not used:  # no tree has a split: any wire will do for the number of rows
        computed[block.columns[0]] = 0
        settled[0] = Column(wire="", index=0)
    if not computed:
        return settled
    wire = materialise(graph, Block(tuple(computed)))
    return {i: c if c.wire else replace(c, wire=wire) for i, c in settled.items()}


def _plan(
    column: Column, *, sets: bool, refuses_missing: bool
) -> tuple[Column | None, tuple[Map, ...]]:
    """Return what has to be computed, and the maps that are left then; None where all can be folded."""
    plain = replace(column, name=None, kind="double")
    if ascends(column.maps, refuses_missing=refuses_missing):
        return None, ()
    if all(map(is_ascending, column.maps)) and (parts := _parted(column.maps)) is not None:
        return replace(plain, maps=parts[0]), parts[1]
    keys = told_apart(column.maps)
    if keys is None or (len(keys) > 1 and not sets):
        return plain, ()
    if column.wire == CODES:
        return None, ()
    listed = np.array([np.nan, another(keys), *keys])
    missing, other, *answers = chain(column.maps, listed).tolist()
    if len(keys) <= 1 and (missing == other or (missing != missing and other != other)):
        return None, ()
    if not sets:
        return plain, ()
    every = (*keys, float("nan"))
    codes = tuple(float(i) for i in range(len(every)))
    coded = replace(plain, maps=(Table(every, codes, UNKNOWN_CODE),))
    return coded, (Table(codes, (*answers, missing), other),)


def _parted(maps: tuple[Map, ...]) -> tuple[tuple[Map, ...], tuple[Map, ...]] | None:
    """Part maps that are not defined everywhere: the first part is computed, the other is folded.

    The first gives NaN outside the domain of the other, so that this needs no rule of its own there.
    None where the first part would not be computed to the last bit.
    """
    partial = [i for i, m in enumerate(maps) if not is_total(m)]
    fills = [i + 1 for i, m in enumerate(maps) if isinstance(m, Fill)]
    start = max((i for i in fills if partial and i <= partial[0]), default=0)
    end = min((i for i in fills if partial and i > partial[0]), default=len(maps))
    head, tail = maps[:start], maps[start:]
    if not all(map(is_exact, head)) or (partial and partial[-1] >= end):
        return None
    if not partial:
        return head, tail
    within = tuple(m for m in maps[start:end] if not isinstance(m, Fill))
    outside = Drop(-np.inf, float(np.nextafter(lowest_defined(within), -np.inf)))
    return (*head, outside), tail


def rank(
    graph: Graph, columns: Sequence[Column], thresholds: Sequence[Numbers]
) -> dict[int, tuple[Column, Numbers]]:
    """Return, for columns whose maps a graph can't compute to the last bit, ranks to compare instead.

    A rank is the number of thresholds that a value is above; with it come the thresholds in terms
    of ranks. `thresholds` are those of float32(f(x)) <= threshold, for each column.
    """
    found: dict[int, tuple[Column, Numbers]] = {}
    roots: list[Column] = []
    edges: list[Numbers] = []
    for i, column in enumerate(columns):
        root = None if all(map(is_exact, column.maps)) else _root(column)
        if root is None:
            continue
        passing = last_passing(root[1], thresholds[i], single=True)
        known = np.unique(passing[~np.isnan(passing)])
        places = np.where(np.isnan(passing), -1, np.searchsorted(known, passing))
        found[i] = Column(wire="", index=len(roots)), places.astype(np.float64)
        roots.append(root[0])
        edges.append(np.nextafter(known, np.inf))
    if not roots:
        return {}
    wire = materialise(graph, Block(tuple(roots)))
    counted = graph.node("Cast", [count_reached(graph, wire, edges)], to=TensorProto.DOUBLE)
    ranks = graph.node("Where", [graph.node("IsNaN", [wire]), wire, counted], width=len(roots))
    return {i: (replace(column, wire=ranks), places) for i, (column, places) in found.items()}


def _root(column: Column) -> tuple[Column, tuple[Map, ...]] | None:
    """Return what is computed of a column, with NaN where it is missing, and the maps that are left."""
    drops = [m for m in column.maps if isinstance(m, Drop)]
    core = column.maps[: len(column.maps) - len(drops)]
    if not all(map(is_ascending, core)) or (parts := _parted(core)) is None:
        return None
    head, tail = parts
    for drop in drops:  # XGBoost's, at the end: what it takes for missing
        below, last = last_passing(
            tail, np.array([np.nextafter(drop.low, -np.inf), drop.high]), single=False
        )
        if not np.isnan(last):
            start = -np.inf if np.isnan(below) else float(np.nextafter(below, np.inf))
            head = (*head, Drop(start, float(last)))
    return replace(column, name=None, kind="double", maps=head), tail
