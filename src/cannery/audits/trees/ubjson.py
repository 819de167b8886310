"""UBJSON as XGBoost writes it: bounded, typed arrays without a copy.

https://ubjson.org, with the 64-bit lengths and the count in front of typed arrays.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from cannery.audits.trees.walks import BadModelError
from cannery.sources.windows import Data

_DEPTH = 64
_WHOLE = {"i": ">b", "U": ">B", "I": ">h", "l": ">i", "L": ">q"}
_NUMBERS = {**_WHOLE, "d": ">f", "D": ">d"}
_CONSTANTS = {"T": True, "F": False, "Z": None}
_TYPES = {"i": "i1", "U": "u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}


def read_ubjson(data: Data) -> Any:
    """Return the one value that the bytes are; raises BadModelError."""
    reader = _Reader(data)
    value = reader.value(reader.marker(), 0)
    if reader.at != len(data):
        raise BadModelError("bytes follow the end of the document", unsafe=True)
    return value


class _Reader:
    """One pass over the bytes."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self.at = 0

    def marker(self) -> str:
        """Take one character; the no-op is stepped over."""
        while (taken := self.take(1)) == b"N":
            pass
        return taken.decode("latin-1")

    def take(self, size: int) -> bytes:
        """Take bytes."""
        if size < 0 or size > len(self.data) - self.at:
            raise BadModelError("the document is cut short")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, layout: str) -> Any:
        """Take a number."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def length(self) -> int:
        """Take a length, with the type in front of it."""
        layout = _WHOLE.get(kind := self.marker())
        if layout is None:
            raise BadModelError(f"a length is of type {kind!r}")
        return int(self.number(layout))

    def text(self) -> str:
        """Take a string without its marker."""
        try:
            return self.take(self.length()).decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadModelError("a text is not UTF-8") from error

    def value(self, marker: str, depth: int) -> Any:
        """Take a value behind its marker."""
        if depth > _DEPTH:
            raise BadModelError(f"the document is nested more than {_DEPTH} deep")
        if marker in _NUMBERS:
            return self.number(_NUMBERS[marker])
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        match marker:
            case "S":
                return self.text()
            case "C":
                return self.take(1).decode("latin-1")
            case "[":
                return self.array(depth)
            case "{":
                return self.object(depth)
        raise BadModelError(f"a value is of type {marker!r}")

    def array(self, depth: int) -> Any:
        """Take an array: typed, counted or closed."""
        marker = self.marker()
        if marker == "$":
            kind = self.marker()
            if kind not in _TYPES or self.marker() != "#":
                raise BadModelError(f"an array of type {kind!r}")
            dtype = np.dtype(_TYPES[kind])
            return np.frombuffer(self.take(self.length() * dtype.itemsize), dtype)
        if marker == "#":
            count = self.length()
            if count > len(self.data) - self.at:
                raise BadModelError("the document is cut short")
            return [self.value(self.marker(), depth + 1) for _ in range(count)]
        items = []
        while marker != "]":
            items.append(self.value(marker, depth + 1))
            marker = self.marker()
        return items

    def object(self, depth: int) -> dict[str, Any]:
        """Take an object until it is closed."""
        found: dict[str, Any] = {}
        while (marker := self.marker()) != "}":
            layout = _WHOLE.get(marker)
            if layout is None:
                raise BadModelError(f"a key is of type {marker!r}")
            try:
                key = self.take(int(self.number(layout))).decode("utf-8")
            except UnicodeDecodeError as error:
                raise BadModelError("a text is not UTF-8") from error
            if key in found:
                raise BadModelError(f"an object has the key '{key[:40]}' twice", unsafe=True)
            found[key] = self.value(self.marker(), depth + 1)
        return found
