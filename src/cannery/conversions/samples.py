"""Samples: Arrow tables to batches, seeded picks of rows, and rows back to records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cannery.errors import Issue, SchemaError
from cannery.signatures import NULL_STRING, Batch, Feature, Kind


def kind_of(type_: Any) -> Kind | None:
    """Return the type of a feature for an Arrow type; None where there is no fitting one."""
    if pa.types.is_dictionary(type_):
        return kind_of(type_.value_type)
    if pa.types.is_boolean(type_):
        return "boolean"
    if pa.types.is_integer(type_):
        return "long"
    if pa.types.is_floating(type_) or pa.types.is_decimal(type_):
        return "double"
    if (
        pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
        or pa.types.is_string_view(type_)
    ):
        return "string"
    return None


def batch_of(table: pa.Table, features: Sequence[Feature]) -> Batch:
    """Return the features' columns of a table as a batch.

    Raises SchemaError, naming every column, for values that are not of the feature's type.
    """
    issues: list[Issue] = []
    numbers = np.empty((len(table), sum(f.type != "string" for f in features)), dtype=np.float64)
    strings = np.empty((len(table), len(features) - numbers.shape[1]), dtype=object)
    places = {"numbers": 0, "strings": 0}
    for feature in features:
        block, name = (strings, "strings") if feature.type == "string" else (numbers, "numbers")
        column = table.column(feature.name)
        try:
            block[:, places[name]] = (
                _texts(column) if name == "strings" else _numbers(column, feature)
            )
        except _StandInError:
            got = f"the text {NULL_STRING!r}, which stands for a missing one"
            issues.append(Issue(path=feature.name, expected="another text", got=got))
        except (pa.ArrowException, ValueError, TypeError):
            issues.append(Issue(path=feature.name, expected=feature.type, got=str(column.type)))
        places[name] += 1
    if issues:
        raise SchemaError(
            "the sample does not fit the signature: " + "; ".join(map(str, issues)),
            issues=tuple(issues),
        )
    return Batch(numbers=numbers, strings=strings)


class _StandInError(ValueError):
    """A text that can't be told from a missing one."""


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _texts(column: pa.ChunkedArray) -> NDArray[np.object_]:
    column = _plain(column).cast(pa.large_string())
    if pc.any(pc.equal(column, NULL_STRING)).as_py():
        raise _StandInError
    filled = pc.fill_null(column, NULL_STRING)
    texts = np.empty(len(filled), dtype=object)
    texts[:] = filled.to_pylist()
    return texts


def _numbers(column: pa.ChunkedArray, feature: Feature) -> NDArray[np.float64]:
    """Return a column in double; raises ValueError for a fraction where whole numbers are meant."""
    column = _plain(column)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    values = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)
    known = values[~np.isnan(values)]
    if feature.type == "long" and np.any(known != np.trunc(known)):
        raise ValueError(feature.name)
    if feature.type == "boolean" and np.any((known != 0) & (known != 1)):
        raise ValueError(feature.name)
    return values


def pick(batch: Batch, cap: int, seed: int) -> Batch:
    """Return at most `cap` rows, chosen by `seed`, in their order."""
    if len(batch) <= cap:
        return batch
    rows = np.random.default_rng(seed).choice(len(batch), size=cap, replace=False)
    return batch.take(np.sort(rows))


def nulls(batch: Batch, features: Sequence[Feature]) -> NDArray[np.bool_]:
    """Return which cells are null, as [rows, features]."""
    found = np.zeros((len(batch), len(features)), dtype=bool)
    number = string = 0
    for index, feature in enumerate(features):
        if feature.type == "string":
            found[:, index] = batch.strings[:, string] == NULL_STRING
            string += 1
        else:
            found[:, index] = np.isnan(batch.numbers[:, number])
            number += 1
    return found


def place_of(features: Sequence[Feature], index: int) -> tuple[str, int]:
    """Return the block of feature `index` (`numbers` or `strings`) and its column there."""
    is_text = features[index].type == "string"
    column = sum((f.type == "string") == is_text for f in features[:index])
    return ("strings" if is_text else "numbers"), column


def with_cell(
    batch: Batch, features: Sequence[Feature], index: int, values: Sequence[Any]
) -> Batch:
    """Return the batch with the column of feature `index` replaced by `values`, one for each row."""
    block, column = place_of(features, index)
    numbers, strings = batch.numbers.copy(), batch.strings.copy()
    if block == "numbers":
        numbers[:, column] = values
    else:
        strings[:, column] = values
    return Batch(numbers=numbers, strings=strings)


def null_of(feature: Feature) -> Any:
    """Return what stands for a null of this feature in a batch."""
    return NULL_STRING if feature.type == "string" else np.nan


def record_of(batch: Batch, features: Sequence[Feature], row: int) -> dict[str, Any]:
    """Return one row as a caller would send it."""
    return {
        f.name: _sent(_cell(batch, features, index, row), f) for index, f in enumerate(features)
    }


def _cell(batch: Batch, features: Sequence[Feature], index: int, row: int) -> Any:
    block, column = place_of(features, index)
    return (batch.strings if block == "strings" else batch.numbers)[row, column]


def _sent(value: Any, feature: Feature) -> Any:
    if feature.type == "string":
        return None if value == NULL_STRING else str(value)
    if np.isnan(value):
        return None
    return {"long": int, "boolean": bool}.get(feature.type, float)(value)
