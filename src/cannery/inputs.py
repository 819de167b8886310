"""What a caller hands in: a model, and rows such as it will see."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cannery.errors import SchemaError
from cannery.progress import Progress, station
from cannery.sources.source import Origin, Source

if TYPE_CHECKING:
    import pyarrow as pa

# What reads models and tables (pyarrow among it) is imported where it is used: a can needs none of it.


def received(
    model: object,
    sample: object | None,
    staging: Path,
    progress: Progress,
    *,
    name: str | None = None,
    tracking_uri: str | None = None,
) -> tuple[Source, pa.Table | None]:
    """Fetch the model into `staging`, and read the sample, if there is one.

    `model` is a path, a URI or a fitted object, which is then called `name`; `sample` a path to CSV,
    JSONL or Parquet, or a data frame. Raises SourceError, SchemaError.
    """
    with station("fetch", progress) as work:
        table = None if sample is None else _table(sample)
        source = _source(model, staging, name, tracking_uri)
        work.result(_lineage(source.origin))
    return source, table


def _source(model: object, staging: Path, name: str | None, tracking_uri: str | None) -> Source:
    from cannery.sources.fetch import fetch
    from cannery.sources.memory import of_object

    if isinstance(model, str | Path):
        return fetch(str(model), staging=staging, tracking_uri=tracking_uri)
    return of_object(model, name or type(model).__name__.lower(), staging=staging)


def _table(sample: object) -> Any:
    from cannery.tables.frames import from_frame
    from cannery.tables.reading import read_table

    path = isinstance(sample, str | Path)
    table = read_table(Path(str(sample))) if path else from_frame(sample)
    if not table.num_rows:
        raise SchemaError(
            f"the sample {repr(str(sample)) + ' ' if path else ''}has no rows",
            hint="pass rows such as the model will see, or no sample at all",
        )
    return table


def _lineage(origin: Origin) -> str:
    """Return the name as given and what it became, digests cut short."""
    resolved = re.sub(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}", r"\1", origin.resolved)
    return f"{origin.given} → {resolved}" if origin.resolved != origin.given else origin.given
