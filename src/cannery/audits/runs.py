"""Runs of literals, which picklers write by the thousand, read at once instead of opcode by opcode.

A run pushes and remembers exactly what its opcodes would, one by one. It ends in front of whatever they
would object to, or leave to the domain, and the machine goes on from there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice
from operator import length_hint
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cannery.audits.opcodes import OPCODES, Data

if TYPE_CHECKING:
    from cannery.audits.machine import Machine

Places = NDArray[np.int64]
"""Offsets into a block."""

_BLOCK = 1 << 14
"""Bytes that are looked at together."""
_MOST = 1100
"""Strings that are looked at together: a pickler writes a thousand behind one mark."""
_NUMBERS, _STRINGS = 16, 100
"""Opcodes of the shortest runs: shorter ones are faster one by one."""
_LONGEST = 1 << 10
"""Bytes of the longest string of a run before protocol 4."""

_CODE = {name: code for name, (code, _, _) in OPCODES.items()}
_SHORT, _LONG, _MEMOIZE = _CODE["SHORT_BINUNICODE"], _CODE["BINUNICODE"], _CODE["MEMOIZE"]
_SIZES = np.array([{c: n for c, _, n in OPCODES.values()}.get(code, 0) for code in range(256)])


def _among(*names: str) -> NDArray[np.bool_]:
    """Return by byte whether it is one of these opcodes."""
    table = np.zeros(256, bool)
    table[[_CODE[name] for name in names]] = True
    return table


_GETS = _among("BINGET", "LONG_BINGET")
_INTEGERS = _among("BININT1", "BININT2", "BININT")
_CONSTANTS = {_CODE["NONE"]: None, _CODE["NEWTRUE"]: True, _CODE["NEWFALSE"]: False}
_VALUES = _GETS | _INTEGERS | _among("BINFLOAT", "NONE", "NEWTRUE", "NEWFALSE")
_WIDTHS = np.where(_VALUES, 1 + _SIZES, 0)
"""Bytes of what may stand behind a string, 0 of anything else."""
_PUTS = np.where(_among("BINPUT", "LONG_BINPUT"), 1 + _SIZES, 0)
"""Bytes of what remembers a string, in any protocol."""
_LATE_PUTS = np.where(_among("MEMOIZE"), 1, _PUTS)
_PUT_BYTES, _WIDTH_BYTES = (
    (bytes(_PUTS.tolist()), bytes(_LATE_PUTS.tolist())),
    bytes(_WIDTHS.tolist()),
)


def take(m: Machine, data: Data, at: int) -> int:
    """Follow the runs that begin behind a MARK, if any do; returns where the next opcode stands."""
    while m.protocol > 1 and at < m.edge and (read := _READERS.get(data[at])):
        end = read(m, data, at)
        if end == at:
            break
        at = end
    return at


def pay(m: Machine, opcodes: int) -> bool:
    """Count opcodes as the machine does; returns whether there was room for them all."""
    if length_hint(m.domain.steps) < opcodes:
        return False
    deque(islice(m.domain.steps, opcodes), maxlen=0)
    return True


def _numbers(name: str, kind: str) -> Callable[[Machine, Data, int], int]:
    """Return what reads a run of numbers of one kind."""
    mark, dtype = bytes([_CODE[name]]), np.dtype([("code", "u1"), ("value", kind)])
    width = dtype.itemsize
    least = width * (_NUMBERS - 1)

    def read(m: Machine, data: Data, at: int) -> int:
        if at + least >= m.edge or data[at + least] != mark[0] or data[at + width] != mark[0]:
            return at
        block = data[at : min(at + _BLOCK, m.edge)]
        codes = block[::width]
        count = min(len(codes) - len(codes.lstrip(mark)), len(block) // width)
        if count < _NUMBERS or not pay(m, count):
            return at
        m.stack += np.frombuffer(block, dtype, count)["value"].tolist()
        return at + count * width

    return read


def _begins(m: Machine, data: Data, at: int) -> bool:
    """Return whether so many strings follow that it is worth to read them at once."""
    code = data[at]
    short, edge = code == _SHORT, m.edge - _WIDEST
    puts = _PUT_BYTES[short]
    for _ in range(_STRINGS):
        if at >= edge or data[at] != code:
            return False
        at += data[at + 1] + 2 if short else int.from_bytes(data[at + 1 : at + 5], "little") + 5
        if at >= edge or not (put := puts[data[at]]):
            return False
        at += put
        at += _WIDTH_BYTES[data[at]]
    return True


_FEWEST = 3 * _STRINGS
"""Bytes of the shortest run of strings."""
_WIDEST = 16
"""More bytes than an opcode and what remembers its value."""


def _strings(m: Machine, data: Data, at: int) -> int:
    """Read a run of strings, each remembered, and each with at most one plain value behind it."""
    late = m.protocol >= 4
    if (
        m.edge - at < _FEWEST
        or not m.dense
        or (data[at] == _SHORT) != late
        or not _begins(m, data, at)
    ):
        return at
    block = data[at : min(at + _BLOCK, m.edge)]
    units = _Units(block, late=late)
    units.cut(units.wrong(len(m.memo), m.room, m.later))
    count = len(units.starts)
    if count < _STRINGS or not pay(m, 2 * count + int(np.count_nonzero(units.widths))):
        return at
    texts = units.texts()
    m.memo.update(enumerate(texts, len(m.memo)))
    values = units.values(m.memo)
    if len(values) == count:
        pushed: list[Any] = [None] * (2 * count)
        pushed[::2], pushed[1::2] = texts, values
        m.stack += pushed
    elif not values:
        m.stack += texts
    else:
        following = iter(values)
        for text, valued in zip(texts, units.widths.tolist(), strict=True):
            m.stack.append(text)
            if valued:
                m.stack.append(next(following))
    return at + int(units.ends[-1])


class _Units:
    """Strings of a block, one behind the other, with what follows each."""

    __slots__ = (
        "_head",
        "block",
        "data",
        "ends",
        "letters",
        "odd",
        "puts",
        "starts",
        "stops",
        "widths",
    )

    def __init__(self, block: bytes, *, late: bool) -> None:
        self.block = block
        self.odd: dict[int, str] = {}
        """Number → strings that are not ASCII."""
        self.letters = b""
        """All strings, with a byte that ASCII does not have behind each."""
        self.data = data = np.frombuffer(block + bytes(_WIDEST), np.uint8)
        self._head = 2 if late else 5
        size = len(block)
        starts = np.flatnonzero(data[:size] == (_SHORT if late else _LONG))[:_MOST]
        lengths = data[starts + 1].astype(np.int64) if late else self._little(starts, 4)
        if not late:
            fitting = lengths <= _LONGEST
            starts, lengths = starts[fitting], lengths[fitting]
        stops = np.minimum(starts + self._head + lengths, size)
        puts = (_LATE_PUTS if late else _PUTS)[data[stops]]
        after = stops + puts
        widths = _WIDTHS[data[after]]  # there are more bytes than the longest put behind the block
        ends = after + widths
        chained = self._chain(starts, ends, (puts > 0) & (after < size) & (ends <= size))
        self.starts, self.stops, self.puts = starts[chained], stops[chained], puts[chained]
        self.widths, self.ends = widths[chained], ends[chained]

    @staticmethod
    def _chain(starts: Places, ends: Places, sound: NDArray[np.bool_]) -> Any:
        """Return which of the places where a string may begin do follow each other from the first on."""
        following = np.minimum(np.searchsorted(starts, ends), len(starts) - 1)
        linked = sound & (starts[following] == ends)
        met = np.zeros(len(starts), bool)
        met[following[linked]] = True
        met[0] = True
        numbers = np.flatnonzero(met)  # without nearly all that only look like strings
        straight = linked[numbers]
        straight[:-1] &= following[numbers[:-1]] == numbers[1:]
        straight[-1] = False
        last = int(np.argmin(straight))
        here = int(numbers[last])
        if not linked[here]:
            return numbers[: last + int(sound[here])]
        chained = numbers[:last].tolist()
        while sound[here]:
            chained.append(here)
            if not linked[here]:
                break
            here = int(following[here])
        return np.array(chained, dtype=np.int64)

    def _little(self, places: Places, size: int) -> Places:
        """Return the numbers of so many bytes behind opcodes, their lowest byte first."""
        found = np.zeros(len(places), np.int64)
        for byte in range(size):
            found |= self.data[places + 1 + byte].astype(np.int64) << (8 * byte)
        return found

    def cut(self, count: int) -> None:
        """Keep the first so many."""
        for name in ("starts", "stops", "puts", "widths", "ends"):
            setattr(self, name, getattr(self, name)[:count])

    def wrong(self, base: int, room: int, later: int) -> int:
        """Return the number of the first one that the machine would object to, or leave to its domain."""
        count = len(self.starts)
        entries = np.arange(base, base + count)
        wrong = entries >= room
        valued = self.stops + self.puts
        gets = _GETS[self.data[valued]]
        for size in (1, 4):
            explicit = np.flatnonzero(self.puts == 1 + size)
            if len(explicit):
                wrong[explicit] |= self._little(self.stops[explicit], size) != entries[explicit]
        for size in (1, 4) if gets.any() else ():
            got = np.flatnonzero(gets & (self.widths == 1 + size))
            wrong[got] |= self._little(valued[got], size) > np.minimum(entries[got], later - 1)
        for number, text in self._odd().items():
            try:
                self.odd[number] = text.decode()
                wrong[number] |= text[0] == 0xC2  # it may be a program itself
            except UnicodeDecodeError:
                wrong[number] = True
        return int(np.argmax(wrong)) if wrong.any() else count

    def _odd(self) -> dict[int, bytes]:
        """Return the strings that are not ASCII, by number; note where the bytes of all strings stand."""
        first = self.starts + self._head
        sizes = self.stops - first + 1  # with the byte behind, which is high
        before = np.cumsum(sizes) - sizes
        letters = self.data[np.repeat(first - before, sizes) + np.arange(int(sizes.sum()))]
        letters[before + sizes - 1] = _BEHIND
        self.letters = letters.tobytes()
        if np.count_nonzero(letters >= 0x80) == len(first):
            return {}
        high = np.add.reduceat(letters >= 0x80, before, dtype=np.int64)
        return {
            number: self.block[first[number] : self.stops[number]]
            for number in np.flatnonzero(high > 1).tolist()
        }

    def texts(self) -> list[str]:
        """Return the strings."""
        count = len(self.starts)
        found: list[str] = []
        if not self.odd:
            return self.letters.decode("latin-1").split(chr(_BEHIND), count)[:count]
        for number, (start, stop) in enumerate(
            zip((self.starts + self._head).tolist(), self.stops.tolist(), strict=True)
        ):
            text = self.odd.get(number)
            found.append(self.block[start:stop].decode("ascii") if text is None else text)
        return found

    def values(self, memo: Mapping[int, Any]) -> list[Any]:
        """Return the values behind the strings that have one."""
        places = (self.stops + self.puts)[self.widths > 0]
        codes = self.data[places]
        found: list[Any] = [None] * len(places)
        for code in np.flatnonzero(np.bincount(codes)).tolist():
            numbers = np.flatnonzero(codes == code)
            values = self._read(code, places[numbers], memo)
            if len(numbers) == len(places):
                return values
            for number, value in zip(numbers.tolist(), values, strict=True):
                found[number] = value
        return found

    def _read(self, code: int, places: Places, memo: Mapping[int, Any]) -> list[Any]:
        if code in _CONSTANTS:
            return [_CONSTANTS[code]] * len(places)
        if code == _CODE["BINFLOAT"]:
            rows: list[Any] = self.data[places[:, None] + _EIGHT].view(">f8").ravel().tolist()
            return rows
        whole = self._little(places, int(_SIZES[code]))
        if _GETS[code]:
            return [memo[index] for index in whole.tolist()]
        signed: list[Any] = (whole.astype(np.int32) if code == _CODE["BININT"] else whole).tolist()
        return signed


_BEHIND = 0xFF
_EIGHT = np.arange(1, 9)
_READERS: dict[int, Callable[[Machine, Data, int], int]] = {
    _SHORT: _strings,
    _LONG: _strings,
    _CODE["BININT1"]: _numbers("BININT1", "u1"),
    _CODE["BININT2"]: _numbers("BININT2", "<u2"),
    _CODE["BININT"]: _numbers("BININT", "<i4"),
    _CODE["BINFLOAT"]: _numbers("BINFLOAT", ">f8"),
}
