"""Parquet bodies, read by Arrow where it is installed: an image has it by `extras = ["parquet"]`."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from typing import Any

from cannery.errors import MalformedError
from cannery.serving.parquet_pages import unpacked_size

PARQUET = ("application/vnd.apache.parquet", "application/x-parquet", "application/parquet")
CELLS = 1 << 20
"""The longest table, in cells: about what fits into a JSON body."""
UNPACKED = 64 << 20
"""Bytes of all pages, unpacked."""
FOOTER = 1 << 20
"""Bytes of what says where its pages are, for two thousand columns; Arrow takes up to 230 times as many to read it."""

_INDEX = re.compile(r"__index_level_\d+__")
"""The columns in which pandas keeps an index: they are none of the frame's."""


def is_read() -> bool:
    """Whether Parquet bodies are taken here."""
    return importlib.util.find_spec("pyarrow") is not None


def table_of(body: bytes) -> dict[str, list[Any]]:
    """Return the columns of a Parquet file, all of one length; equal texts are one object.

    Raises MalformedError for what is no Parquet, nests, names a column twice, or unpacks to more
    than a request may hold.
    """
    import pyarrow as pa  # tenths of a second and 40 MB: only for those who send it
    import pyarrow.parquet

    try:
        _check_footer(body)
        file = pa.parquet.ParquetFile(pa.BufferReader(body), pre_buffer=False)
        names = _names(file)
        _check_size(unpacked_size(body))
        # Texts stay words of a dictionary: a file of a kilobyte can repeat a long one a million times.
        texts = [c.path for c in _leaves(file) if c.physical_type == "BYTE_ARRAY"]
        file = pa.parquet.ParquetFile(
            pa.BufferReader(body), pre_buffer=False, read_dictionary=texts
        )
        table = file.read(columns=names, use_threads=False)
        table.validate(full=True)  # words that are no UTF-8, places beyond their dictionary
    except (pa.ArrowException, OSError, ValueError) as error:  # OSError: Arrow's for torn pages
        reason = str(error).strip().partition("\n")[0][:200]
        raise MalformedError(f"the body is not Parquet: {reason}") from error
    return {
        name: [value for chunk in table.column(name).chunks for value in _values(chunk)]
        for name in names
    }


def _names(file: Any) -> list[str]:
    """Return the names of the columns to read, once the file is known to be flat and of a size to read."""
    meta = file.metadata
    groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
    cells = sum(group.num_rows for group in groups) * max(1, meta.num_columns)
    if cells > CELLS:
        raise MalformedError(f"the Parquet body has {cells} cells; at most {CELLS} are taken")
    _check_size(sum(group.total_byte_size for group in groups))
    leaves = _leaves(file)
    for leaf in leaves:
        if leaf.max_repetition_level or leaf.path != leaf.name:
            raise MalformedError(f"the column '{leaf.path[:60]}' is nested; send plain columns")
    names = [leaf.name for leaf in leaves]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise MalformedError(f"the column '{twice[0][:60]}' appears twice")
    return [name for name in names if not _INDEX.fullmatch(name)]


def _check_footer(body: bytes) -> None:
    """Raise MalformedError for a footer that would take too much memory to read."""
    size = int.from_bytes(body[-8:-4], "little")
    if size > FOOTER:
        raise MalformedError(
            f"the body is not Parquet: its footer has {size} bytes; at most {FOOTER}"
        )


def _check_size(size: int) -> None:
    if size > UNPACKED:
        raise MalformedError(f"the Parquet body unpacks to {size} bytes; at most {UNPACKED}")


def _leaves(file: Any) -> list[Any]:
    return [file.schema.column(i) for i in range(len(file.schema))]


def _values(chunk: Any) -> list[Any]:
    """Return the values of an Arrow array as Python's; null is None."""
    if not hasattr(chunk, "dictionary"):
        values: list[Any] = chunk.to_pylist()
        return values
    words = chunk.dictionary.to_pylist()
    return [None if place is None else words[place] for place in chunk.indices.to_pylist()]
