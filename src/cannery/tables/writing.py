"""Batches to CSV, JSON Lines and Parquet: the output appears whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from cannery.blobs import write_file
from cannery.errors import OutputError, SchemaError
from cannery.tables.formats import STREAM, TableFormat, format_of

_LINE_ROWS = 4096
"""Rows that become Python objects at a time when JSON Lines are written."""


class TableWriter:
    """Takes batches of one schema, and nothing but that."""

    def __init__(self, sink: BinaryIO, format: TableFormat) -> None:  # noqa: A002
        self._sink = sink
        self._format = format
        self._schema: pa.Schema | None = None
        self._put: Callable[[pa.RecordBatch], Any] = self._lines
        self._close: Callable[[], Any] = lambda: None

    def write(self, batch: pa.RecordBatch) -> None:
        """Append the rows; raises SchemaError when the columns differ from the first batch's."""
        if self._schema is None:
            self._open(batch.schema)
        elif batch.schema != self._schema:
            raise SchemaError(
                f"the columns {batch.schema.names} differ from those written before,"
                f" {self._schema.names}, in name or type"
            )
        self._put(batch)

    def close(self) -> None:
        """Write what belongs at the end."""
        self._close()

    def _open(self, schema: pa.Schema) -> None:
        self._schema = schema
        target: Any
        match self._format:
            case "csv":
                options = pyarrow.csv.WriteOptions(quoting_style="needed")
                target = pyarrow.csv.CSVWriter(self._sink, schema, write_options=options)
            case "parquet":
                target = pyarrow.parquet.ParquetWriter(self._sink, schema)
            case "jsonl":
                return
        self._put, self._close = target.write, target.close

    def _lines(self, batch: pa.RecordBatch) -> None:
        encoder = msgspec.json.Encoder()
        for start in range(0, len(batch), _LINE_ROWS):
            self._sink.write(encoder.encode_lines(batch.slice(start, _LINE_ROWS).to_pylist()))


@contextmanager
def writer(
    path: Path | str,
    format: TableFormat | None = None,  # noqa: A002
    *,
    force: bool = False,
) -> Iterator[TableWriter]:
    """Open a table that takes the name `path` only when the block ends well; `-` is standard output.

    Raises OutputError when the output exists and `force` is not given, or can't be written.
    """
    kind = format_of(path, format)
    with ExitStack() as stack:
        stream = str(path) == STREAM
        sink = (
            sys.stdout.buffer
            if stream
            else stack.enter_context(write_file(Path(path), force=force))
        )
        table = TableWriter(sink, kind)
        try:
            yield table
            table.close()
            sink.flush()
        except (pa.ArrowException, BrokenPipeError) as error:
            raise OutputError(f"can't write '{path}': {error}") from error
