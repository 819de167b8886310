"""The forms in which rows lie in files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cannery.errors import UsageError

TableFormat = Literal["csv", "jsonl", "parquet"]

STREAM = "-"
"""The name that stands for standard input or output."""

_SUFFIXES: dict[str, TableFormat] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


def format_of(path: Path | str, given: TableFormat | None = None) -> TableFormat:
    """Return `given`, else what the suffix says; raises UsageError where neither tells."""
    if given is not None:
        return given
    if str(path) == STREAM:
        raise UsageError("'-' has no suffix", hint="say the format: csv, jsonl or parquet")
    suffix = Path(path).suffix.lower()
    if suffix not in _SUFFIXES:
        raise UsageError(
            f"the suffix '{suffix}' of '{path}' is no format of rows",
            hint=f"use one of {', '.join(_SUFFIXES)}; `score` also takes --input-format and "
            "--output-format",
        )
    return _SUFFIXES[suffix]
