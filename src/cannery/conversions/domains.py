"""The numbers that the original answers at all: learned from it by trying, column by column.

A logarithm refuses 0, naive Bayes negative counts, a spline what lies outside its knots, and a graph
would answer all of them: so what the original refuses becomes a bound in the schema.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np

from cannery.conversions.samples import nulls, with_cell
from cannery.conversions.schemas import Ask, answered_each
from cannery.errors import ConversionError
from cannery.serving.issues import WHOLE
from cannery.signatures import LARGEST, Batch, Feature, concatenate

_BASES = 3
"""Rows in which a bound must be the same."""
_SEARCHED = 20
"""Sides of columns whose bounds are searched for; each takes some sixty questions. Further ones have those that were found, or none."""
_TINY = 1e-9
_HUGE = (1e38, 1e30, 1e20, 1e15)
"""Magnitudes up to which numbers are taken, where the original refuses larger ones: scaled, they overflow."""
_LARGE = tuple(10.0**n for n in range(14, 0, -1))
_TOGETHER = 8
"""Rows in which all numbers are huge at once, each with a sign of its own."""


def with_domains(
    ask: Ask, rows: Batch, features: tuple[Feature, ...]
) -> tuple[tuple[Feature, ...], tuple[str, ...]]:
    """Return the features with the numbers that the original answers, and what it refuses in words.

    `rows` are such as it answers. A bound holds only if it is the same in several of them: where the
    other columns have a say, there is none.
    """
    bases = _bases(ask, rows, features)
    if not bases:
        return features, ()
    learned = list(features)
    found: set[float] = set()
    for place, (index, side) in enumerate(_suspects(ask, bases[0], features)):
        whole = place < _SEARCHED
        edges = sorted({0.0, -1.0, 1.0} | found if whole else found, key=abs)
        bound = _bound(ask, bases, features, (index, side), edges, search=whole)
        if bound is not None:
            key = "least" if side < 0 else "most"
            learned[index] = msgspec.structs.replace(learned[index], **{key: bound})
            found.add(bound)
    learned = _within_magnitude(ask, bases[0], learned)
    refused = (
        f"a number in '{f.name}' that is not {f.range}"
        for f, before in zip(learned, features, strict=True)
        if f.range != before.range
    )
    return tuple(learned), tuple(refused)


def _bases(ask: Ask, rows: Batch, features: tuple[Feature, ...]) -> list[Batch]:
    """Return a few complete rows that the original answers, spread over all."""
    complete = np.flatnonzero(~nulls(rows, features).any(axis=1))
    if not len(complete):
        complete = np.arange(len(rows))
    places = complete[np.unique(np.linspace(0, len(complete) - 1, 8).astype(int))]
    each = [rows.take(slice(int(p), int(p) + 1)) for p in places]
    good = answered_each(ask, each, features)
    return [row for row, answered in zip(each, good, strict=True) if answered][:_BASES]


def _value(row: Batch, features: Sequence[Feature], index: int) -> float:
    return float(row.numbers[0, sum(f.type != "string" for f in features[:index])])


def _suspects(ask: Ask, base: Batch, features: tuple[Feature, ...]) -> Iterator[tuple[int, int]]:
    """Yield each column, and the side (-1, 1) on which a number far out of the sample is refused."""
    tried: list[tuple[int, int]] = []
    rows: list[Batch] = []
    for index, feature in enumerate(features):
        if feature.type in ("double", "long") and feature.categories is None:
            here = _value(base, features, index)
            for side in (-1, 1):
                if not math.isnan(here):
                    tried.append((index, side))
                    rows.append(with_cell(base, features, index, [_far(feature, here, side)]))
    for place in _refused(ask, rows, features):
        yield tried[place]


def _far(feature: Feature, here: float, side: int) -> float:
    """Return a number well outside of what was seen; a whole one."""
    seen = [abs(v) for v in (feature.minimum, feature.maximum, here) if v is not None]
    return side * float(min(math.ceil(10 * max(seen)) + 2, WHOLE))


def _refused(ask: Ask, rows: list[Batch], features: tuple[Feature, ...]) -> Iterator[int]:
    """Yield the places of the rows that are not answered finitely: halving, since most mostly are."""
    pending = [range(len(rows))] if rows else []
    while pending:
        part = pending.pop()
        try:
            raw = ask(concatenate([rows[i] for i in part]), features)
        except ConversionError:
            if len(part) == 1:
                yield part[0]
                continue
            half = len(part) // 2
            pending += [part[half:], part[:half]]
            continue
        bad = np.zeros(len(part), dtype=bool)
        for values in raw.values():
            if values.dtype.kind == "f":
                bad |= ~np.isfinite(values.reshape(len(part), -1)).all(axis=1)
        yield from (part[int(i)] for i in np.flatnonzero(bad))


def _bound(
    ask: Ask,
    bases: list[Batch],
    features: tuple[Feature, ...],
    suspect: tuple[int, int],
    edges: Sequence[float],
    *,
    search: bool,
) -> float | None:
    """Return the outermost number that is answered, if it is the same in all base rows.

    It is at or beside one of the `edges`, else looked for if `search`.
    """
    (index, side), feature = suspect, features[suspect[0]]

    def asked(value: float) -> list[bool]:
        rows = [with_cell(base, features, index, [value]) for base in bases]
        return answered_each(ask, rows, features)

    whole = feature.type == "long"
    step = 1.0 if whole else _TINY
    for edge in edges:
        last, beyond = edge, edge + side * step
        if all(asked(last)) and not any(asked(beyond)):
            return last
        if not whole and all(asked(edge - side * step)) and not any(asked(edge)):
            return math.nextafter(edge, -side * math.inf)
    if not search:
        return None
    here = _value(bases[0], features, index)
    inside, outside = _searched(lambda v: asked(v)[0], here, _far(feature, here, side), whole=whole)
    return inside if all(asked(inside)) and not any(asked(outside)) else None


def _searched(
    answered: Callable[[float], bool], inside: float, outside: float, *, whole: bool
) -> tuple[float, float]:
    """Return two neighbours, the first answered and the second not, by halving what is between them."""
    low, high = (int(inside), int(outside)) if whole else (_order(inside), _order(outside))
    while abs(high - low) > 1:
        middle = (low + high) // 2
        if answered(float(middle) if whole else _number(middle)):
            low = middle
        else:
            high = middle
    return (float(low), float(high)) if whole else (_number(low), _number(high))


def _order(value: float) -> int:
    """Return the place of a double among all doubles."""
    bits: int = struct.unpack("<q", struct.pack("<d", value))[0]
    return bits if bits >= 0 else -(bits & (2**63 - 1))


def _number(place: int) -> float:
    """Return the double in a place."""
    value: float = struct.unpack("<d", struct.pack("<q", abs(place)))[0]
    return value if place >= 0 else -value


def _within_magnitude(ask: Ask, base: Batch, features: list[Feature]) -> list[Feature]:
    """Return the features bounded by a magnitude that all of them may have, where larger ones are refused.

    Where there is none, each is bounded by its own.
    """
    numbers = [
        i for i, f in enumerate(features) if f.type in ("double", "long") and f.categories is None
    ]
    known = tuple(features)

    def taken(size: float, places: Sequence[int]) -> bool:
        sides = [(i, _within(known[i], s)) for i in places for s in (-size, size)]
        rows = [with_cell(base, known, i, [s]) for i, s in sides if _holds(known[i], s)]
        if len(places) > 1:
            rows += _together(base, known, places, size)
        return not rows or next(_refused(ask, rows, known), None) is None

    if not numbers or taken(LARGEST, numbers):
        return features
    common = next((s for s in (*_HUGE, *_beyond_sample(known)) if taken(s, numbers)), None)
    found = list(features)
    for index in numbers:
        size = common or _own_magnitude(features[index], lambda s, i=index: taken(s, [i]))  # type: ignore[misc]
        if size is not None and not (features[index].type == "long" and size >= WHOLE):
            found[index] = _bounded(features[index], size)
    return found


def _together(
    base: Batch, features: Sequence[Feature], places: Sequence[int], size: float
) -> Iterator[Batch]:
    """Yield rows with numbers of this magnitude in all places: their sums and products may be too large."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (_TOGETHER, len(places)))
    numbers = np.repeat(base.numbers, _TOGETHER, axis=0)
    columns = np.cumsum([f.type != "string" for f in features]) - 1
    for place, sign in zip(places, signs.T, strict=True):
        for row in range(_TOGETHER):
            value = _within(features[place], float(sign[row]) * size)
            if _holds(features[place], value):
                numbers[row, columns[place]] = value
    for row in range(_TOGETHER):
        yield Batch(numbers=numbers[row : row + 1], strings=base.strings)


