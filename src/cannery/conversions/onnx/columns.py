"""Columns on their way through a pipeline: where each stands, and what is still to be done to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from cannery.conversions.onnx.builder import NUMBERS, STRINGS, Graph
from cannery.conversions.onnx.maps import Map, emit, shape_of
from cannery.errors import ConversionError
from cannery.signatures import Feature, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """Column `index` of a wire, and the maps that still have to be applied to it."""

    wire: str
    index: int
    kind: Kind = "double"
    maps: tuple[Map, ...] = ()
    name: str | None = None
    """Its name where the step sees a data frame."""
    null: str | None = None
    """The text that an imputer put in place of a missing value."""
    feature: str | None = None
    """The feature from which a string comes, for messages."""
    single: bool = False
    """Whether the original holds it in float32."""
    none: bool = False
    """Whether a missing string is None in the original, and not NaN."""

    def then(self, *maps: Map) -> Column:
        """Return this column with more maps to apply; what comes out is a nameless double."""
        return replace(self, maps=self.maps + maps, kind="double", name=None, null=None)


@dataclass(frozen=True, slots=True)
class Block:
    """The columns that a step sees, in its order."""

    columns: tuple[Column, ...]
    sparse: bool = False
    """Whether the original holds them as a sparse matrix.

    Scalers then multiply by 1 / scale, and XGBoost takes zero for missing.
    """

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def single(self) -> bool:
        """Whether the original computes on this block in float32."""
        return bool(self.columns) and all(c.single for c in self.columns)

    def take(self, indices: Iterable[int]) -> Block:
        """Return the block of these columns."""
        return Block(tuple(self.columns[i] for i in indices), self.sparse)

    def named(self, names: Sequence[str] | None) -> Block:
        """Return the block with new names (None: nameless)."""
        given = [None] * len(self) if names is None else list(names)
        return Block(
            tuple(replace(c, name=n) for c, n in zip(self.columns, given, strict=True)),
            self.sparse,
        )

    def numeric(self) -> Block:
        """Return the block itself; raises ConversionError when a string is in it."""
        for column in self.columns:
            if column.kind == "string":
                raise ConversionError(
                    f"the string column '{column.feature}' reaches a step that computes",
                    hint="encode it first, or drop it",
                )
        return self


def of_features(features: Sequence[Feature]) -> Block:
    """Return the block of the graph's inputs: numbers and strings in the order of the features."""
    columns: list[Column] = []
    counts = {NUMBERS: 0, STRINGS: 0}
    for feature in features:
        wire = STRINGS if feature.type == "string" else NUMBERS
        columns.append(
            Column(
                wire=wire,
                index=counts[wire],
                kind=feature.type,
                name=feature.name,
                feature=feature.name,
                none=feature.none,
            )
        )
        counts[wire] += 1
    return Block(tuple(columns))


def of_wire(graph: Graph, wire: str, width: int, *, sparse: bool = False) -> Block:
    """Return the block of all `width` columns of a double wire [N, width]."""
    graph.widths[wire] = width
    return Block(tuple(Column(wire=wire, index=i) for i in range(width)), sparse)


def join(blocks: Sequence[Block], *, sparse: bool = False) -> Block:
    """Return the columns of all blocks, side by side."""
    return Block(tuple(c for block in blocks for c in block.columns), sparse)


def materialise(graph: Graph, block: Block) -> str:
    """Return a double wire [N, len(block)] that holds the columns, all maps applied."""
    columns = block.numeric().columns
    if not columns:
        raise ConversionError("no column is left to compute on")
    runs = [tuple(run) for _, run in groupby(columns, key=_run_key)]
    wires = [_run(graph, run) for run in runs]
    if len(wires) == 1:
        return wires[0]
    return graph.node("Concat", wires, axis=1, width=len(columns))


def _run_key(column: Column) -> tuple[Any, ...]:
    return (column.wire, *(shape_of(step) for step in column.maps))


def _run(graph: Graph, columns: tuple[Column, ...]) -> str:
    wire = gather(graph, columns[0].wire, [c.index for c in columns])
    for steps in zip(*(c.maps for c in columns), strict=True):
        wire = emit(graph, wire, steps)
    graph.widths[wire] = len(columns)
    return wire


def gather(graph: Graph, wire: str, indices: Sequence[int]) -> str:
    """Return a wire with these columns of `wire` (`wire` itself when that is all of them)."""
    if list(indices) == list(range(graph.widths.get(wire, -1))):
        return wire
    return graph.node(
        "Gather",
        [wire, graph.constant(np.array(indices, dtype=np.int64))],
        axis=1,
        width=len(indices),
    )
