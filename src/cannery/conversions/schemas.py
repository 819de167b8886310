"""The signature: from what was recorded, what the estimator knows of itself, and the sample."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import pyarrow as pa

from cannery.conversions.nouns import Column
from cannery.conversions.samples import batch_of, kind_of, null_of, with_cell
from cannery.errors import ConversionError, Issue, SchemaError, UsageError
from cannery.signatures import Batch, Feature, Kind, Raw, concatenate

log = logging.getLogger(__name__)

Ask = Callable[[Batch, tuple[Feature, ...]], Raw]
"""Ask a model; raises ConversionError when it refuses the rows."""

UNSEEN = "\u2620 never seen"
"""A text that is in nobody's training data."""


def features_of(
    columns: Sequence[Column],
    *,
    named: bool,
    recorded: tuple[Feature, ...] | None,
    sample: pa.Table | None,
    told: tuple[Feature, ...] = (),
) -> tuple[Feature, ...]:
    """Return the features in the model's own order; types as told, else as recorded, else as in the sample.

    Raises SchemaError, naming all, for columns that are missing; ConversionError when nothing at
    all is known of the columns.
    """
    given = recorded if recorded or named else told or None
    columns = _as_given(columns, [f.name for f in given or ()], sample)
    names = _names(columns, named=named, recorded=given, sample=sample)
    stray = [f.name for f in told if f.name not in names]
    if stray:
        raise UsageError(
            f"'features.{stray[0]}' is no column of the model", hint=f"it has: {', '.join(names)}"
        )
    known = {f.name: f for f in (*(recorded or ()), *told)}
    if sample is not None:
        _check_columns(names, sample)
    by_name = dict(zip(names, columns, strict=True)) if len(columns) == len(names) else {}
    features: list[Feature] = []
    issues: list[Issue] = []
    for name in names:
        column = by_name.get(name, Column(name=name))
        if column.categorical:
            kind = _kind(name, column, None, issues)
        else:
            kind = known[name].type if name in known else _kind(name, column, sample, issues)
        features.append(_feature(name, kind, column, known.get(name)))
    if issues:
        raise SchemaError(
            "the sample has columns that no model can take: " + "; ".join(map(str, issues)),
            issues=tuple(issues),
        )
    return tuple(features)


def _as_given(
    columns: Sequence[Column], recorded: Sequence[str], sample: pa.Table | None
) -> Sequence[Column]:
    """Return the columns by the names that callers give: LightGBM notes them with `_` for a blank."""
    given = recorded or (sample.column_names if sample is not None else ())
    noted = {name.replace(" ", "_"): name for name in given if " " in name}
    if any(c.name in given and c.name in noted for c in columns):
        return columns
    return [msgspec.structs.replace(c, name=noted.get(c.name, c.name)) for c in columns]


def _names(
    columns: Sequence[Column],
    *,
    named: bool,
    recorded: tuple[Feature, ...] | None,
    sample: pa.Table | None,
) -> tuple[str, ...]:
    own = tuple(c.name for c in columns)
    given = tuple(f.name for f in recorded or ())
    if named and own:
        if given and set(given) != set(own):
            raise _mismatch(given, own)
        return own
    if given:
        if own and len(given) != len(own):
            raise _mismatch(given, own)
        return given
    if sample is not None:
        if own and set(own) <= set(sample.column_names):
            return own
        if own and len(own) != len(sample.column_names):
            raise SchemaError(
                f"the model takes {len(own)} columns without names, and the sample has "
                f"{len(sample.column_names)}: {', '.join(sample.column_names)}",
                hint="give a sample with just the model's columns, in its order",
            )
        return tuple(sample.column_names)
    if own:
        return own
    raise ConversionError(
        "nothing is known of the columns that this model takes",
        hint="pass rows such as it will see: --sample FILE (CSV, JSONL or Parquet)",
    )


def _mismatch(recorded: tuple[str, ...], own: tuple[str, ...]) -> SchemaError:
    return SchemaError(
        f"the recorded signature has the columns {', '.join(recorded)}, but the model was fitted on "
        f"{', '.join(own)}",
        hint="log the model again with a signature of its own input",
    )


def _check_columns(names: Sequence[str], sample: pa.Table) -> None:
    present = set(sample.column_names)
    missing = [name for name in names if name not in present]
    if missing:
        issues = tuple(Issue(path=n, expected="a column", got="none") for n in missing)
        raise SchemaError(
            f"the sample lacks the columns {', '.join(missing)}",
            issues=issues,
            hint=f"it has: {', '.join(sample.column_names)}",
        )
    extra = sorted(present - set(names))
    if extra:
        log.info("columns of the sample that the model does not take: %s", ", ".join(extra))


