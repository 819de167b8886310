"""Which calls and states may be repeated, and what of them may differ: nothing that a rule looks at.

The rules themselves are those of `calls`, `arrays` and `states`. They have judged the value from which an
outline is read; here stands what they looked at, which is held, and what they did not, which is free.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from cannery.audits import calls, literals, states
from cannery.audits.repeats.parts import Part, Piece, UnlikeError
from cannery.audits.values import Array, DType, Made, Name, Tuple

if TYPE_CHECKING:
    from cannery.audits.repeats.outlines import Reading


def make(r: Reading, cls: Part, arguments: Part, at: int) -> None:
    """Push an object that a class makes of nothing."""
    if arguments.hold() is None or type(arguments.value) is not Tuple or arguments.value.items:
        raise UnlikeError
    name = cls.value
    if cls.kind != "old" or type(name) is not Name or name.canonical == "functools.partial":
        raise UnlikeError
    r.made(Made(name), at)


def call(r: Reading, function: Part, arguments: Part, at: int) -> None:
    """Push what a function makes."""
    name = function.value
    if function.kind != "old" or type(name) is not Name or arguments.kind != "tuple":
        raise UnlikeError
    rule = _CALLS.get(name.canonical)
    if rule is not None:
        rule(r, name, arguments, at)
    elif name.canonical in calls.RULES or ".__pyx_unpickle_" in name.canonical:
        raise UnlikeError
    else:  # takes any arguments
        for part in arguments.parts:
            part.free |= part.kind == "number"
        r.made(Made(name), at, arguments)


def _encode(r: Reading, _name: Name, arguments: Part, _at: int) -> None:
    text, coding = arguments.parts
    if text.kind != "text" or coding.hold() not in ("latin1", "latin-1"):
        raise UnlikeError
    content = None if text.value is None else text.value.encode("latin-1")
    part = Part("encoded", content, (text,))
    r.stack.append(part)
    r.act("encoded", part, text)


def _reconstruct(r: Reading, _name: Name, arguments: Part, at: int) -> None:
    if not arguments.fixed:
        raise UnlikeError
    arguments.hold()
    r.made(Array(arguments.value.items[0]), at)


def _scalar(r: Reading, name: Name, arguments: Part, at: int) -> None:
    kind, content = arguments.parts
    if not arguments.fixed or type(kind.value) is not DType:
        raise UnlikeError
    arguments.hold()
    r.made(Array(name), 0)
    r.filled(r.stack[-1], kind, Part("other", Tuple(())), content)


def _from_buffer(r: Reading, name: Name, arguments: Part, at: int) -> None:
    content, kind, shape, order = arguments.parts
    order.hold()
    r.measure(shape, kind.value, content)
    r.made(Array(name), 0)
    r.filled(r.stack[-1], kind, shape, content)


_CALLS: dict[str, Callable[[Reading, Name, Part, int], None]] = {
    "_codecs.encode": _encode,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.numeric._frombuffer": _from_buffer,
}


def build(r: Reading, target: Part, state: Part, at: int) -> int:
    """Set a state; returns where the next opcode stands, behind the bytes of an array of joblib."""
    if target.done:
        raise UnlikeError
    target.done = True
    if target.kind == "array":
        _fill(r, target, state)
    elif target.kind == "made" and state.kind == "dict":
        if target.value.canonical == states.WRAPPER:
            return _wrapped(r, target, state, at)
        _set(r, target, state)
    else:
        raise UnlikeError
    return at


def _fill(r: Reading, target: Part, state: Part) -> None:
    if state.kind != "tuple" or target.value.canonical not in states.ARRAYS:
        raise UnlikeError
    version, shape, kind, fortran, content = state.parts
    if version.hold() != 1 or type(fortran.hold()) is not bool:
        raise UnlikeError
    r.measure(shape, kind.value, content)
    r.filled(target, kind, shape, content, state)


def _set(r: Reading, target: Part, state: Part) -> None:
    owner, keys = target.value.canonical, state.keys or ()
    if not states.is_plain(owner, keys):
        raise UnlikeError
    state.done = True
    for key, part in zip(keys, state.parts, strict=True):
        if key == states.VERSION:
            part.hold()
        part.free |= part.kind == "number"
    target.state = state
    r.act("state", target, state)


def _wrapped(r: Reading, target: Part, state: Part, at: int) -> int:
    """Take the bytes of an array of joblib, which stand behind its wrapper."""
    items = dict(zip(state.keys or (), state.parts, strict=True))
    if not r.machine.arrays or not items.keys() <= states.WRAPPED:
        raise UnlikeError
    cls, shape, kind = items["subclass"], items["shape"], items["dtype"]
    alignment = items["numpy_array_alignment_bytes"].hold()
    if type(cls.value) is not Name or items["order"].hold() not in ("C", "F"):
        raise UnlikeError
    if {part.kind for part in (cls, kind)} != {"old"} or alignment not in states.ALIGNMENTS:
        raise UnlikeError
    content = Part("raw")
    r.measure(shape, kind.value, content)
    content.parts, content.value = r.sized[-1].shape, kind.value.itemsize
    start = literals.skip_padding(r.machine.data, at, alignment)
    stop: int = start + math.prod(size.value for size in content.parts) * content.value
    r.pieces.append(Piece("raw", at, stop, content, index=alignment))
    r.act("wrapped", target, state)
    r.stack.pop()
    r.made(Array(cls.value), 0)
    r.filled(r.stack[-1], kind, shape, content)
    return stop
