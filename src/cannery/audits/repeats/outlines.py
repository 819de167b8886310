"""What a part of a pickle does that makes one value: its outline, by which the next value is made.

An outline is read from the bytes of a value that the machine has just followed, opcode by opcode, and to
which no rule objected. It keeps the opcodes, names, keys and references of these bytes, and leaves open
what may differ in a repetition: sizes of arrays and their bytes, and whole numbers that no rule looks at.
Whatever it does not know for certain makes a value unlike any other, and there is no outline of it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cannery.audits.opcodes import OPCODES, Data
from cannery.audits.repeats import likeness
from cannery.audits.repeats.parts import Act, Part, Piece, Sized, UnlikeError
from cannery.audits.values import LATER, Array, DType, Made, Tuple, Value
from cannery.bounds.problems import rule_for

if TYPE_CHECKING:
    from cannery.audits.machine import Machine

_MOST = 1000
"""Opcodes of a value that has an outline."""
_LONGEST = 1 << 5
"""Bytes of a literal that must not differ."""
_FEW = 64
"""Items of what is not charged for."""


@dataclass(slots=True, eq=False)
class Reading:
    """One reading of the bytes of a value: `pieces` and `acts` are what an outline is made of."""

    machine: Machine
    base: int
    """Entries of the memo in front of the value."""
    start: int
    stop: int
    opcodes: int = 0
    pieces: list[Piece] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    sized: list[Sized] = field(default_factory=list)
    stack: list[Part] = field(default_factory=list)
    below: list[list[Part]] = field(default_factory=list)
    memo: list[Part] = field(default_factory=list)

    def read(self) -> Part:
        """Return what the bytes make; raises UnlikeError."""
        data, at = self.machine.data, self.start
        while at < self.stop:
            step = _STEPS.get(data[at])
            if step is None or self.opcodes >= _MOST:
                raise UnlikeError
            at = step(self, data, at)
            self.opcodes += 1
        if at != self.stop or len(self.stack) != 1 or self.below:
            raise UnlikeError
        return self.stack[0]

    # The stack

    def pop(self) -> Part:
        """Take the part on top."""
        if not self.stack:
            raise UnlikeError
        return self.stack.pop()

    def marked(self) -> tuple[Part, ...]:
        """Take the parts above the last mark."""
        if not self.below:
            raise UnlikeError
        items, self.stack = self.stack, self.below.pop()
        if len(items) > _FEW:
            raise UnlikeError
        return tuple(items)

    def remember(self) -> None:
        """Remember the part on top; at the beginning, the value of the row before."""
        if not self.opcodes and not self.stack:
            self.memo.append(Part("before"))
        elif not self.stack:
            raise UnlikeError
        else:
            self.memo.append(self.stack[-1])

    def act(self, kind: str, part: Part, *parts: Part, at: int = 0) -> None:
        """Write down what is to be done."""
        self.acts.append(Act(kind, part, parts, at))

    # What is made

    def tuple_of(self, items: tuple[Part, ...]) -> None:
        """Push a tuple."""
        part = Part("tuple", Tuple(tuple(item.value for item in items)), items)
        part.size += sum(item.size for item in items)
        if part.size > _FEW:  # tuples within tuples can be many more than their opcodes
            raise UnlikeError
        self.stack.append(part)
        self.act("tuple", part, *items)

    def made(self, value: Made, at: int, arguments: Part | None = None) -> None:
        """Push an object."""
        part = Part("array" if type(value) is Array else "made", value)
        watched = value.listed and rule_for(value.canonical) is not None
        self.stack.append(part)
        part.parts = () if arguments is None else (arguments,)
        self.act(part.kind, part, *part.parts, at=at if watched else 0)

    def filled(self, array: Part, kind: Part, shape: Part, content: Part, *state: Part) -> None:
        """Give an array what it holds."""
        array.parts, array.done = (kind, shape, content), True
        self.act("filled", array, kind, shape, content, *state)

    def measure(self, shape: Part, kind: Value, content: Part) -> None:
        """Take the shape and the bytes of an array, which may differ, but must agree."""
        if shape.kind == "old" and type(shape.value) is Tuple:
            sizes = tuple(Part("old", size) for size in shape.value.items)
        elif shape.kind == "tuple":
            sizes = shape.parts
        else:
            raise UnlikeError
        if type(kind) is not DType or kind.holds or not kind.used or kind.itemsize < 1:
            raise UnlikeError
        if content.kind == "old":  # empty, mostly
            shape.hold()
            return
        for size in sizes:
            if type(size.value) is not int:
                raise UnlikeError
            size.free = True
        if content.kind == "encoded":
            content.parts[0].free = True
        elif content.kind not in ("bytes", "raw"):
            raise UnlikeError
        content.free = True
        self.sized.append(Sized(sizes, kind.itemsize, content))


def _sized(width: int) -> Callable[[Data, int], tuple[int, int]]:
    def bounds(data: Data, at: int) -> tuple[int, int]:
        start = at + 1 + width
        return start, start + int.from_bytes(data[at + 1 : start], "little")

    return bounds


_WIDTHS = {
    "SHORT_BINBYTES": 1, "BINBYTES": 4, "BINBYTES8": 8, "BYTEARRAY8": 8, "SHORT_BINUNICODE": 1,
    "BINUNICODE": 4,
}  # fmt: skip
_PROGRAM = {"bytes": b"\x80", "text": b"\xc2\x80"}
"""Bytes with which a literal begins that may be a program itself."""
_LONG = struct.Struct("<I").unpack_from

Step = Callable[[Reading, Data, int], int]


def _literal(kind: str, name: str) -> Step:
    bounds = _sized(_WIDTHS[name])

    def step(r: Reading, data: Data, at: int) -> int:
        start, stop = bounds(data, at)
        part = Part(kind)
        if data[start : min(stop, start + 2)].startswith(_PROGRAM[kind]):
            raise UnlikeError  # the domain would follow it each time
        if stop - start <= _LONGEST:
            part.value = data[start:stop] if kind == "bytes" else data[start:stop].decode()
        else:
            part.free = True
        r.stack.append(part)
        r.pieces.append(Piece(kind, at, stop, part, index=data[at]))
        return stop

    return step


def _number(name: str) -> Step:
    width = OPCODES[name][2]

    def step(r: Reading, data: Data, at: int) -> int:
        stop = at + 1 + width
        value = int.from_bytes(data[at + 1 : stop], "little", signed=width == 4)
        r.stack.append(part := Part("number", value))
        r.pieces.append(Piece("number", at, stop, part))
        return stop

    return step


def _constant(value: Any) -> Step:
    def step(r: Reading, _data: Data, at: int) -> int:
        r.stack.append(Part("other", value))
        return at + 1

    return step


def _float(r: Reading, data: Data, at: int) -> int:
    r.stack.append(Part("other", struct.unpack_from(">d", data, at + 1)[0]))
    return at + 9


def _get(width: int) -> Step:
    def step(r: Reading, data: Data, at: int) -> int:
        stop = at + 1 + width
        index = int.from_bytes(data[at + 1 : stop], "little")
        if index < r.base:
            value = r.machine.memo[index]
            if value is LATER:
                raise UnlikeError
            r.stack.append(Part("old", value))
            return at + 1 + width
        if index - r.base >= len(r.memo) or r.memo[index - r.base].kind == "before":
            raise UnlikeError
        r.stack.append(r.memo[index - r.base])
        r.pieces.append(Piece("get", at, stop, index=index - r.base))
        return stop

    return step


def _memoize(r: Reading, _data: Data, at: int) -> int:
    r.remember()
    return at + 1


def _put(r: Reading, data: Data, at: int) -> int:
    if _LONG(data, at + 1)[0] != r.base + len(r.memo):
        raise UnlikeError
    index = len(r.memo)
    r.remember()
    r.pieces.append(Piece("put", at, at + 5, index=index))
    return at + 5


def _mark(r: Reading, _data: Data, at: int) -> int:
    r.below.append(r.stack)
    r.stack = []
    return at + 1


def _tuple(size: int | None) -> Step:
    def step(r: Reading, _data: Data, at: int) -> int:
        items = r.marked() if size is None else tuple(r.pop() for _ in range(size))[::-1]
        r.tuple_of(items)
        return at + 1

    return step


def _empty(kind: str) -> Step:
    def step(r: Reading, _data: Data, at: int) -> int:
        r.stack.append(part := Part(kind))
        r.act(kind, part)
        return at + 1

    return step


def _fresh(part: Part, kind: str) -> Part:
    """Return an empty container of the value's own."""
    if part.kind != kind or part.done:
        raise UnlikeError
    part.done = True
    return part