def _kind(name: str, column: Column, sample: pa.Table | None, issues: list[Issue]) -> Kind:
    """Return the type that the sample gives a column, else what its categories are, else double."""
    if sample is not None:
        type_ = sample.column(name).type
        kind = kind_of(type_)
        if kind is not None:
            return kind
        if not pa.types.is_null(type_):
            expected = "numbers, booleans or texts"
            issues.append(Issue(path=name, expected=expected, got=str(type_)))
    if column.text:
        return "string"
    kinds = {type(value) for value in column.categories or ()}
    return "string" if kinds == {str} else "long" if kinds == {int} else "double"


def _feature(name: str, kind: Kind, column: Column, recorded: Feature | None) -> Feature:
    categories = column.categories or (recorded.categories if recorded else None)
    if categories is not None and any(isinstance(v, str) != (kind == "string") for v in categories):
        categories = None  # a mixed column: the encoder compares texts that callers can't send
    low, high, seen = column.span or (None, None, False)
    if not seen or kind == "string":
        low = high = None
    return Feature(
        name=name,
        type=kind,
        nullable=recorded is not None and recorded.nullable,
        categories=categories,
        unseen=column.unseen or categories is None,
        categorical=column.categorical and categories is not None,
        none=column.none and kind == "string",
        minimum=recorded.minimum if recorded else low,
        maximum=recorded.maximum if recorded else high,
    )


def with_ranges(features: Sequence[Feature], table: pa.Table) -> tuple[Feature, ...]:
    """Return the features with the range of the sample's finite values (numbers only)."""
    batch = batch_of(table, features)
    ranged: list[Feature] = []
    column = 0
    for feature in features:
        if feature.type == "string":
            ranged.append(feature)
            continue
        values = batch.numbers[:, column]
        values = values[np.isfinite(values)]
        column += 1
        span = (
            {"minimum": float(values.min()), "maximum": float(values.max())} if len(values) else {}
        )
        ranged.append(msgspec.structs.replace(feature, **span))
    return tuple(ranged)


def probe(
    ask: Ask,
    row: Batch,
    features: tuple[Feature, ...],
    required: frozenset[str] = frozenset(),
) -> tuple[tuple[Feature, ...], tuple[str, ...]]:
    """Learn from the original, by trying, which features may be null or outside their categories.

    `row` is a single row that it answers; `required` are the features that a recorded signature
    does not allow to be null, whatever the original would do. Returns the features, and what the
    original refuses in words.
    """
    rows = range(len(features))
    nulls = [with_cell(row, features, i, [null_of(features[i])]) for i in rows]
    others = [with_cell(row, features, i, [_outside(features[i])]) for i in rows]
    listed = [i for i in rows if features[i].categories is not None]
    nullable = answered_each(ask, nulls, features)
    unseen = dict(
        zip(listed, answered_each(ask, [others[i] for i in listed], features), strict=True)
    )
    refused = [f"null in '{features[i].name}'" for i in rows if not nullable[i]]
    refused += [
        f"a value of '{features[i].name}' outside its categories" for i in listed if not unseen[i]
    ]
    learned = (
        msgspec.structs.replace(
            f,
            nullable=nullable[i] and f.name not in required,
            unseen=unseen.get(i, f.unseen),
        )
        for i, f in enumerate(features)
    )
    return tuple(learned), tuple(refused)


def _outside(feature: Feature) -> str | float:
    """Return a value that is none of the categories."""
    if feature.type == "string":
        return UNSEEN
    values = [float(v) for v in feature.categories or () if not isinstance(v, str)]
    return max(values, default=0.0) + 1.0


def answered_each(ask: Ask, rows: list[Batch], features: tuple[Feature, ...]) -> list[bool]:
    """Return for each row whether the original gives it an answer, and a finite one.

    All are asked at once; only when that is refused, one by one.
    """
    if not rows:
        return []
    try:
        raw = ask(concatenate(rows), features)
    except ConversionError:
        if len(rows) == 1:
            return [False]
        return [found for row in rows for found in answered_each(ask, [row], features)]
    finite = np.ones(len(rows), dtype=bool)
    for values in raw.values():
        if values.dtype.kind == "f":
            finite &= np.isfinite(values.reshape(len(rows), -1)).all(axis=1)
    return [bool(one) for one in finite]
