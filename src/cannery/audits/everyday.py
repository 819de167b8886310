"""Arguments of the small classes of every day: paths, patterns, fractions, zones, moments, loggers."""

from __future__ import annotations

import re
from collections.abc import Callable

from cannery.audits import lookups
from cannery.audits.arguments import Call
from cannery.audits.patterns import doubt
from cannery.audits.values import Dict, List, Made, Name, Tuple, Value, describe, size_of


def _texts(c: Call) -> Value:
    if all(isinstance(item, str) for item in c.items):
        return Made(c.name)
    return c.refuse("with something else than text")


def _fraction(c: Call) -> Value:
    match c.items:
        case (str() as text,) if re.fullmatch(r"-?\d+(/\d+)?", text):
            return Made(c.name)
        case (int(), int()):
            return Made(c.name)
    # "1e999999999" would be written out.
    return c.refuse(f"with {', '.join(map(describe, c.items[:9]))[:200]}")


def _decimal(c: Call) -> Value:
    match c.items:
        case (str() as text,) if re.fullmatch(
            r"-?(\d*\.?\d*(E[+-]?\d{1,4})?|s?NaN\d*|Infinity)", text
        ):
            return Made(c.name)
    # A higher exponent would be written out as so many digits by whoever wants a whole number of it.
    return c.refuse(f"with {', '.join(map(describe, c.items[:9]))[:200]}")


def _regex(c: Call) -> Value:
    match c.items:
        case (str() | bytes() as pattern, int() | Made() as flags):
            told = flags if isinstance(flags, int) else 0
            doubt(c.ledger, c.name.dotted, pattern, told, c.offset)
            return c.accept()
    return c.refuse("with something else than a pattern and flags")


def _zoned(c: Call) -> Value:
    match c.items:
        case (str(),) | (str(), Made()):
            return c.accept()
        case (str(), str() as zone) if lookups.is_zone(zone):
            return Made(c.name, c.items)
    # A zone may be told as the path of a file.
    return c.refuse("with something that is no name of a zone")


def _moment(c: Call) -> Value:
    match c.items:
        case (Tuple(), Dict()):
            return c.accept()
    return c.refuse("with something else than its fields")


def _logger(c: Call) -> Value:
    """By its name: the logger of who asks, which writes nowhere by itself."""
    match c.items:
        case (str(),):
            return Made(c.name)
    return c.refuse("with something that is no name")


def _typed(c: Call) -> Value:
    """An array of Python's own, whose length C checks; `array("d", [1.0])` or from its bytes."""
    match c.items:
        case (str(), List()):
            return Made(c.name)
        case (Name(canonical="array.array"), str(), int(), data) if size_of(data) is not None:
            c.ledger.use(c.items[0], "function")
            return Made(c.name)
    return c.refuse("with something else than numbers of one type")


def _pytz(c: Call) -> Value:
    match c.items:
        case (str() as zone,) | (str() as zone, int(), int(), str()) if lookups.is_zone(zone):
            return Made(c.name)
        case (int(),) if c.name.canonical == "pytz.FixedOffset":
            return Made(c.name)
        case () if c.name.canonical == "pytz._UTC":
            return Made(c.name)
    return c.refuse("with something that is no name of a zone")


RULES: dict[str, Callable[[Call], Value]] = {
    "array._array_reconstructor": _typed,
    "array.array": _typed,
    "decimal.Decimal": _decimal,
    "fractions.Fraction": _fraction,
    "logging.getLogger": _logger,
    "pandas.DatetimeTZDtype": _zoned,
    "pandas.core.dtypes.dtypes.DatetimeTZDtype": _zoned,
    "pathlib.PosixPath": _texts,
    "pathlib.PurePosixPath": _texts,
    "pathlib.PureWindowsPath": _texts,
    "pathlib.WindowsPath": _texts,
    "pytz.FixedOffset": _pytz,
    "pytz._UTC": _pytz,
    "pytz._p": _pytz,
    "re._compile": _regex,
    "time.struct_time": _moment,
}
"""By canonical name."""
