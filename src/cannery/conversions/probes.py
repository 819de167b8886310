"""The rows on which original and converted are compared: sample, thresholds, nulls, unseen, extremes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cannery.conversions.nouns import Column
from cannery.conversions.samples import null_of, pick, with_cell
from cannery.conversions.schemas import UNSEEN, Ask
from cannery.errors import ConversionError
from cannery.signatures import Batch, Feature, Raw, concatenate

Probe = Literal["sample", "threshold", "null", "unseen", "extreme"]

_DOUBLES = (
    *(0.0, -0.0, 1.0, -1.0, 5e-324, 1e-300, -1e-300, 1e15, -1e15),
    *(3.4028234663852886e38, -3.4028234663852886e38, 1.1754943508222875e-38, 1.401298464324817e-45),
)
"""Zeroes, subnormals, and the edges of float32."""

_TEXTS = (
    *(
        "\u00c9CLAIR e\u0301clair \u0130stanbul",
        "STRA\u1e9eE stra\u00dfe \u03a3\u038a\u03a3\u03a5\u03a6\u039f\u03a3",
    ),
    *(
        "tabs\tand\n\nlines\u00a0",
        "\u65e5\u672c\u8a9e \u2460 42 \u0663 x_y don't",
        "\U0001f44d ok\U0001f44d",
    ),
)
"""Accents apart and together, letters whose case changes their number, blanks, digits of several kinds."""

_LONGS = (0, 1, -1, 2**24 + 1, -(2**24) - 1, 2**31, -(2**31), 2**53, -(2**53))
"""Beyond 2**24 float32 skips whole numbers, beyond 2**53 double does."""

_SEVERAL = 24
"""Rows with several numbers at the edge."""
_REFUSED = 100
"""Rows, one by one, that the original may refuse before it is asked no more, if it refuses most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """Rows of one kind that the original answered, and its answers."""

    kind: Probe
    batch: Batch
    raw: Raw
    refused: tuple[str, ...] = ()
    """What the original said of rows that it refused."""


