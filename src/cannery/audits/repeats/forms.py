"""What a value is compared by with the one before it: patterns of bytes, and what stands between them."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from cannery.audits.literals import skip_padding
from cannery.audits.opcodes import FRAME_MINIMUM, OPCODES, WIDEST, BrokenProgramError, Data
from cannery.audits.repeats.outlines import Reading
from cannery.audits.repeats.parts import Part, Piece

if TYPE_CHECKING:
    from cannery.audits.machine import Machine


class Found:
    """What differs in one value, as far as it was compared."""

    __slots__ = ("base", "data", "frame", "literals", "m")

    def __init__(self, m: Machine) -> None:
        self.m = m
        self.data = m.data
        self.base = len(m.memo)
        self.frame = m.frame
        self.literals: list[int] = []
        """Numbers, offsets of opcodes that the bounds know, and where bytes begin and end."""

    @property
    def edge(self) -> int:
        """Return how far opcodes may reach."""
        end = self.m.size - WIDEST
        return end if self.frame is None else min(self.frame, end)


class Slots:
    """Where the literals of each part stand among all literals."""

    def __init__(self) -> None:
        self.count = 0
        self.places: list[int] = []
        """Those of the opcodes that make what the bounds know, in their order."""
        self.literals: list[tuple[str, Part, int]] = []
        """Kind, part and first slot, in their order."""
        self._of: dict[int, int] = {}

    def add(self, kind: str, part: Part, size: int) -> None:
        """Take slots for a literal."""
        self.literals.append((kind, part, self.count))
        self._of[id(part)] = self.count
        self.count += size

    def of(self, part: Part) -> int | None:
        """Return the first slot of a literal that differs, None of anything else."""
        return self._of.get(id(part))


Skip = Callable[[Found, bytes, int], int]
"""Takes the bytes at an offset, whose size is in the last group; returns where they end, -1 if they don't fit."""


class Segment:
    """Opcodes up to bytes whose number differs."""

    __slots__ = ("_form", "_framed", "_gets", "_numbers", "_packed", "_places", "_puts", "_skip")

    def __init__(self, draft: _Draft, skip: Skip | None) -> None:
        self._form = re.compile(b"".join(draft.pattern), re.DOTALL)
        self._framed = draft.framed
        self._gets = tuple(draft.gets)
        self._numbers = tuple(draft.numbers)
        self._places = tuple(draft.places)
        self._puts = tuple(draft.puts)
        self._packed = struct.Struct(f"<{len(draft.puts)}I").pack
        self._skip = skip

    def compare(self, found: Found, at: int) -> int:
        """Take what differs; returns where the segment ends, -1 where it does not fit."""
        match = self._form.match(found.data, at)
        if match is None:
            return -1
        at, groups = match.end(), match.groups()
        if self._framed and not _open(found, match.start() + 9, groups[0]):
            return -1
        if at > found.edge:
            return -1
        if self._puts:
            indices = self._packed(*[found.base + index for _, index in self._puts])
            if b"".join([groups[group] for group, _ in self._puts]) != indices:
                return -1
        for group, index in self._gets:
            if int.from_bytes(groups[group][1:], "little") != found.base + index:
                return -1
        literals = found.literals
        for group in self._numbers:
            number = groups[group]
            literals.append(number[1] if len(number) == 2 else _integer(number))
        for group in self._places:
            literals.append(match.start(1 + group))
        return at if self._skip is None else self._skip(found, groups[-1], at)


def _integer(group: bytes) -> int:
    return int.from_bytes(group[1:], "little", signed=len(group) == 5)


def _open(found: Found, at: int, size: bytes) -> bool:
    """Open a frame as the machine does; returns whether that goes without an objection."""
    found.frame = at + int.from_bytes(size, "little")
    return at + FRAME_MINIMUM <= found.frame <= found.m.size


# Bytes whose number differs


def _carries(data: Data, at: int, end: int) -> bool:
    """Return whether bytes may be a program themselves, which the domain would follow."""
    return end - at > 1 and data[at] == _PROTO and data[end - 1] == _STOP


def _skip_bytes(found: Found, size: bytes, at: int) -> int:
    end = at + int.from_bytes(size[1:], "little")
    if end > found.edge or _carries(found.data, at, end):
        return -1
    found.literals += at, end
    return end


def _skip_text(found: Found, size: bytes, at: int) -> int:
    """Take a text that stands for bytes."""
    end = at + int.from_bytes(size[1:], "little")
    if end > found.edge or end - at > found.m.domain.limits.kept:
        return -1
    try:
        content = found.data[at:end].decode().encode("latin-1")
    except UnicodeError:
        return -1
    if _carries(content, 0, len(content)):
        return -1
    found.literals += at, end, len(content)
    return end


def _skip_raw(sizes: _Extent, alignment: int | None) -> Skip:
    def skip(found: Found, _size: bytes, at: int) -> int:
        size = sizes(found.literals)
        if size < 0 or found.frame not in (None, at):
            return -1
        try:
            start = skip_padding(found.data, at, alignment)
        except BrokenProgramError:
            return -1
        found.frame = None
        found.literals += start, start + size
        return start + size if start + size <= found.edge else -1

    return skip


