"""Batches of bounded size from CSV, JSON Lines and Parquet."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from cannery.errors import SchemaError, UsageError
from cannery.signatures import Signature
from cannery.tables.cells import inferred, typed
from cannery.tables.formats import STREAM, TableFormat, format_of

BATCH_ROWS = 65_536
"""Rows of a batch unless told."""

_BLOCK = 4 << 20
"""Bytes of CSV that are parsed at a time; also the longest row."""
_HEADER_LIMIT = 1 << 20
_INDEX = re.compile(r"__index_level_\d+__")

_Kinds = dict[type, str]
_KINDS: _Kinds = {
    bool: "boolean",
    int: "number",
    float: "number",
    str: "text",
    list: "list",
    dict: "object",
}


def read_batches(
    path: Path | str,
    *,
    size: int = BATCH_ROWS,
    format: TableFormat | None = None,  # noqa: A002 - the field's own word
    signature: Signature | None = None,
    watch: Callable[[float], None] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file in batches of at most `size`; at least one batch, which may be empty.

    `path` may be `-`, standard input, with a `format`. Cells of CSV are text, except in the columns
    of `signature`, which take its types. `watch` is told the share of the file that was read, in [0, 1],
    where its length is known.

    Raises UsageError for a file that can't be read, SchemaError for one that is not what its format
    says, naming row (counted from 1, without the header) and column.
    """
    kind = format_of(path, format)
    with ExitStack() as stack:
        stream = _opened(path, stack)
        match kind:
            case "csv":
                batches = _csv(stream, size, signature)
            case "jsonl":
                batches = _jsonl(stream, size)
            case "parquet":
                stream = _seekable(stream, stack)
                batches = _parquet(stream, size)
        share = _share(stream, kind)
        try:
            for batch in batches:
                if watch is not None and share is not None:
                    watch(share(len(batch)))
                yield batch
        except SchemaError as error:
            raise SchemaError(
                f"in '{path}': {error.message}", issues=error.issues, hint=error.hint
            ) from error
        except (pa.ArrowException, OSError) as error:
            raise SchemaError(f"'{path}' can't be read as {kind}: {_brief(error)}") from error


def read_table(path: Path | str) -> pa.Table:
    """Return the rows of a file as one table; raises like `read_batches`.

    The index of a pandas frame is left out. The columns of CSV take the types that their cells look like.
    """
    kind = format_of(path)
    found = [pa.Table.from_batches([batch]) for batch in read_batches(path, format=kind)]
    try:
        table = pa.concat_tables(found, promote_options="permissive")
    except pa.ArrowException as error:
        raise SchemaError(f"the rows of '{path}' don't agree: {_brief(error)}") from error
    # What pandas writes of an index without a name is no column of the model.
    table = table.drop_columns([n for n in table.column_names if _INDEX.fullmatch(n)])
    return inferred(table) if kind == "csv" else table


def _opened(path: Path | str, stack: ExitStack) -> BinaryIO:
    if str(path) == STREAM:
        return sys.stdin.buffer
    try:
        return stack.enter_context(Path(path).open("rb"))
    except OSError as error:
        raise UsageError(f"can't read '{path}': {error.strerror}") from error


def _seekable(stream: BinaryIO, stack: ExitStack) -> BinaryIO:
    """Return the stream, by way of a temporary file where it can't seek: Parquet is read from its end."""
    if stream.seekable():
        return stream
    spooled = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - it is entered here
    shutil.copyfileobj(stream, spooled)
    spooled.seek(0)
    return spooled


def _share(stream: BinaryIO, kind: TableFormat) -> Callable[[int], float] | None:
    """Return the function that takes the rows of each batch and tells the share that was read."""
    if not stream.seekable():
        return None
    if kind == "parquet":  # its pages are read in no order: count rows
        try:
            total = pyarrow.parquet.ParquetFile(stream).metadata.num_rows
        except (pa.ArrowException, OSError):
            return None  # said by whoever reads it
        done = 0

        def counted(rows: int) -> float:
            nonlocal done
            done += rows
            return done / total if total else 1.0

        return counted
    start = stream.tell()
    size = stream.seek(0, os.SEEK_END)
    stream.seek(start)
    return lambda _: min(1.0, stream.tell() / size) if size else 1.0


