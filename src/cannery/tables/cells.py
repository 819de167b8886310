"""The cells of a CSV file are text: read them as what a signature says, or as what they look like."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from cannery.errors import Issue, SchemaError
from cannery.signatures import Feature, Signature

NULLS = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None")
"""Cells that stand for a missing number; a missing text is an empty cell alone."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity)", re.IGNORECASE)
_TRUTH = {"true": True, "false": False, "1": True, "0": False}
_EXPECTED = {"double": "a number", "long": "a whole number", "boolean": "true or false"}


class _BadCellError(Exception):
    """The first cell that can't be read; carries its place in the batch."""

    def __init__(self, row: int, value: str) -> None:
        super().__init__(value)
        self.row = row
        self.value = value


def typed(batch: pa.RecordBatch, signature: Signature, first_row: int) -> pa.RecordBatch:
    """Return the batch with the signature's columns in their types, all others as text.

    `first_row` is the number of the batch's first row in the file, counted from 1. Raises
    SchemaError with the first bad cell of each column.
    """
    features = {feature.name: feature for feature in signature.features}
    columns, issues = [], []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            columns.append(_column(column, features.get(name)))
        except _BadCellError as bad:
            place = f"row {first_row + bad.row}, column '{name}'"
            feature = features[name]
            expected = _EXPECTED[feature.type] + (" or nothing" if feature.nullable else "")
            issues.append(Issue(path=place, expected=expected, got=f"'{bad.value[:40]}'"))
    if issues:
        more = f" (and {len(issues) - 1} more)" if len(issues) > 1 else ""
        raise SchemaError(f"{issues[0]}{more}", issues=tuple(issues))
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def inferred(table: pa.Table) -> pa.Table:
    """Return a table of text with each column as whole numbers, numbers, booleans, or text."""
    columns = [_looks_like(column.combine_chunks()) for column in table.columns]
    return pa.table(columns, names=table.schema.names)


def _column(cells: pa.Array, feature: Feature | None) -> pa.Array:
    if feature is None or feature.type == "string":
        return cells
    cells = _bare(cells)
    if feature.type == "boolean":
        return _booleans(cells)
    if feature.type == "long":
        try:
            return pc.cast(cells, pa.int64())
        except pa.ArrowInvalid:
            pass  # 2.0 is whole too; what is not is found when the batch is made
    return _numbers(cells)


def _looks_like(cells: pa.Array) -> pa.Array:
    bare = _bare(cells)
    if bare.null_count == len(bare):
        return cells if cells.null_count < len(cells) else pc.cast(bare, pa.float64())
    for target in (pa.int64(), pa.float64()):
        try:
            return pc.cast(bare, target)
        except pa.ArrowInvalid:
            continue
    words = set(pc.unique(pc.utf8_lower(bare)).to_pylist())
    return _booleans(bare) if words <= {"true", "false", None} else cells


def _bare(cells: pa.Array) -> pa.Array:
    """Return the cells without blanks around them, null where they stand for nothing."""
    trimmed = pc.utf8_trim_whitespace(cells)
    missing = pc.is_in(trimmed, value_set=pa.array(NULLS))
    return pc.if_else(missing, pa.scalar(None, pa.string()), trimmed)


def _numbers(cells: pa.Array) -> pa.Array:
    try:
        return pc.cast(cells, pa.float64())
    except pa.ArrowInvalid:
        values = cells.to_pylist()  # slow, but it knows the row, and takes '+5'
    for row, value in enumerate(values):
        if value is not None and not _NUMBER.fullmatch(value):
            raise _BadCellError(row, value)
    return pa.array([None if v is None else float(v) for v in values], pa.float64())


def _booleans(cells: pa.Array) -> pa.Array:
    lower = pc.utf8_lower(cells)
    unknown = pc.and_(pc.is_valid(lower), pc.invert(pc.is_in(lower, pa.array(list(_TRUTH)))))
    if pc.any(unknown).as_py():
        row = pc.index(unknown, pa.scalar(value=True)).as_py()
        raise _BadCellError(row, cells[row].as_py())
    truth = pc.is_in(lower, pa.array([word for word, value in _TRUTH.items() if value]))
    return pc.if_else(pc.is_valid(lower), truth, pa.scalar(None, pa.bool_()))
