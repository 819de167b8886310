"""Array files of numpy: the header by a strict grammar, the size by arithmetic, objects as the pickle that they are."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from cannery.audits.arrays import TYPE
from cannery.audits.facts import Facts
from cannery.audits.ledger import Ledger
from cannery.audits.machine import Machine
from cannery.audits.pickles import follow
from cannery.sources.windows import Data

_LONGEST = 10_000
"""Characters of a header, as in numpy."""
_DEPTH = 8
_LARGEST = 1 << 62
_KEYS = {"descr", "fortran_order", "shape"}
_TOKEN = re.compile(r" *(?:'([^'\\\n]*)'|(\d{1,18})(?!\w)|(True|False)(?!\w)|([{}()\[\],:]))")


class BadArrayError(Exception):
    """A header that numpy does not write; the message says what is wrong with the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the beginning of a `.npy` file says."""

    start: int
    """Where the items begin."""
    count: int
    width: int
    """Bytes of one item."""
    objects: bool
    """Whether a pickle follows in place of the items."""


def read_header(data: Data) -> Header:
    """Return what the file says of itself; raises BadArrayError."""
    if data[:6] != b"\x93NUMPY" or len(data) < 12 or data[6] not in (1, 2, 3):
        raise BadArrayError("is not an array file of numpy")
    start = 10 if data[6] == 1 else 12
    length = int.from_bytes(data[8:start], "little")
    if length > _LONGEST or start + length > len(data):
        raise BadArrayError("has a header that is too long")
    try:
        header = _Literal(data[start : start + length].decode("utf-8")).whole()
    except UnicodeDecodeError as error:
        raise BadArrayError("has a header that is no literal") from error
    if (
        not isinstance(header, dict)
        or set(header) != _KEYS
        or header["fortran_order"] not in (0, 1)
    ):
        raise BadArrayError("has a header that numpy does not write")
    width, objects = _width(header["descr"])
    count = _count(header["shape"])
    if count * max(width, 1) > _LARGEST:
        raise BadArrayError("has an impossible shape")
    return Header(start=start + length, count=count, width=width, objects=objects)


def array_problem(data: Data) -> str | None:
    """Return what is wrong with a `.npy` file, None when it holds numbers or text and nothing else."""
    try:
        header = read_header(data)
    except BadArrayError as error:
        return str(error)
    if header.objects:
        return "holds objects, which are a pickle"
    if header.start + header.count * header.width != len(data):
        return "does not have the size that its header says"
    return None


def audit_npy(data: Data, ledger: Ledger) -> None:
    """Judge an array file by itself; `numpy.load` unpickles one of objects, where it is allowed to."""
    try:
        header = read_header(data)
    except BadArrayError as error:
        ledger.find("broken-array", "unreadable", f"the file {error}")
        return
    if not header.objects:
        if problem := array_problem(data):
            ledger.find("hostile-array", "unsafe", f"the array file {problem}")
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


def _count(shape: Any) -> int:
    if not isinstance(shape, tuple) or len(shape) > 64 or any(type(n) is not int for n in shape):
        raise BadArrayError("has an impossible shape")
    return math.prod(shape)


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
        return width * _count(descr[1]), objects
    raise BadArrayError("has a type that numpy does not write")


def _field(field: Any, depth: int) -> tuple[int, bool]:
    if not isinstance(field, tuple) or len(field) not in (2, 3):
        raise BadArrayError("has a type that numpy does not write")
    name = field[0]
    titled = isinstance(name, tuple) and len(name) == 2 and all(isinstance(n, str) for n in name)
    if not titled and not isinstance(name, str):
        raise BadArrayError("has a type that numpy does not write")
    width, objects = _width(field[1], depth)
    return width * _count(field[2] if len(field) == 3 else ()), objects
