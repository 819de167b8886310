"""Array files of numpy: the header by a strict grammar, the size by arithmetic, objects as the pickle that they are."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from cannery.audits import natives
from cannery.audits.arrays import TYPE
from cannery.audits.facts import Facts
from cannery.audits.ledger import Ledger
from cannery.audits.machine import Machine
from cannery.audits.pickles import follow
from cannery.audits.values import Span
from cannery.bounds.things import Numbers
from cannery.sources.windows import Data

_LONGEST = 10_000
"""Characters of a header, as in numpy."""
_DEPTH = 8
_LARGEST = 1 << 62
_ODD_SIZE = "does not have the size that its header says"
_KEYS = {"descr", "fortran_order", "shape"}
_WRITTEN = re.compile(
    r"\{'descr': (.+), 'fortran_order': (?:False|True), 'shape': (\([\d, ]*\)), \} *\n?", re.ASCII
)
"""A header as numpy itself writes it."""
_TOKEN = re.compile(r" *(?:'([^'\\\n]*)'|(\d{1,18})(?!\w)|(True|False)(?!\w)|([{}()\[\],:]))")


class BadArrayError(Exception):
    """A header that numpy does not write; the message says what is wrong with the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """What the items of an array are."""

    width: int
    """Bytes of one."""
    objects: bool
    """Whether a pickle follows in their place."""
    dtype: np.dtype[Any] | None
    """None of objects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the beginning of a `.npy` file says."""

    start: int
    """Where the items begin."""
    shape: tuple[int, ...]
    items: Items

    @property
    def end(self) -> int:
        """Return where the items end."""
        return self.start + math.prod(self.shape) * self.items.width


def read_header(data: Data) -> Header:
    """Return what the file says of itself; raises BadArrayError."""
    if data[:6] != b"\x93NUMPY" or len(data) < 12 or data[6] not in (1, 2, 3):
        raise BadArrayError("is not an array file of numpy")
    start = 10 if data[6] == 1 else 12
    length = int.from_bytes(data[8:start], "little")
    if length > _LONGEST or start + length > len(data):
        raise BadArrayError("has a header that is too long")
    try:
        text = data[start : start + length].decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadArrayError("has a header that is no literal") from error
    items, shape = _told(text)
    if math.prod(shape) * max(items.width, 1) > _LARGEST:
        raise BadArrayError("has an impossible shape")
    return Header(start=start + length, shape=shape, items=items)


def _told(text: str) -> tuple[Items, tuple[int, ...]]:
    """Return what the items are, and the shape."""
    if written := _WRITTEN.fullmatch(text):
        return _items_of(written[1]), _shape_of(written[2])
    header = _Literal(text).whole()
    if (
        not isinstance(header, dict)
        or set(header) != _KEYS
        or header["fortran_order"] not in (0, 1)
    ):
        raise BadArrayError("has a header that numpy does not write")
    return _known(header["descr"]), _shape(header["shape"])


@functools.lru_cache(maxsize=256)
def _items_of(descr: str) -> Items:
    """Return what items of a type are, of which an archive has many arrays."""
    return _known(_Literal(descr).whole())


@functools.lru_cache(maxsize=1 << 10)
def _shape_of(text: str) -> tuple[int, ...]:
    return _shape(_Literal(text).whole())


def _known(descr: Any) -> Items:
    width, objects = _width(descr)
    if objects:
        return Items(width=width, objects=True, dtype=None)
    try:
        dtype = np.lib.format.descr_to_dtype(descr)
    except (OverflowError, TypeError, ValueError) as error:
        raise BadArrayError("has a type that numpy does not write") from error
    if dtype.itemsize != width or dtype.hasobject:
        raise BadArrayError("has a type that numpy does not write")
    return Items(width=width, objects=False, dtype=dtype)


def read_numbers(data: Data) -> Numbers:
    """Return the numbers or texts of a `.npy` file, which must hold nothing else; raises BadArrayError."""
    header = read_header(data)
    if header.items.dtype is None:
        raise BadArrayError("holds objects, which are a pickle")
    if header.end != len(data):
        raise BadArrayError(_ODD_SIZE)
    return natives.numbers(Span(data, header.start, header.end), header.items.dtype, header.shape)


