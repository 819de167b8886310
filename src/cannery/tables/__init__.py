"""Rows from and to files, in batches of bounded size."""

from cannery.tables.batches import to_batch
from cannery.tables.formats import TableFormat, format_of
from cannery.tables.frames import from_frame
from cannery.tables.reading import BATCH_ROWS, read_batches, read_table
from cannery.tables.writing import TableWriter, writer

__all__ = [
    "BATCH_ROWS",
    "TableFormat",
    "TableWriter",
    "format_of",
    "from_frame",
    "read_batches",
    "read_table",
    "to_batch",
    "writer",
]
