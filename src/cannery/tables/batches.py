"""From Arrow columns to the dense blocks in which a scorer takes rows, checked against the signature."""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cannery.errors import Issue, SchemaError
from cannery.signatures import LARGEST, NULL_STRING, Batch, Feature, Signature

WHOLE = 2**53
"""Whole numbers up to here are exact in double, in which everything is computed."""

_EXPECTED = {
    "double": "a number",
    "long": "a whole number",
    "boolean": "true or false",
    "string": "text",
}


class _WrongError(Exception):
    """A value that doesn't fit: where in the column (None: all of it), what was expected, what came."""

    def __init__(self, expected: str, got: str, row: int | None = None) -> None:
        super().__init__(expected)
        self.expected = expected
        self.got = got
        self.row = row


def to_batch(rows: pa.RecordBatch | pa.Table, signature: Signature, *, first_row: int = 1) -> Batch:
    """Return rows as a batch under `signature`; columns that it doesn't name are left aside.

    `first_row` is the number of the first of them in their file, counted from 1, for messages.
    Raises SchemaError with, for each column, what is wrong in the first offending row.
    """
    issues: list[Issue] = []
    found: dict[str, NDArray[Any]] = {}
    for feature in signature.features:
        place = f"column '{feature.name}'"
        try:
            found[feature.name] = _column(rows, feature)
        except _WrongError as wrong:
            if wrong.row is not None:
                place = f"row {first_row + wrong.row}, {place}"
            issues.append(Issue(path=place, expected=wrong.expected, got=wrong.got))
    if issues:
        more = f" (and {len(issues) - 1} more)" if len(issues) > 1 else ""
        raise SchemaError(f"{issues[0]}{more}", issues=tuple(issues))
    count = rows.num_rows
    return Batch(
        numbers=_block([found[f.name] for f in signature.numbers], count, np.float64),
        strings=_block([found[f.name] for f in signature.strings], count, np.object_),
    )


def _block(columns: list[NDArray[Any]], rows: int, dtype: Any) -> NDArray[Any]:
    block = np.empty((rows, len(columns)), dtype=dtype)
    for index, column in enumerate(columns):
        block[:, index] = column
    return block


def _column(rows: pa.RecordBatch | pa.Table, feature: Feature) -> NDArray[Any]:
    names = rows.schema.names
    if names.count(feature.name) > 1:
        raise _WrongError("one column", "two of this name")
    if feature.name not in names:
        near = difflib.get_close_matches(feature.name, names, n=1)
        raise _WrongError(_wanted(feature), f"no such column, but '{near[0]}'" if near else "none")
    column = rows.column(feature.name)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    values = _strings(column, feature) if feature.type == "string" else _numbers(column, feature)
    _check_categories(column, feature)
    return values


def _strings(column: Any, feature: Feature) -> NDArray[np.object_]:
    if pa.types.is_null(column.type):
        column = pc.cast(column, pa.string())
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise _WrongError(_wanted(feature), f"a column of {column.type}")
    _check_nulls(column.is_null(), feature)
    # equal texts share one object: far fewer of them are made
    coded = column.dictionary_encode()
    words = coded.dictionary.to_numpy(zero_copy_only=False)
    if NULL_STRING in words:
        raise _WrongError("text in Unicode", "a control character")
    places = coded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
    values: NDArray[np.object_] = np.append(words, NULL_STRING)[places]
    return values


def _numbers(column: Any, feature: Feature) -> NDArray[np.float64]:
    kind = column.type
    truth = pa.types.is_boolean(kind)
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if not pa.types.is_null(kind) and not (truth if feature.type == "boolean" else number):
        raise _WrongError(_wanted(feature), _first(column, f"a column of {kind}"), _row(column))
    if feature.type == "long" and pa.types.is_integer(kind):
        _check_width(column)
    if truth:
        column = column.cast(pa.uint8())
    values: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy(
        zero_copy_only=False
    )
    _check_nulls(pa.array(np.isnan(values)), feature)
    _complain(np.isinf(values), column, "a finite number")
    _complain(np.abs(values) > LARGEST, column, f"a number from {-LARGEST:g} to {LARGEST:g}")
    if feature.range:
        least = -np.inf if feature.least is None else feature.least
        most = np.inf if feature.most is None else feature.most
        wanted = f"{_EXPECTED[feature.type]} {feature.range}"
        _complain((values < least) | (values > most), column, wanted)
    if feature.type == "long":
        _complain(
            values != np.trunc(np.nan_to_num(values, nan=0.0)), column, _wanted(feature), values
        )
    return values


def _row(column: Any) -> int | None:
    """Return the place of the first value that is there."""
    if column.null_count == len(column):
        return None
    return int(pc.index(column.is_valid(), pa.scalar(value=True)).as_py())


def _first(column: Any, fallback: str) -> str:
    row = _row(column)
    return fallback if row is None else _show(column[row].as_py())


def _show(value: Any) -> str:
    return (f"'{value}'" if isinstance(value, str) else str(value))[:40]


def _check_nulls(missing: Any, feature: Feature) -> None:
    if not feature.nullable and pc.any(missing).as_py():
        row = pc.index(missing, pa.scalar(value=True)).as_py()
        raise _WrongError(_wanted(feature), "nothing", row)


def _check_width(column: Any) -> None:
    if column.type.bit_width < 64:
        return
    low = -WHOLE if pa.types.is_signed_integer(column.type) else 0
    exact = pc.and_(
        pc.greater_equal(column, pa.scalar(low, column.type)),
        pc.less_equal(column, pa.scalar(WHOLE, column.type)),
    )
    if pc.any(pc.invert(exact)).as_py():
        row = pc.index(exact, pa.scalar(value=False)).as_py()
        raise _WrongError("a whole number between -2^53 and 2^53", str(column[row]), row)


def _complain(
    bad: NDArray[np.bool_],
    column: Any,
    expected: str,
    values: NDArray[np.float64] | None = None,
) -> None:
    if values is not None:
        bad = bad & ~np.isnan(values)
    if bad.any():
        row = int(np.argmax(bad))
        raise _WrongError(expected, _show(column[row].as_py()), row)


def _check_categories(column: Any, feature: Feature) -> None:
    if feature.categories is None or feature.unseen:
        return
    allowed = set(feature.categories)
    for value in pc.unique(column).to_pylist():
        if value is not None and value == value and value not in allowed:
            row = int(pc.index(column, pa.scalar(value, column.type)).as_py())
            raise _WrongError(_listed(feature.categories), _show(value), row)


def _listed(categories: tuple[Any, ...]) -> str:
    shown = ", ".join(_show(value) for value in categories[:10])
    return f"one of {shown}" + (f", … ({len(categories)} values)" if len(categories) > 10 else "")


def _wanted(feature: Feature) -> str:
    return _EXPECTED[feature.type] + (" or nothing" if feature.nullable else "")