def _extend(r: Reading, items: tuple[Part, ...]) -> None:
    target = _fresh(r.stack[-1] if r.stack else r.pop(), "list")
    r.act("append", target, *items)


def _append(r: Reading, _data: Data, at: int) -> int:
    _extend(r, (r.pop(),))
    return at + 1


def _appends(r: Reading, _data: Data, at: int) -> int:
    _extend(r, r.marked())
    return at + 1


def _assign(r: Reading, items: tuple[Part, ...]) -> None:
    target = _fresh(r.stack[-1] if r.stack else r.pop(), "dict")
    keys = tuple(key.hold() for key in items[::2])
    if len(items) % 2 or set(map(type, keys)) - {str} or len(set(keys)) < len(keys):
        raise UnlikeError
    target.keys, target.parts = keys, items[1::2]
    r.act("assign", target)


def _setitem(r: Reading, _data: Data, at: int) -> int:
    value, key = r.pop(), r.pop()
    _assign(r, (key, value))
    return at + 1


def _setitems(r: Reading, _data: Data, at: int) -> int:
    _assign(r, r.marked())
    return at + 1


def _newobj(r: Reading, _data: Data, at: int) -> int:
    arguments, cls = r.pop(), r.pop()
    likeness.make(r, cls, arguments, at)
    return at + 1


