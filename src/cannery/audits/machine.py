"""The machine that follows a pickle program, opcode by opcode, as the C unpickler would.

It keeps the unpickler's stack, marks, memo and frames. What the values are is its domain's business:
placeholders when a file is audited, objects when it is opened. So both follow the same program. It
fails closed: what CPython's own pickler never writes is refused, even where it would be harmless.
"""

from __future__ import annotations

import sys
from typing import Any

from cannery.audits.domains import Domain, Raw
from cannery.audits.handlers import EMPTY, TABLES
from cannery.audits.literals import skip_padding
from cannery.audits.opcodes import (
    FRAME_MINIMUM,
    OPCODES,
    SIZES,
    WIDEST,
    BrokenProgramError,
    Data,
)
from cannery.audits.values import LATER

_BINGET, _BININT1, _MEMOIZE = (OPCODES[name][0] for name in ("BINGET", "BININT1", "MEMOIZE"))


class Machine:
    """One run over one program; `run` returns where the program ends."""

    __slots__ = (
        "_start", "_stopped", "_table", "arrays", "at", "below", "called", "data", "dense", "domain", "edge",
        "frame", "later", "memo", "protocol", "repeats", "result", "room", "size", "stack",
    )  # fmt: skip

    def __init__(self, data: Data, at: int, domain: Domain, *, arrays: bool = False) -> None:
        self.data = data
        self.size = len(data)
        self.at = at
        self.domain = domain
        self.arrays = arrays
        """Whether raw array bytes follow joblib's array wrappers."""
        self.protocol = 0
        self.frame: int | None = None
        """Where the open frame ends."""
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        """The stacks underneath the open marks."""
        self.memo: dict[int, Any] = {}
        self.dense = True
        """Whether the entries of the memo were written in order, without a gap."""
        self.room = domain.limits.memo
        """How many entries the memo may have."""
        self.repeats = domain.repeats()
        """Tells values at once that are like the one before, where the domain allows that."""
        self.called = 0
        """Values on the stack after the last call: one more may be the next of a row."""
        self.later = sys.maxsize
        """The first entry of the memo that may stand for what was not made so far."""
        self.result: Any = None
        self._start = at
        self._stopped = False
        self._table = TABLES[0]
        self.edge = 0
        """Where the next check of frame and end is due."""

    def run(self) -> int:
        """Follow the program to its STOP; raises BrokenProgramError when it can't be followed."""
        data, at, memo, room = self.data, self.at, self.memo, self.room
        try:
            self._turn(at)
            for _ in self.domain.steps:
                code = data[at]
                # Most opcodes are one of these three, which are followed without a call.
                if code == _BINGET and data[at + 1] in memo:
                    self.stack.append(memo[data[at + 1]])
                    at += 2
                elif (
                    code == _MEMOIZE
                    and self.dense
                    and self.protocol > 3
                    and self.stack
                    and len(memo) < room
                ):
                    memo[len(memo)] = self.stack[-1]
                    at += 1
                elif code == _BININT1:
                    self.stack.append(data[at + 1])
                    at += 2
                else:
                    at = self._table[code](self, data, at + 1)
                if at >= self.edge and self._turn(at):
                    return at
        except BrokenProgramError as broken:
            if broken.offset is None:
                broken.offset = at
            raise
        raise BrokenProgramError("too-long", f"more than {self.domain.limits.opcodes} opcodes")

    def _turn(self, at: int) -> bool:
        """Check that the next opcode lies inside of frame and file; returns whether there is none."""
        if at > self.size:
            raise BrokenProgramError("truncated", "an argument runs past the end of the file")
        if self.frame is not None and at >= self.frame:
            if at > self.frame:
                raise BrokenProgramError(
                    "straddled-frame", "an opcode reaches over the end of its frame", unsafe=True
                )
            self.frame = None
        if self._stopped:
            return True
        if at == self.size or at + 1 + SIZES[self.data[at]] > self.size:
            raise BrokenProgramError("truncated", "the file ends before the pickle does")
        self.edge = (
            self.size - WIDEST if self.frame is None else min(self.frame, self.size - WIDEST)
        )
        return False

    # Protocol, frames, the end

    def start(self, protocol: int, at: int) -> None:
        """Follow PROTO."""
        if at != self._start:
            message = "the protocol is declared in the middle of the program"
            self.domain.refuse("stray-proto", message, at)
        if not 2 <= protocol < len(TABLES):
            raise BrokenProgramError("unknown-protocol", f"pickle protocol {protocol}")
        self.protocol = protocol
        self._table = TABLES[protocol]

    def open_frame(self, size: int, at: int) -> None:
        """Follow FRAME, whose bytes begin at `at`."""
        if self.frame is not None:
            raise BrokenProgramError("nested-frame", "a frame opens inside a frame", unsafe=True)
        if size > self.size - at:
            raise BrokenProgramError("truncated", f"a frame of {size} bytes runs past the end")
        if size < FRAME_MINIMUM:
            message = f"a frame of {size} bytes, which no pickler writes"
            self.domain.refuse("odd-frame", message, at - 9)
        self.frame = at + size
        self.edge = min(self.frame, self.size - WIDEST)

    def stop(self, at: int) -> None:
        """Follow STOP."""
        self.result = self.pop()
        if self.stack or self.below:
            message = "the program ends with values left on the stack"
            self.domain.refuse("leftover-stack", message, at - 1)
        if self.frame is not None and at != self.frame:
            message = "the program ends before its frame does"
            self.domain.refuse("straddled-frame", message, at - 1)
        self.domain.finish(self.result)
        self._stopped = True
        self.edge = 0

    # Stack and memo

    def pop(self) -> Any:
        """Take the value on top."""
        if not self.stack:
            raise BrokenProgramError(*EMPTY)
        return self.stack.pop()

    def top(self) -> Any:
        """Return the value on top, where it stays."""
        if not self.stack:
            raise BrokenProgramError(*EMPTY)
        return self.stack[-1]

    def marked(self) -> list[Any]:
        """Take every value above the last mark, and the mark."""
        if not self.below:
            raise BrokenProgramError("no-mark", "values are gathered without a mark")
        items = self.stack
        self.stack = self.below.pop()
        return items

    def put(self, index: int, at: int) -> None:
        """Remember the value on top.

        Every value takes a byte at least, so a larger index than bytes before `at` is no pickler's:
        the unpickler in C would reserve memory for all indices below it.
        """
        if index > at - self._start:
            raise BrokenProgramError(
                "memo-gap", f"memo entry {index} is written in front of all others", unsafe=True
            )
        if index in self.memo:
            raise BrokenProgramError(
                "memo-overwrite", f"memo entry {index} is written twice", unsafe=True
            )
        if len(self.memo) >= self.room:
            raise BrokenProgramError("too-long", f"more than {len(self.memo)} memo entries")
        self.dense = self.dense and index == len(self.memo)
        self.memo[index] = self.top()

    def get(self, index: int) -> None:
        """Push what was remembered."""
        if index not in self.memo:
            raise BrokenProgramError("no-memo", f"memo entry {index} is read before it is written")
        value = self.memo[index]
        if index >= self.later and value is LATER and self.repeats is not None:
            value = self.repeats.recall(self, index)
        self.stack.append(value)

    # joblib's arrays

    def skip(self, raw: Raw, at: int) -> int:
        """Step over the bytes of an array that joblib writes after its wrapper."""
        if not self.arrays:
            raise BrokenProgramError(
                "format-disagrees",
                "a plain pickle holds an array wrapper of joblib: unpicklers would differ on it",
                unsafe=True,
            )
        if self.frame is not None and at != self.frame:
            raise BrokenProgramError(
                "straddled-frame", "array bytes begin inside a frame", unsafe=True
            )
        self.frame = None
        self.edge = 0
        if raw.size is None:
            return self._nested(raw, at)
        at = skip_padding(self.data, at, raw.alignment)
        if raw.size > self.size - at:
            raise BrokenProgramError(
                "truncated", f"an array of {raw.size} bytes runs past the end of the file"
            )
        self.stack[-1] = self.domain.filled(raw, self.data, at)
        return at + raw.size

    def _nested(self, raw: Raw, at: int) -> int:
        inner = Machine(self.data, at, self.domain)  # a plain pickle, in which no array may lie
        at = inner.run()
        self.stack[-1] = self.domain.followed(raw, inner.result)
        return at
