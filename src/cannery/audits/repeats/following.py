"""Values that are like the one before, told at once instead of opcode by opcode: the trees of a forest.

A repetition leaves what following its opcodes would leave: the same values, memo, frame and steps, and
the same objects for the bounds to judge. It is one only if its bytes fit the outline of a value that was
followed before it in this program, while nothing at all was found in the file; whatever does not fit, to
the last byte, is followed opcode by opcode. Nothing is changed before all of it was compared.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cannery.audits.ledger import Ledger
from cannery.audits.opcodes import BrokenProgramError, Data
from cannery.audits.repeats.forms import Found
from cannery.audits.repeats.outlines import Reading
from cannery.audits.repeats.parts import UnlikeError
from cannery.audits.repeats.rows import Outline, Repeated, Row
from cannery.audits.runs import pay
from cannery.audits.values import LATER

if TYPE_CHECKING:
    from cannery.audits.machine import Machine

_SHORTEST = 64
"""Bytes of a value that is worth an outline."""
_BEFORE = 2
"""Values that are followed before one has an outline."""
_TRIES = 64
"""Outlines that are looked for in one program."""
_SAME = 2
"""Bytes with which two values begin that are worth comparing."""
_LARGE = 1 << 16
"""Bytes of a value that is judged by itself."""
_NEAR = 256
"""Entries of the memo that BINGET reaches: these are always there."""


@dataclass(slots=True, eq=False)
class _End:
    """Where a value ended."""

    place: tuple[int, int]
    """Open marks, and values on the stack."""
    at: int
    memo: int
    before: int
    """Values in front of it, each pushed after the other."""


class Repeats:
    """The repetitions of one program."""

    __slots__ = ("_bases", "_ends", "_known", "_ledger", "_made", "_tries")

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._ends: list[_End] = []
        """The last value behind every open mark, outermost first."""
        self._known: dict[int, Row] = {}
        """Open marks → values that stood behind so many, and are like each other."""
        self._bases: list[int] = []
        self._made: list[Repeated] = []
        """Values whose parts nobody has asked for, and their first entries in the memo."""
        self._tries = _TRIES

    def take(self, m: Machine, data: Data, at: int) -> int:
        """Push the values that repeat the one on top, if any do; returns where the next opcode stands."""
        depth, height = place = len(m.below), len(m.stack)
        ends, row = self._ends, 0
        while ends and ends[-1].place >= place:
            ends.pop()
        if ends and ends[-1].place == (depth, height - 1):
            last = ends.pop()
            row = last.before + 1
            if row >= _BEFORE and data[last.at : last.at + _SAME] == data[at : at + _SAME]:
                at = self._follow(m, last, at)
        ends.append(_End((depth, len(m.stack)), at, len(m.memo), row))
        return at

    def recall(self, m: Machine, index: int) -> Any:
        """Return what is remembered under an index, of a value that was not made in full."""
        number = bisect_right(self._bases, index) - 1
        made = self._made[number]
        made.row.recalled = True
        value = m.memo[index] = made.remembered(index - self._bases[number])
        return value

    def _follow(self, m: Machine, last: _End, at: int) -> int:
        if not m.dense or not self._ledger.clean:
            return at
        depth = last.place[0]
        row = self._known.get(depth)
        if row is not None and not row.patience:
            row = None
        end = at if row is None else self._repeat(m, row, at)
        if end == at and self._tries and at - last.at >= _SHORTEST:
            self._tries -= 1
            outline = _outline(m, last, at)
            if outline is None:
                return at
            row = self._known[depth] = Row(outline, m.domain, m.data, self._ledger.member)
            self._ledger.rows.append(row)
            end = self._repeat(m, row, at)
        while end > at and row is not None:
            at = end
            end = self._repeat(m, row, at)
        return at

    def _repeat(self, m: Machine, row: Row, at: int) -> int:
        """Push the value that begins here; returns where it ends, or the same where it is not like the row."""
        outline = row.outline
        if len(m.memo) + outline.entries > m.room:
            return at
        found = Found(m)
        end = outline.compare(found, at)
        row.patience += 1 if end > 0 else -1
        if end < 0 or not pay(m, outline.steps):
            return at
        base = found.base
        if outline.judged and base >= _NEAR and end - at < _LARGE:
            made = row.add(found.literals)
            self._bases.append(base)
            self._made.append(made)
            m.later = min(m.later, base)
            m.memo.update(dict.fromkeys(range(base, base + outline.entries), LATER))
            m.stack.append(made)
        else:
            values = row.make(found.literals, self._ledger.natives)
            m.memo.update(enumerate(outline.remembered(values, m.stack[-1]), base))
            m.stack.append(values[outline.result])
        m.frame, m.edge = found.frame, found.edge
        return end


def _outline(m: Machine, last: _End, at: int) -> Outline | None:
    reading = Reading(m, last.memo, last.at, at)
    try:
        return Outline(reading, reading.read())
    except (UnlikeError, BrokenProgramError, LookupError, TypeError, ValueError, struct.error):
        return None  # what can't be read as an outline is like nothing else
