"""What a value is compared by with the one before it: bytes that are the same, and what stands between them."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING

from cannery.audits.literals import skip_padding
from cannery.audits.opcodes import FRAME_MINIMUM, OPCODES, WIDEST, BrokenProgramError
from cannery.audits.repeats.outlines import Reading
from cannery.audits.repeats.parts import Part, Piece

if TYPE_CHECKING:
    from cannery.audits.machine import Machine


class Found:
    """What differs in one value, as far as it was compared."""

    __slots__ = ("base", "data", "edge", "frame", "literals", "m")

    def __init__(self, m: Machine) -> None:
        self.m = m
        self.data = m.data
        self.base = len(m.memo)
        self.edge = 0
        """How far opcodes may reach."""
        self.framed(m.frame)
        self.literals: list[int] = []
        """Numbers, offsets of opcodes that the bounds know, and where bytes begin and end."""

    def framed(self, frame: int | None) -> None:
        """Go on in a frame that ends there, or in none."""
        self.frame = frame
        end = self.m.size - WIDEST
        self.edge = end if frame is None or frame > end else frame


class Slots:
    """Where the literals of each part stand among all literals."""

    def __init__(self) -> None:
        self.count = 0
        self.places: list[int] = []
        """Those of the opcodes that make what the bounds know, in their order."""
        self.literals: list[tuple[str, Part, int]] = []
        """Kind, part and first slot, in their order."""
        self._of: dict[int, int] = {}

    def place(self) -> None:
        """Take a slot for the offset of an opcode."""
        self.places.append(self.count)
        self.count += 1

    def add(self, kind: str, part: Part, size: int) -> None:
        """Take slots for a literal."""
        self.literals.append((kind, part, self.count))
        self._of[id(part)] = self.count
        self.count += size

    def of(self, part: Part) -> int | None:
        """Return the first slot of a literal that differs, None of anything else."""
        return self._of.get(id(part))


Take = Callable[[Found, int], int]
"""Takes what differs at an offset; returns where it ends, -1 where it does not fit."""
Step = tuple[bytes, int, Take | None]
"""Bytes that are the same, how many, and what takes that which follows them; None for a number."""


def compared(steps: Iterable[Step], found: Found, at: int) -> int:
    """Take what differs in a value; returns where it ends, -1 where it does not fit.

    There are more bytes behind the edge than a number has.
    """
    data, literals = found.data, found.literals
    for same, size, take in steps:
        start, at = at, at + size
        if data[start:at] != same or at > found.edge:
            return -1
        if take is not None:
            at = take(found, at)
            if at < 0:
                return -1
        elif (code := data[at]) == _BININT1:
            literals.append(data[at + 1])
            at += 2
        elif code == _BININT2:
            literals.append(data[at + 1] | data[at + 2] << 8)
            at += 3
        elif code == _BININT:
            literals.append(int.from_bytes(data[at + 1 : at + 5], "little", signed=True))
            at += 5
        else:
            return -1
    return at if at <= found.edge else -1


_CODE = {name: code for name, (code, _, _) in OPCODES.items()}
_BININT1, _BININT2, _BININT = (_CODE[name] for name in ("BININT1", "BININT2", "BININT"))


def _end(_found: Found, at: int) -> int:
    """Take nothing."""
    return at


def _place(found: Found, at: int) -> int:
    """Take where an opcode stands."""
    found.literals.append(at)
    return at


def _get(index: int) -> Take:
    """Return what takes an opcode that gets this entry of the value."""

    def take(found: Found, at: int) -> int:
        wanted = found.base + index
        if found.data[at] == _CODE["BINGET"]:
            return at + 2 if found.data[at + 1] == wanted else -1
        if found.data[at] == _CODE["LONG_BINGET"]:
            return at + 5 if found.data[at + 1 : at + 5] == wanted.to_bytes(4, "little") else -1
        return -1

    return take


def _linked(parts: list[bytes | int]) -> Take:
    """Return what takes bytes that are the same, but for the entries of the value that they remember."""
    layout = struct.Struct(
        "<" + "".join(f"{len(part)}s" if isinstance(part, bytes) else "I" for part in parts)
    )

    def take(found: Found, at: int) -> int:
        base, end = found.base, at + layout.size
        same = [part if isinstance(part, bytes) else base + part for part in parts]
        return end if found.data[at:end] == layout.pack(*same) else -1

    return take


def _frame(found: Found, at: int) -> int:
    """Take a frame as the machine does, where that goes without an objection."""
    start = at + 9
    end = start + int.from_bytes(found.data[at + 1 : start], "little")
    if found.frame is not None or found.data[at] != _CODE["FRAME"]:
        return -1
    if not start + FRAME_MINIMUM <= end <= found.m.size:
        return -1
    found.framed(end)
    return start


# Bytes whose number differs


def _sized(found: Found, at: int, widths: Mapping[int, int]) -> tuple[int, int]:
    """Return where the bytes of an opcode begin and end; they end before they begin for another opcode."""
    width = widths.get(found.data[at])
    if width is None:
        return 0, -1
    start = at + 1 + width
    return start, start + int.from_bytes(found.data[at + 1 : start], "little")


def _bytes(widths: Mapping[int, int]) -> Take:
    def take(found: Found, at: int) -> int:
        start, end = _sized(found, at, widths)
        if start > end or end > found.edge or (end > start and found.data[start] == _PROTO):
            return -1  # it may be a program itself, which the domain would follow
        found.literals += (start, end)
        return end

    return take


def _text(widths: Mapping[int, int]) -> Take:
    """Return what takes a text that stands for bytes."""

    def take(found: Found, at: int) -> int:
        start, end = _sized(found, at, widths)
        if start > end or end > found.edge or end - start > found.m.domain.limits.kept:
            return -1
        try:
            content = found.data[start:end].decode().encode("latin-1")
        except UnicodeError:
            return -1
        if content[:1] == _PROGRAM:
            return -1
        found.literals += (start, end, len(content))
        return end

    return take


def _raw(sizes: _Extent, alignment: int | None) -> Take:
    def take(found: Found, at: int) -> int:
        size = sizes(found.literals)
        if size < 0 or found.frame not in (None, at):
            return -1
        try:
            start = skip_padding(found.data, at, alignment)
        except BrokenProgramError:
            return -1
        found.framed(None)
        found.literals += (start, start + size)
        return start + size if start + size <= found.edge else -1

    return take


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


def steps(reading: Reading, slots: Slots) -> Iterator[Step]:
    """Yield what the bytes of another value are compared with; numbers what differs."""
    data, at = reading.machine.data, reading.start
    linked: list[bytes | int] = []
    for piece in _differing(reading):
        if piece.kind == "put":
            linked += (data[at : piece.start + 1], piece.index)
        else:
            if linked:
                yield b"", 0, _linked(linked)
                linked = []
            yield data[at : piece.start], piece.start - at, _taking(piece, reading, slots)
        at = piece.stop
    if linked:
        yield b"", 0, _linked(linked)
    yield data[at : reading.stop], reading.stop - at, _end


def _differing(reading: Reading) -> list[Piece]:
    """Return the opcodes that may differ, and the places of those that make what the bounds judge."""
    pieces = [piece for piece in reading.pieces if piece.part is None or not piece.part.fixed]
    pieces += [Piece("place", act.at, act.at) for act in reading.acts if act.at]
    return sorted(pieces, key=attrgetter("start"))


def _taking(piece: Piece, reading: Reading, slots: Slots) -> Take | None:
    """Return what takes an opcode that differs."""
    part = piece.part
    if piece.kind == "place":
        slots.place()
        return _place
    if piece.kind == "get":
        return _get(piece.index)
    if part is None:
        return _frame
    if piece.kind == "number":
        slots.add("number", part, 1)
        return None
    if piece.kind == "raw":
        extent = _extent(part.parts, part.value, slots)
        slots.add("raw", part, 2)
        return _raw(extent, piece.index or None)
    if piece.kind == "text":
        slots.add("text", part, 3)
        return _text(_TEXTS if reading.machine.protocol >= _SHORT_SINCE else _OLD_TEXTS)
    buffer = piece.index == _CODE["BYTEARRAY8"]
    slots.add("buffer" if buffer else "bytes", part, 2)
    return _bytes(_BUFFERS if buffer else _BYTES)


_BUFFERS = {_CODE["BYTEARRAY8"]: 8}
_BYTES = {_CODE["SHORT_BINBYTES"]: 1, _CODE["BINBYTES"]: 4}
_OLD_TEXTS = {_CODE["BINUNICODE"]: 4}
_TEXTS = {**_OLD_TEXTS, _CODE["SHORT_BINUNICODE"]: 1}
_PROTO = _CODE["PROTO"]
_PROGRAM = bytes([_PROTO])
_SHORT_SINCE = OPCODES["SHORT_BINUNICODE"][1]
