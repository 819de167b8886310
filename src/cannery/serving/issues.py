"""Say everything that is wrong with some records: the slow, explaining twin of the typed decoder."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from cannery.errors import Issue, SchemaError
from cannery.signatures import LARGEST, NULL_STRING, Batch, Feature, Signature

WHOLE = 2**53
"""Whole numbers up to here are exact in double, in which everything is computed."""
LISTED = 200
"""Issues that are listed; the rest is counted."""

_TYPES = {
    "double": "a number",
    "long": "a whole number",
    "boolean": "true or false",
    "string": "text",
}


class _Wrong(Exception):  # noqa: N818 - a message between two functions, never seen outside
    """A value that doesn't fit; carries what was expected."""

    def __init__(self, expected: str) -> None:
        super().__init__(expected)
        self.expected = expected


def explain(records: Sequence[Any], signature: Signature, *, single: bool = False) -> Batch:
    """Return the batch of these records; raises SchemaError with every issue.

    Paths read `[2].tenure`, or `tenure` for a `single` record. A `long` takes whole floats (2.0),
    since JSON has one type of number; booleans are never numbers, numbers never booleans or text.
    No field may be left out: a value that is missing is said, as null, where the schema allows it.
    """
    found = _Found()
    known = {f.name: f for f in signature.features}
    rows = [
        _row(record, known, found, "" if single else f"[{index}]")
        for index, record in enumerate(records)
    ]
    found.complain()
    numbers, strings = signature.numbers, signature.strings
    names = [f.name for f in (*numbers, *strings)]
    return pack([[row[name] for name in names] for row in rows], (len(numbers), len(strings)))


def pack(rows: Sequence[Sequence[Any]], widths: tuple[int, int]) -> Batch:
    """Return the batch of valid rows, each its numbers and then its texts; `widths` is how many of both."""
    numbers, texts = widths
    width = numbers + texts
    cells = np.fromiter(chain.from_iterable(rows), object, len(rows) * width)
    cells = cells.reshape(len(rows), width)
    return Batch(
        numbers=cells[:, :numbers].astype(np.float64),  # None becomes NaN
        strings=cells[:, numbers:].copy(),
    )


def show(value: Any) -> str:
    """Return the offending value, short enough for a message."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "an array"
    if isinstance(value, int | float | str | None):
        text = json.dumps(value, ensure_ascii=False) if not _long(value) else "a long number"
        text = text if len(text) <= 40 else text[:36] + ' …"'
        return text.encode("utf-8", "backslashreplace").decode()
    return type(value).__name__


def describe(feature: Feature) -> str:
    """Return what a feature takes, in words."""
    return _TYPES[feature.type] + (" or null" if feature.nullable else "")


class _Found:
    """The issues of one request."""

    def __init__(self) -> None:
        self.issues: list[Issue] = []
        self.count = 0

    @property
    def full(self) -> bool:
        """Whether further issues are only counted."""
        return self.count >= LISTED

    def add(self, path: str, expected: str, got: str) -> None:
        self.count += 1
        if self.count <= LISTED:
            self.issues.append(Issue(path=path or "$", expected=expected, got=got))

    def complain(self) -> None:
        """Raise SchemaError where there is any issue."""
        if not self.count:
            return
        more = f" (and {self.count - 1} more)" if self.count > 1 else ""
        raise SchemaError(f"{self.issues[0]}{more}", issues=tuple(self.issues))


def _row(record: Any, known: dict[str, Feature], found: _Found, path: str) -> dict[str, Any]:
    """Return the values by field, ready to be packed; what doesn't fit is added to `found`."""
    row: dict[str, Any] = {}
    if not isinstance(record, Mapping):
        found.add(path, "an object", show(record))
        return row
    for name in record:
        if name not in known:
            # To look for what was meant takes long; nobody reads it past the list.
            meant = "" if found.full else _suggest(name, known, record)
            expected = f"a field of the model{meant}"
            found.add(_at(path, name), expected, "an unknown field")
    for name, feature in known.items():
        if name in record:
            try:
                row[name] = _value(record[name], feature)
            except _Wrong as wrong:
                found.add(_at(path, name), wrong.expected, show(record[name]))
        else:
            found.add(_at(path, name), describe(feature), "nothing")
    return row


def _at(path: str, name: Any) -> str:
    text = str(name)
    text = (text if len(text) <= 60 else text[:59] + "…").encode("utf-8", "replace").decode()
    if text.isidentifier():
        return f"{path}.{text}" if path else text
    return f"{path}[{json.dumps(text, ensure_ascii=False)}]"


def _suggest(name: Any, known: dict[str, Feature], record: Mapping[str, Any]) -> str:
    """Return the field that was probably meant, among those that the record lacks."""
    missing = [k for k in known if k not in record]
    if not isinstance(name, str) or len(name) > 60 or len(missing) > 500:
        return ""
    import difflib  # only where something is wrong

    close = difflib.get_close_matches(name, missing, n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def _value(value: Any, feature: Feature) -> float | str | None:
    """Return the value as it is packed; raises _Wrong."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        if not feature.nullable:
            raise _Wrong(describe(feature))
        return NULL_STRING if feature.type == "string" else None
    packed = _READERS[feature.type](value, feature)
    if feature.categories is not None and not feature.unseen and value not in feature.categories:
        shown = ", ".join(show(c) for c in feature.categories[:10])
        more = f", … ({len(feature.categories)} values)" if len(feature.categories) > 10 else ""
        raise _Wrong(f"one of {shown}{more}")
    return packed


def _double(value: Any, feature: Feature) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Wrong(describe(feature))
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _Wrong("a finite number")
    if abs(number) > LARGEST:
        raise _Wrong(f"a number from {-LARGEST:g} to {LARGEST:g}")
    if number < _or(feature.least, -math.inf) or number > _or(feature.most, math.inf):
        raise _Wrong(f"{_TYPES[feature.type]} {feature.range}")
    return number


def _or(bound: float | None, free: float) -> float:
    return free if bound is None else bound


def _whole(value: Any, feature: Feature) -> float:
    number = _double(value, feature)
    if not number.is_integer():
        raise _Wrong(describe(feature))
    if abs(value) > WHOLE:
        raise _Wrong("a whole number between -2^53 and 2^53")
    return number


def _boolean(value: Any, feature: Feature) -> float:
    if not isinstance(value, bool):
        raise _Wrong(describe(feature))
    return float(value)


def _text(value: Any, feature: Feature) -> str:
    if not isinstance(value, str):
        raise _Wrong(describe(feature))
    if value == NULL_STRING or any("\ud800" <= c <= "\udfff" for c in value):
        raise _Wrong("text in Unicode")
    return value


_READERS: dict[str, Callable[[Any, Feature], float | str]] = {
    "double": _double,
    "long": _whole,
    "boolean": _boolean,
    "string": _text,
}


def _long(value: Any) -> bool:
    """Whether a number has too many digits to be printed (Python refuses past 4300)."""
    return isinstance(value, int) and value.bit_length() > 120
