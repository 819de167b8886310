"""Data frames of any make, as Arrow tables; no frame library is imported that isn't there already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from cannery.errors import SchemaError


def from_frame(frame: Any) -> pa.Table:
    """Return a pandas or polars frame, an Arrow table or a list of records as an Arrow table.

    An index is left out; NaN in pandas is null. Raises SchemaError for anything else, for a column
    of mixed types, and for two columns of one name.
    """
    try:
        table = _table(frame)
    except (pa.ArrowException, OverflowError, ValueError) as error:
        text = "; ".join(str(part) for part in error.args)
        raise SchemaError(
            f"the sample can't be read as columns of one type each: {text}"
        ) from error
    for name, count in Counter(table.column_names).items():
        if count > 1:
            raise SchemaError(f"in the sample, the column '{name}' stands {count} times")
    return table


def _table(frame: Any) -> pa.Table:
    if isinstance(frame, pa.Table):
        return frame
    if isinstance(frame, pa.RecordBatch):
        return pa.Table.from_batches([frame])
    if isinstance(frame, list | tuple) and all(isinstance(row, Mapping) for row in frame):
        return pa.Table.from_pylist([dict(row) for row in frame])
    library = type(frame).__module__.partition(".")[0]
    if library == "pandas" and hasattr(frame, "columns"):
        return pa.Table.from_pandas(frame, preserve_index=False)
    if library == "numpy" and getattr(frame, "ndim", 0) == 2:
        columns = [pa.array(frame[:, index]) for index in range(frame.shape[1])]
        return pa.table(columns, names=[f"x{index}" for index in range(len(columns))])
    if hasattr(frame, "__arrow_c_stream__"):  # polars, and whoever speaks Arrow
        return pa.table(frame)
    raise SchemaError(
        f"a sample of type {type(frame).__module__}.{type(frame).__qualname__} can't be read",
        hint="give a data frame, an Arrow table, a list of dicts, or the path of a file",
    )