def audit_npy(data: Data, ledger: Ledger) -> None:
    """Judge an array file by itself; `numpy.load` unpickles one of objects, where it is allowed to."""
    try:
        header = read_header(data)
    except BadArrayError as error:
        ledger.find("broken-array", "unreadable", f"the file {error}")
        return
    if not header.items.objects:
        if header.end != len(data):
            ledger.find("hostile-array", "unsafe", f"the array file {_ODD_SIZE}")
        return
    end = follow(Machine(data, header.start, Facts(ledger)), ledger)
    if end is not None and end != len(data):
        message = f"{len(data) - end} bytes follow the pickle, where a second one can hide"
        ledger.find("trailing-bytes", "unsafe", message, offset=end)


class _Literal:
    """One look at a text that should be one literal of a dict, as numpy writes its headers."""

    def __init__(self, text: str) -> None:
        self.tokens: list[Any] = []
        text = text.rstrip(" \n")
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise BadArrayError("has a header that is no literal")
            string, number, truth, mark = found.groups()
            if mark:
                self.tokens.append(mark)
            elif string is not None:
                self.tokens.append((string,))
            else:
                self.tokens.append((int(number) if number else truth == "True",))
            at = found.end()
        self.tokens.append("")

    def whole(self) -> Any:
        """Return the literal; raises BadArrayError where there is more or less than one."""
        value = self._value(0)
        if self.tokens != [""]:
            raise BadArrayError("has a header that is no literal")
        return value

    def _value(self, depth: int) -> Any:
        token = self.tokens.pop(0) if depth <= _DEPTH else ""
        if isinstance(token, tuple):
            return token[0]
        match token:
            case "(":
                items, commas = self._items(")", depth)
                return tuple(items) if commas or not items else items[0]
            case "[":
                return self._items("]", depth)[0]
            case "{":
                return self._pairs(depth)
        raise BadArrayError("has a header that is no literal")

    def _items(self, end: str, depth: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        commas = 0
        while self.tokens[0] != end:
            items.append(self._value(depth + 1))
            if self.tokens[0] != end:
                self._take(",")
                commas += 1
        self._take(end)
        return items, commas

    def _pairs(self, depth: int) -> dict[str, Any]:
        pairs: dict[str, Any] = {}
        while self.tokens[0] != "}":
            key = self._value(depth + 1)
            self._take(":")
            if not isinstance(key, str) or key in pairs:
                raise BadArrayError("has a header that numpy does not write")
            pairs[key] = self._value(depth + 1)
            if self.tokens[0] != "}":
                self._take(",")
        self._take("}")
        return pairs

    def _take(self, mark: str) -> None:
        if self.tokens.pop(0) != mark:
            raise BadArrayError("has a header that is no literal")


def _shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or len(shape) > 64 or any(type(n) is not int for n in shape):
        raise BadArrayError("has an impossible shape")
    return shape


def _width(descr: Any, depth: int = 0) -> tuple[int, bool]:
    """Return the bytes of one item, and whether it holds objects; raises BadArrayError."""
    if isinstance(descr, str):
        found = TYPE.fullmatch(descr.partition("[")[0])
        if found and found.group(1) == "O":
            return 8, True
        if found and found.group(2):
            return int(found.group(2)) * (4 if found.group(1) == "U" else 1), False
    elif isinstance(descr, list) and depth < _DEPTH:
        fields = [_field(field, depth + 1) for field in descr]
        return sum(width for width, _ in fields), any(objects for _, objects in fields)
    elif isinstance(descr, tuple) and len(descr) == 2 and depth < _DEPTH:
        width, objects = _width(descr[0], depth + 1)
        return width * math.prod(_shape(descr[1])), objects
    raise BadArrayError("has a type that numpy does not write")


def _field(field: Any, depth: int) -> tuple[int, bool]:
    if not isinstance(field, tuple) or len(field) not in (2, 3):
        raise BadArrayError("has a type that numpy does not write")
    name = field[0]
    titled = isinstance(name, tuple) and len(name) == 2 and all(isinstance(n, str) for n in name)
    if not titled and not isinstance(name, str):
        raise BadArrayError("has a type that numpy does not write")
    width, objects = _width(field[1], depth)
    return width * math.prod(_shape(field[2] if len(field) == 3 else ())), objects