_Extent = Callable[[list[int]], int]


def _extent(shape: Iterable[Part], width: int, slots: Slots) -> _Extent:
    """Return what tells how many bytes an array has, -1 for one of an impossible shape."""
    differing = []
    for size in shape:
        slot = slots.of(size)
        if slot is not None:
            differing.append(slot)
        else:
            width *= size.value
    if len(differing) == 1 and width > 0:
        only = differing[0]
        return lambda literals: literals[only] * width

    def extent(literals: list[int]) -> int:
        sizes = [literals[slot] for slot in differing]
        return -1 if width < 0 or (sizes and min(sizes) < 0) else math.prod(sizes) * width

    return extent


def agreements(reading: Reading, slots: Slots) -> list[tuple[_Extent, int, int]]:
    """Return how many bytes each array must have, and the slots of two offsets that are so far apart."""
    found = []
    for sized in reading.sized:
        content = sized.content
        if content.kind == "raw":
            continue
        extent = _extent(sized.shape, sized.width, slots)
        if content.kind == "encoded":
            slot = slots.of(content.parts[0])
            slot = None if slot is None else slot + 2
            found.append((extent, -1, _needed(slot)))
        elif (slot := slots.of(content)) is None:
            raise ValueError("an array whose bytes do not differ")
        else:
            found.append((extent, slot, slot + 1))
    return found


def _needed(slot: int | None) -> int:
    if slot is None:
        raise ValueError("an array whose bytes do not differ")
    return slot


# From what was read


class _Draft:
    """A segment that is not yet whole; groups are those of its pattern."""

    def __init__(self) -> None:
        self.pattern: list[bytes] = []
        self.groups = 0
        self.numbers: list[int] = []
        self.parts: list[Part] = []
        """Of the numbers."""
        self.places: list[int] = []
        self.puts: list[tuple[int, int]] = []
        """Group, and what is remembered, counted from the first entry of the value."""
        self.gets: list[tuple[int, int]] = []
        self.framed = False
        """Whether it begins with a frame, whose size is the first group."""

    def group(self, pattern: bytes) -> int:
        """Add what differs; returns its number."""
        self.pattern.append(b"(" + pattern + b")")
        self.groups += 1
        return self.groups - 1

    def take(self, data: Data, piece: Piece) -> None:
        """Add an opcode."""
        part = piece.part
        if piece.kind == "fixed" or (part is not None and part.fixed):
            self.pattern.append(re.escape(data[piece.start : piece.stop]))
        elif piece.kind == "number" and part is not None:
            self.numbers.append(self.group(b"K.|M..|J...."))
            self.parts.append(part)
        elif piece.kind == "get":
            self.gets.append((self.group(b"h.|j...."), piece.index))
        elif piece.kind == "put":
            self.pattern.append(b"r")
            self.puts.append((self.group(b"...."), piece.index))
        else:
            self.pattern.append(b"\x95")
            self.group(b"." * 8)
            self.framed = True

    def end(self, slots: Slots) -> None:
        """Number what differs."""
        for part in self.parts:
            slots.add("number", part, 1)
        for _ in self.places:
            slots.places.append(slots.count)
            slots.count += 1


def segments(reading: Reading, slots: Slots) -> Iterator[Segment]:
    """Yield what the bytes of another value are compared with."""
    watched = {act.at for act in reading.acts if act.at}
    draft = _Draft()
    for piece in reading.pieces:
        if piece.start in watched:
            draft.places.append(draft.group(b""))
        if piece.kind not in ("bytes", "raw", "text") or piece.part is None or piece.part.fixed:
            draft.take(reading.machine.data, piece)
            continue
        draft.end(slots)
        yield Segment(draft, _skip(draft, reading, slots, piece, piece.part))
        draft = _Draft()
    draft.end(slots)
    yield Segment(draft, None)


def _skip(draft: _Draft, reading: Reading, slots: Slots, piece: Piece, part: Part) -> Skip:
    if piece.kind == "raw":
        extent = _extent(part.parts, part.value, slots)
        slots.add("raw", part, 2)
        return _skip_raw(extent, piece.index or None)
    if piece.kind == "bytes":
        buffer = piece.index == _BUFFER
        draft.group(b"\x96.{8}" if buffer else b"C.|B....")
        slots.add("buffer" if buffer else "bytes", part, 2)
        return _skip_bytes
    draft.group(b"X...." if reading.machine.protocol < _SHORT_SINCE else b"\x8c.|X....")
    slots.add("text", part, 3)
    return _skip_text


_BUFFER = OPCODES["BYTEARRAY8"][0]
_PROTO, _STOP = OPCODES["PROTO"][0], OPCODES["STOP"][0]
_SHORT_SINCE = OPCODES["SHORT_BINUNICODE"][1]