def _reduce(r: Reading, _data: Data, at: int) -> int:
    arguments, function = r.pop(), r.pop()
    likeness.call(r, function, arguments, at)
    return at + 1


def _build(r: Reading, _data: Data, at: int) -> int:
    state, target = r.pop(), r.pop()
    r.stack.append(target)
    end = at + 1
    return likeness.build(r, target, state, end)


def _frame(r: Reading, _data: Data, at: int) -> int:
    last = r.pieces[-1] if r.pieces else None
    if r.opcodes and (last is None or last.kind != "raw" or last.stop != at):
        raise UnlikeError
    r.pieces.append(Piece("frame", at, at + 9))
    return at + 9


_READ: dict[str, Step] = {
    **{name: _literal("text", name) for name in ("SHORT_BINUNICODE", "BINUNICODE")},
    **{
        name: _literal("bytes", name)
        for name in ("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8")
    },
    **{name: _number(name) for name in ("BININT1", "BININT2", "BININT")},
    "APPEND": _append,
    "APPENDS": _appends,
    "BINFLOAT": _float,
    "BINGET": _get(1),
    "BUILD": _build,
    "EMPTY_DICT": _empty("dict"),
    "EMPTY_LIST": _empty("list"),
    "EMPTY_TUPLE": _tuple(0),
    "FRAME": _frame,
    "LONG_BINGET": _get(4),
    "LONG_BINPUT": _put,
    "MARK": _mark,
    "MEMOIZE": _memoize,
    "NEWFALSE": _constant(False),
    "NEWOBJ": _newobj,
    "NEWTRUE": _constant(True),
    "NONE": _constant(None),
    "REDUCE": _reduce,
    "SETITEM": _setitem,
    "SETITEMS": _setitems,
    "TUPLE": _tuple(None),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
}
_STEPS = {OPCODES[name][0]: step for name, step in _READ.items()}
