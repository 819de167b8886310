"""Chooses, for each column that a tree asks for, the wire on which it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cannery.conversions.onnx.builder import CODES, UNKNOWN_CODE, Graph
from cannery.conversions.onnx.columns import Block, Column, materialise
from cannery.conversions.onnx.folds import another, ascends, told_apart
from cannery.conversions.onnx.maps import Map, Table, chain


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
