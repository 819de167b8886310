"""Flatbuffers, read with every offset checked.

https://flatbuffers.dev/internals
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cannery.audits.trees.walks import BadModelError


class Table:
    """A table: numbers, texts, lists and further tables by the number of their field."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at
        table = at - _number(data, at, 4, signed=True)
        size = _number(data, table, 2)
        _slice(data, table, size)
        self._fields = np.frombuffer(data, "<u2", max(size // 2 - 2, 0), table + 4)
        self._end = at + _number(data, table + 2, 2)
        if self._end > len(data):
            raise _outside()

    @classmethod
    def root(cls, data: bytes) -> Table:
        """Return the table that the buffer is about."""
        return cls(data, _number(data, 0, 4))

    def _place(self, field: int) -> int | None:
        offset = int(self._fields[field]) if field < len(self._fields) else 0
        if offset and self._at + offset >= self._end:
            raise _outside()
        return self._at + offset if offset else None

    def _target(self, field: int) -> int | None:
        at = self._place(field)
        return None if at is None else at + _number(self._data, at, 4)

    def number(self, field: int, default: int, size: int = 4) -> int:
        """Return an integer."""
        at = self._place(field)
        return default if at is None else _number(self._data, at, size, signed=True)

    def real(self, field: int, default: float) -> float:
        """Return a double."""
        at = self._place(field)
        return default if at is None else float(np.frombuffer(_slice(self._data, at, 8), "<f8")[0])

    def text(self, field: int) -> bytes:
        """Return a text, empty where there is none."""
        at = self._target(field)
        return b"" if at is None else _text(self._data, at)

    def table(self, field: int) -> Table | None:
        """Return a table."""
        at = self._target(field)
        return None if at is None else Table(self._data, at)

    def values(self, field: int, dtype: Any) -> NDArray[Any]:
        """Return a list of numbers or structs."""
        kind = np.dtype(dtype)
        at = self._target(field)
        if at is None:
            return np.empty(0, kind)
        count = _number(self._data, at, 4)
        return np.frombuffer(_slice(self._data, at + 4, count * kind.itemsize), kind)

    def tables(self, field: int) -> list[Table]:
        """Return a list of tables."""
        return [Table(self._data, at) for at in self._targets(field)]

    def texts(self, field: int) -> list[bytes]:
        """Return a list of texts."""
        return [_text(self._data, at) for at in self._targets(field)]

    def _targets(self, field: int) -> list[int]:
        at = self._target(field)
        offsets = self.values(field, "<u4")
        return [at + 4 * (i + 1) + int(o) for i, o in enumerate(offsets)] if at is not None else []


def _outside() -> BadModelError:
    return BadModelError("an offset leads out of the file", unsafe=True)


def _slice(data: bytes, at: int, size: int) -> bytes:
    if at < 0 or size > len(data) - at:
        raise _outside()
    return data[at : at + size]


def _number(data: bytes, at: int, size: int, *, signed: bool = False) -> int:
    return int.from_bytes(_slice(data, at, size), "little", signed=signed)


def _text(data: bytes, at: int) -> bytes:
    return _slice(data, at + 4, _number(data, at, 4))