def null_rows(rows: Batch, features: tuple[Feature, ...], cap: int) -> Batch:
    """Return rows with a null in one nullable feature, for each of them, and in all at once."""
    places = [i for i, f in enumerate(features) if f.nullable]
    if not places:
        return rows.take(slice(0, 0))
    share = max(1, min(len(rows), 8, cap // (len(places) + 1)))
    some = rows.take(slice(0, share))
    found = [with_cell(some, features, i, [null_of(features[i])] * share) for i in places]
    every = some
    for index in places:
        every = with_cell(every, features, index, [null_of(features[index])] * share)
    return concatenate([*found, every])


def unseen_rows(rows: Batch, features: tuple[Feature, ...], cap: int) -> Batch:
    """Return rows with values that are in no training data, for each feature that takes such values."""
    found: list[Batch] = []
    for index, feature in enumerate(features):
        values = _unseen(feature)
        if values:
            count = min(len(rows), len(values), cap)
            found.append(with_cell(rows.take(slice(0, count)), features, index, values[:count]))
    return concatenate(found) if found else rows.take(slice(0, 0))


def _unseen(feature: Feature) -> list[Any]:
    if not feature.unseen:
        return []
    if feature.type == "string":
        first = str((feature.categories or ("a",))[0])
        odd = () if feature.categories else _TEXTS
        return [UNSEEN, "", " ", first + " ", first.upper() + "x", "0", "nan", *odd]
    values = [float(v) for v in feature.categories or () if not isinstance(v, str)]
    if not values or feature.type == "boolean":
        return []
    return [max(values) + 1.0, min(values) - 1.0]


def extreme_rows(rows: Batch, features: tuple[Feature, ...], cap: int, seed: int) -> Batch:
    """Return rows with one number, and some with several, at the edge of its type or of the sample, at most `cap`."""
    found: list[Batch] = []
    for index, feature in enumerate(features):
        values = _extremes(feature)
        if values:
            repeated = rows.take(np.arange(len(values)) % len(rows))
            found.append(with_cell(repeated, features, index, values))
    if not found:
        return rows.take(slice(0, 0))
    several = _several(rows, features, min(_SEVERAL, cap // 4), seed)
    return concatenate([pick(concatenate(found), cap - len(several), seed), several])


def _several(rows: Batch, features: tuple[Feature, ...], count: int, seed: int) -> Batch:
    """Return rows with half of the numbers at an edge at once: sums then depend on their order."""
    random = np.random.default_rng(seed)
    many = rows.take(np.arange(count) % len(rows))
    numbers = many.numbers.copy()
    for column, feature in enumerate(f for f in features if f.type != "string"):
        if values := _extremes(feature):
            moved = random.integers(0, 2, count) == 1
            numbers[moved, column] = random.choice(values, int(moved.sum()))
    return Batch(numbers=numbers, strings=many.strings)


def _extremes(feature: Feature) -> list[float]:
    low, high = feature.minimum, feature.maximum
    match feature.type:
        case "double":
            own = (
                []
                if low is None or high is None
                else [
                    low,
                    high,
                    np.nextafter(low, -np.inf),
                    np.nextafter(high, np.inf),
                    10 * low,
                    10 * high,
                ]
            )
            return [*_DOUBLES, *own]
        case "long":
            own = (
                []
                if low is None or high is None
                else [low, high, low - 1, high + 1, 10 * low, 10 * high]
            )
            limit = float(2**53)
            return [float(np.clip(v, -limit, limit)) for v in (*_LONGS, *own)]
        case _:
            return []


def made_up_rows(
    features: Sequence[Feature], columns: Sequence[Column], count: int, seed: int
) -> Batch:
    """Return rows from the schema alone, where there is no sample: categories, ranges, plain numbers."""
    random = np.random.default_rng(seed)
    spans = {c.name: c.span[:2] for c in columns if c.span is not None}
    numbers = [
        _numbers(f, spans.get(f.name), count, random) for f in features if f.type != "string"
    ]
    strings = [_texts(f, count, random) for f in features if f.type == "string"]
    return Batch(
        numbers=np.stack(numbers, axis=1) if numbers else np.empty((count, 0)),
        strings=np.stack(strings, axis=1) if strings else np.empty((count, 0), dtype=object),
    )


def _numbers(
    feature: Feature, span: tuple[float, float] | None, count: int, random: np.random.Generator
) -> Any:
    if feature.type == "boolean":
        return random.integers(0, 2, size=count).astype(np.float64)
    if feature.categories:
        return random.choice(np.array(feature.categories, dtype=np.float64), size=count)
    if feature.minimum is not None and feature.maximum is not None:
        span = feature.minimum, feature.maximum
    if span is not None:
        values = random.uniform(*span, size=count)
    else:
        values = random.normal(size=count) * random.choice([1.0, 10.0, 100.0], size=count)
        values[: count // 2] = np.abs(values[: count // 2])  # of counts and logarithms
    return np.round(values) if feature.type == "long" else values


def _texts(feature: Feature, count: int, random: np.random.Generator) -> Any:
    values = np.array([str(c) for c in feature.categories or ("a", "b")], dtype=object)
    return random.choice(values, size=count)


def answered(ask: Ask, kind: Probe, batch: Batch, features: tuple[Feature, ...]) -> Probed | None:
    """Return what the original answers, leaving out the rows that it refuses; None where none is left.

    Where it refuses most of many rows, those that are left are no longer tried.
    """
    kept: list[tuple[Batch, Raw]] = []
    refused: list[str] = []
    pending = [batch] if len(batch) else []
    while pending:
        if kept and len(refused) > max(_REFUSED, sum(len(rows) for rows, _ in kept)):
            break
        part = pending.pop(0)
        try:
            kept.append((part, ask(part, features)))
        except ConversionError as error:
            if len(part) == 1:
                refused.append(error.message)
                continue
            half = len(part) // 2
            pending[:0] = [part.take(slice(0, half)), part.take(slice(half, None))]
    reasons = tuple(dict.fromkeys(refused))
    if not kept:
        return (
            Probed(kind=kind, batch=batch.take(slice(0, 0)), raw={}, refused=reasons)
            if reasons
            else None
        )
    return Probed(
        kind=kind,
        batch=concatenate([rows for rows, _ in kept]),
        raw={name: np.concatenate([raw[name] for _, raw in kept]) for name in kept[0][1]},
        refused=reasons,
    )
