"""A file of rows through a can, on this machine, in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from cannery.blobs import refuse_existing
from cannery.cans.open import Can
from cannery.errors import SchemaError, UsageError
from cannery.options import option
from cannery.serving.schema import columns
from cannery.serving.scorer import Scorer, open_scorer
from cannery.signatures import Signature
from cannery.tables import BATCH_ROWS, TableFormat, format_of, read_batches, to_batch, writer

Progress = Callable[[int, float | None], None]
"""Told, after each chunk, the rows scored so far and the share of the input that was read (if known)."""

_TYPES = {"double": pa.float64(), "long": pa.int64(), "boolean": pa.bool_(), "string": pa.string()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreOptions:
    """How a file is scored."""

    keep: tuple[str, ...] = field(
        default=(),
        metadata=option(
            "Write this column of the input before the answers; may be given more than once."
        ),
    )
    input_format: TableFormat | None = field(
        default=None, metadata=option("Format of the input; by default, by its suffix.")
    )
    output_format: TableFormat | None = field(
        default=None, metadata=option("Format of the output; by default, by its suffix.")
    )
    chunk: int = field(
        default=BATCH_ROWS, metadata=option("Rows that are in memory at a time.", metavar="ROWS")
    )
    threads: int = field(default=1, metadata=option("Threads of the runtime.", metavar="N"))
    force: bool = field(default=False, metadata=option("Replace an output that exists."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What was done."""

    rows: int
    seconds: float


def _silent(rows: int, share: float | None) -> None:
    """Tell nobody."""


def score(
    can: Can,
    source: Path | str,
    target: Path | str,
    options: ScoreOptions | None = None,
    progress: Progress = _silent,
) -> Scored:
    """Score every row of `source` and write the answers to `target`, in the order of the rows.

    Both are CSV, JSON Lines or Parquet; `-` is a stream. The output appears whole or not at all.
    Raises UsageError for options that can't be meant, SchemaError naming row and column of what
    doesn't fit, OutputError, and CanError or ProofError when the model fails.
    """
    options = options or ScoreOptions()
    began = time.perf_counter()
    _check(can.manifest.signature, target, options)
    scorer = open_scorer(can, threads=options.threads)
    share: list[float] = []
    batches = read_batches(
        source,
        size=options.chunk,
        format=options.input_format,
        signature=can.manifest.signature,
        watch=share.append,
    )
    rows = 0
    first = next(batches)  # what is wrong with the input is said before an output is begun
    with writer(target, options.output_format, force=options.force) as out:
        for answer in _answers(first, batches, scorer, can.manifest.signature, options.keep):
            out.write(answer)
            rows += len(answer)
            progress(rows, share[-1] if share else None)
    return Scored(rows=rows, seconds=time.perf_counter() - began)


def _check(signature: Signature, target: Path | str, options: ScoreOptions) -> None:
    if options.chunk < 1:
        raise UsageError(f"a chunk of {options.chunk} rows can't be scored", hint="use 1 or more")
    format_of(target, options.output_format)
    if str(target) != "-":
        refuse_existing(Path(target), force=options.force)
    names = [*options.keep, *(output.name for output in signature.outputs)]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise UsageError(
                f"the output would have two columns '{name}'",
                hint="keep it under another name, or rename the answer in [outputs]",
            )


def _answers(
    first: pa.RecordBatch,
    more: Iterator[pa.RecordBatch],
    scorer: Scorer,
    signature: Signature,
    keep: Sequence[str],
) -> Iterator[pa.RecordBatch]:
    """Yield the kept columns and the answers of each batch, in one schema throughout."""
    missing = [name for name in keep if name not in first.schema.names]
    if missing:
        raise UsageError(
            f"the input has no column '{missing[0]}' to keep",
            hint=f"its columns are {', '.join(first.schema.names)}",
        )
    kept = pa.schema([_field(first.schema.field(name)) for name in keep])
    schema = pa.schema([*kept, *((o.name, _TYPES[o.type]) for o in signature.outputs)])
    row = 1
    batch: pa.RecordBatch | None = first
    while batch is not None:
        arrays = [_kept(batch, column, row) for column in kept]
        if len(batch):
            raw = scorer.score(to_batch(batch, signature, first_row=row))
            answer = columns(raw, signature, len(batch))
            arrays += [pa.array(answer[o.name], type=_TYPES[o.type]) for o in signature.outputs]
        else:
            arrays += [pa.array([], type=_TYPES[o.type]) for o in signature.outputs]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        row += len(batch)
        batch = next(more, None)


def _field(column: pa.Field) -> pa.Field:
    """Return the column as it is written: a dictionary as its values, nothing but nulls as text."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.field(column.name, pa.string() if pa.types.is_null(kind) else kind)


def _kept(batch: pa.RecordBatch, column: pa.Field, row: int) -> pa.Array:
    try:
        return batch.column(column.name).cast(column.type)
    except (KeyError, pa.ArrowException) as error:
        raise SchemaError(
            f"from row {row} on, column '{column.name}' is no longer of type {column.type}",
            hint="leave it out of --keep, or give every row the same type",
        ) from error