def _own_magnitude(feature: Feature, taken: Callable[[float], bool]) -> float | None:
    """Return a magnitude up to which one column's numbers are taken; None where there is none, or no end."""
    if taken(LARGEST):
        return None
    sizes = (*_HUGE, *_beyond_sample([feature]))
    seen = max((abs(e) for e in (feature.minimum, feature.maximum) if e is not None), default=None)
    return next((size for size in (*sizes, seen) if size is not None and taken(size)), None)


def _bounded(feature: Feature, size: float) -> Feature:
    return msgspec.structs.replace(
        feature,
        least=-size if feature.least is None else feature.least,
        most=size if feature.most is None else feature.most,
    )


def _beyond_sample(features: Sequence[Feature]) -> list[float]:
    """Return the magnitudes below the huge ones that are well above all that was seen, the largest first.

    Where one number drowns all others, nearest neighbours are equally far.
    """
    edges = [e for f in features for e in (f.minimum, f.maximum) if e is not None]
    least = 10 * max(map(abs, edges), default=math.inf)
    return [size for size in _LARGE if size >= least]


def _within(feature: Feature, value: float) -> float:
    """Return a value that the feature's type can hold."""
    return max(-WHOLE, min(value, WHOLE)) if feature.type == "long" else value


def _holds(feature: Feature, value: float) -> bool:
    """Whether a value is within the bounds that are known."""
    above = feature.least is None or value >= feature.least
    return above and (feature.most is None or value <= feature.most)