def _csv(stream: BinaryIO, size: int, signature: Signature | None) -> Iterator[pa.RecordBatch]:
    names = _header(stream)
    schema = pa.schema([(name, pa.string()) for name in names])
    rows = 0
    for batch in _csv_blocks(stream, schema):
        for start in range(0, len(batch), size):
            part = batch.slice(start, size)
            yield part if signature is None else typed(part, signature, rows + 1)
            rows += len(part)
    if not rows:
        empty = schema.empty_table().to_batches() or [pa.RecordBatch.from_pylist([], schema=schema)]
        yield empty[0] if signature is None else typed(empty[0], signature, 1)


def _csv_blocks(stream: BinaryIO, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    try:
        yield from pyarrow.csv.open_csv(
            stream,
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False, block_size=_BLOCK, column_names=schema.names
            ),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=schema,
                strings_can_be_null=True,
                null_values=[""],
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        if str(error) != "Empty CSV file":  # a header without rows is fine
            raise SchemaError(_brief(error)) from error


def _header(stream: BinaryIO) -> list[str]:
    """Read the first line (or lines, where a name holds a line break) and return the columns' names."""
    line = stream.readline(_HEADER_LIMIT)
    while line.count(b'"') % 2 and len(line) < _HEADER_LIMIT:
        more = stream.readline(_HEADER_LIMIT)
        if not more:
            break
        line += more
    try:
        text = line.decode("utf-8-sig")
        names = next(csv.reader(io.StringIO(text, newline="")), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise SchemaError("the header is not CSV in UTF-8") from error
    if not names:
        raise SchemaError("there is no header", hint="the first line must name the columns")
    twice = [name for index, name in enumerate(names) if name in names[:index]]
    if twice:
        raise SchemaError(f"the column '{twice[0]}' appears twice")
    return names


def _jsonl(stream: BinaryIO, size: int) -> Iterator[pa.RecordBatch]:
    rows = 0
    seen: dict[str, None] = {}  # a key that only some rows have is null in the others
    for lines in _chunks((line for line in stream if line.strip()), size):
        yield _records(lines, rows + 1, seen)
        rows += len(lines)
    if not rows:
        yield pa.RecordBatch.from_pylist([], schema=pa.schema([]))


def _chunks(items: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _records(lines: list[bytes], first_row: int, seen: dict[str, None]) -> pa.RecordBatch:
    decoder = msgspec.json.Decoder(dict[str, Any])
    records = []
    for row, line in enumerate(lines):
        try:
            records.append(decoder.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise SchemaError(f"row {first_row + row} is not a JSON object: {error}") from error
    for record in records:
        seen.update(dict.fromkeys(record))
    columns = [_values([r.get(name) for r in records], name, first_row) for name in seen]
    return pa.RecordBatch.from_arrays(columns, names=list(seen))


def _values(values: list[Any], name: str, first_row: int) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError) as error:
        kinds = [_KINDS[type(value)] if value is not None else None for value in values]
        first = next((kind for kind in kinds if kind is not None), None)
        odd = next((row for row, kind in enumerate(kinds) if kind not in (None, first)), None)
        if odd is None:
            raise SchemaError(f"column '{name}': {_brief(error)}") from error
        raise SchemaError(
            f"row {first_row + odd}, column '{name}': expected a {first}, as in the rows above,"
            f" got a {kinds[odd]}"
        ) from error


def _parquet(stream: BinaryIO, size: int) -> Iterator[pa.RecordBatch]:
    file = pyarrow.parquet.ParquetFile(stream, pre_buffer=False)
    rows = 0
    for batch in file.iter_batches(batch_size=size, use_threads=False):
        rows += len(batch)
        yield batch
    if not rows:
        yield pa.RecordBatch.from_pylist([], schema=file.schema_arrow)


def _brief(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    text = re.sub(r"^(CSV parse error|Invalid|CSV conversion error[^:]*): ", "", text)
    text = re.sub(r"^Row #(\d+): Expected (\d+ columns, got \d+).*", r"row \1: expected \2", text)
    if "straddling object" in text:
        text = f"a row is longer than {_BLOCK >> 20} MiB (or a quotation mark is never closed)"
    return (text[:1].lower() + text[1:])[:300]
