"""What each opcode does to the machine, in one table for each protocol."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any

from cannery.audits import literals, runs
from cannery.audits.literals import Handler
from cannery.audits.opcodes import FORBIDDEN, OPCODES, BrokenProgramError, Data

if TYPE_CHECKING:
    from cannery.audits.machine import Machine

EMPTY = ("empty-stack", "a value is taken from an empty stack")
"""What is wrong with a program that takes more than it has pushed."""


def _proto(m: Machine, data: Data, at: int) -> int:
    m.start(data[at], at - 1)
    return at + 1


def _frame(m: Machine, data: Data, at: int) -> int:
    size = int.from_bytes(data[at : at + 8], "little")
    m.open_frame(size, at + 8)
    return runs.take(m, data, at + 8)


def _stop(m: Machine, _data: Data, at: int) -> int:
    m.stop(at)
    return at


def _mark(m: Machine, data: Data, at: int) -> int:
    if len(m.below) >= m.domain.limits.depth:
        raise BrokenProgramError("too-deep", f"more than {len(m.below)} open marks")
    m.below.append(m.stack)
    m.stack = []
    return runs.take(m, data, at)


def _pop(m: Machine, data: Data, at: int) -> int:
    # The unpickler's POP takes the mark when the mark is on top.
    if m.stack:
        m.stack.pop()
    else:
        m.marked()
    return _popped(m, data, at)


def _pop_mark(m: Machine, data: Data, at: int) -> int:
    m.marked()
    return _popped(m, data, at)


def _popped(m: Machine, data: Data, at: int) -> int:
    """A pickler pops what it has written twice, and gets the first of the two from the memo."""
    if at < m.size and data[at] not in _AFTER_POP:
        m.domain.refuse("stray-pop", "a value is thrown away as no pickler does", at)
    return at


_AFTER_POP = frozenset(
    OPCODES[name][0] for name in ("POP", "POP_MARK", "GET", "BINGET", "LONG_BINGET")
)


def _memoize(m: Machine, _data: Data, at: int) -> int:
    memo = m.memo
    index = len(memo)
    if index in memo or index >= m.room or not m.stack:
        m.put(index, at)
    memo[index] = m.stack[-1]
    return at


def _binput(m: Machine, data: Data, at: int) -> int:
    m.put(data[at], at)
    return at + 1


_LONG = struct.Struct("<I").unpack_from


def _long_binput(m: Machine, data: Data, at: int) -> int:
    m.put(_LONG(data, at)[0], at)
    return at + 4


def _binget(m: Machine, data: Data, at: int) -> int:
    m.get(data[at])
    return at + 1


def _long_binget(m: Machine, data: Data, at: int) -> int:
    m.get(_LONG(data, at)[0])
    return at + 4


_INDEX = re.compile(rb"[1-9]\d{0,9}|0")


def _put(m: Machine, data: Data, at: int) -> int:
    index, at = literals.read_line(m, data, at, _INDEX)
    m.put(int(index), at)
    return at


def _get(m: Machine, data: Data, at: int) -> int:
    index, at = literals.read_line(m, data, at, _INDEX)
    m.get(int(index))
    return at


def _tuple(m: Machine, _data: Data, at: int) -> int:
    items = m.marked()
    m.stack.append(m.domain.tuple_of(tuple(items)))
    return at


def _short_tuple(size: int) -> Handler:
    def handle(m: Machine, _data: Data, at: int) -> int:
        stack = m.stack
        items = tuple(stack[-size:])
        if len(items) < size:
            raise BrokenProgramError(*EMPTY)
        stack[-size:] = (m.domain.tuple_of(items),)
        return at

    return handle


def _tuple1(m: Machine, _data: Data, at: int) -> int:
    stack = m.stack
    if not stack:
        raise BrokenProgramError(*EMPTY)
    stack[-1] = m.domain.tuple_of((stack[-1],))
    return at


def _frozenset(m: Machine, _data: Data, at: int) -> int:
    items = m.marked()
    m.stack.append(m.domain.frozenset_of(tuple(items)))
    return at


def _empty_tuple(m: Machine, _data: Data, at: int) -> int:
    m.stack.append(m.domain.tuple_of(()))
    return at


def _empty_list(m: Machine, _data: Data, at: int) -> int:
    m.stack.append(m.domain.new_list())
    return at


def _empty_dict(m: Machine, _data: Data, at: int) -> int:
    m.stack.append(m.domain.new_dict())
    return at


def _empty_set(m: Machine, _data: Data, at: int) -> int:
    m.stack.append(m.domain.new_set())
    return at


def _append(m: Machine, data: Data, at: int) -> int:
    item = m.pop()
    m.domain.append(m.top(), [item], at - 1)
    return at if m.repeats is None else m.repeats.take(m, data, at)


def _appends(m: Machine, data: Data, at: int) -> int:
    items = m.marked()
    m.domain.append(m.top(), items, at - 1)
    return at if m.repeats is None else m.repeats.take(m, data, at)


def _list(m: Machine, _data: Data, at: int) -> int:
    items = m.marked()
    m.stack.append(m.domain.new_list())
    m.domain.append(m.stack[-1], items, at - 1)
    return at


def _assign(m: Machine, items: list[Any], at: int) -> int:
    if len(items) % 2:
        raise BrokenProgramError("odd-items", "a dictionary gets a key without a value")
    m.domain.assign(m.top(), items, at - 1)
    return at


def _setitem(m: Machine, _data: Data, at: int) -> int:
    value, key = m.pop(), m.pop()
    return _assign(m, [key, value], at)


def _setitems(m: Machine, _data: Data, at: int) -> int:
    return _assign(m, m.marked(), at)


def _dict(m: Machine, _data: Data, at: int) -> int:
    items = m.marked()
    m.stack.append(m.domain.new_dict())
    return _assign(m, items, at)


def _additems(m: Machine, _data: Data, at: int) -> int:
    items = m.marked()
    m.domain.add(m.top(), items, at - 1)
    return at


def _global(m: Machine, data: Data, at: int) -> int:
    module, qualname, end = literals.names(data, at)
    m.stack.append(m.domain.find(module, qualname, m.protocol, at - 1))
    return end


def _stack_global(m: Machine, _data: Data, at: int) -> int:
    qualname, module = m.pop(), m.pop()
    m.stack.append(m.domain.find(module, qualname, m.protocol, at - 1))
    return at


def _reduce(m: Machine, data: Data, at: int) -> int:
    if len(m.stack) < 2:
        raise BrokenProgramError(*EMPTY)
    arguments = m.stack.pop()
    m.stack[-1] = m.domain.call(m.stack[-1], arguments, at - 1)
    height = len(m.stack)
    if height == m.called + 1 and m.repeats is not None:
        at = m.repeats.take(m, data, at)
        height = len(m.stack)
    m.called = height
    return at


def _newobj(m: Machine, _data: Data, at: int) -> int:
    arguments, cls = m.pop(), m.pop()
    m.stack.append(m.domain.make(cls, arguments, None, at - 1))
    return at


def _newobj_ex(m: Machine, _data: Data, at: int) -> int:
    keywords, arguments, cls = m.pop(), m.pop(), m.pop()
    m.stack.append(m.domain.make(cls, arguments, keywords, at - 1))
    return at


def _build(m: Machine, data: Data, at: int) -> int:
    if len(m.stack) < 2:
        raise BrokenProgramError(*EMPTY)
    state = m.stack.pop()
    raw = m.domain.build(m.stack[-1], state, at - 1)
    if raw is not None:
        at = m.skip(raw, at)
    return at if m.repeats is None else m.repeats.take(m, data, at)


_FLOAT = r"-?(\d+\.\d+|\d+(\.\d+)?e[+-]\d+|inf|nan)"
_STRING = r"'[ -&(-\[\]-~]*'|\"[ !#-\[\]-~]*\""

_HANDLERS: dict[str, Handler] = {
    "ADDITEMS": _additems,
    "APPEND": _append,
    "APPENDS": _appends,
    "BINBYTES": literals.sized(4, literals.binary),
    "BINBYTES8": literals.sized(8, literals.binary),
    "BINFLOAT": literals.binfloat,
    "BINGET": _binget,
    "BININT": literals.binint,
    "BININT1": literals.binint1,
    "BININT2": literals.binint2,
    "BINPUT": _binput,
    "BINSTRING": literals.sized(4, literals.old_text, signed=True),
    "BINUNICODE": literals.sized(4, literals.text),
    "BINUNICODE8": literals.sized(8, literals.text),
    "BUILD": _build,
    "BYTEARRAY8": literals.sized(8, literals.buffer),
    "DICT": _dict,
    "EMPTY_DICT": _empty_dict,
    "EMPTY_LIST": _empty_list,
    "EMPTY_SET": _empty_set,
    "EMPTY_TUPLE": _empty_tuple,
    "FLOAT": literals.line(_FLOAT, float),
    "FRAME": _frame,
    "FROZENSET": _frozenset,
    "GET": _get,
    "GLOBAL": _global,
    "INT": literals.line(r"00|01|-?[1-9]\d*|0", literals.old_integer),
    "LIST": _list,
    "LONG": literals.line(r"(-?[1-9]\d*|0)L", lambda found: int(found[:-1])),
    "LONG1": literals.sized(1, literals.integer),
    "LONG4": literals.sized(4, literals.integer, signed=True),
    "LONG_BINGET": _long_binget,
    "LONG_BINPUT": _long_binput,
    "MARK": _mark,
    "MEMOIZE": _memoize,
    "NEWFALSE": literals.constant(False),
    "NEWOBJ": _newobj,
    "NEWOBJ_EX": _newobj_ex,
    "NEWTRUE": literals.constant(True),
    "NONE": literals.constant(None),
    "POP": _pop,
    "POP_MARK": _pop_mark,
    "PROTO": _proto,
    "PUT": _put,
    "REDUCE": _reduce,
    "SETITEM": _setitem,
    "SETITEMS": _setitems,
    "SHORT_BINBYTES": literals.short_binbytes,
    "SHORT_BINSTRING": literals.sized(1, literals.old_text),
    "SHORT_BINUNICODE": literals.short_binunicode,
    "STACK_GLOBAL": _stack_global,
    "STOP": _stop,
    "STRING": literals.line(_STRING, literals.quoted),
    "TUPLE": _tuple,
    "TUPLE1": _tuple1,
    "TUPLE2": _short_tuple(2),
    "TUPLE3": _short_tuple(3),
    "UNICODE": literals.unicode,
}


def _unknown(_m: Machine, data: Data, at: int) -> int:
    raise BrokenProgramError("unknown-opcode", f"byte 0x{data[at - 1]:02x} is not an opcode")


def _forbidden(why: str) -> Handler:
    def handle(_m: Machine, _data: Data, _at: int) -> int:
        raise BrokenProgramError("forbidden-opcode", why, unsafe=True)

    return handle


def _mismatched(name: str, handler: Handler) -> Handler:
    """Return what objects to an opcode of a later protocol, and follows it."""

    def handle(m: Machine, data: Data, at: int) -> int:
        message = f"{name} does not belong to protocol {m.protocol}"
        m.domain.refuse("protocol-mismatch", message, at - 1)
        return handler(m, data, at)

    return handle


def _table(protocol: int) -> tuple[Handler, ...]:
    handlers: list[Handler] = [_unknown] * 256
    for name, (code, first, _) in OPCODES.items():
        if name in FORBIDDEN:
            handlers[code] = _forbidden(FORBIDDEN[name])
        elif first > max(protocol, 1) and name != "PROTO":
            handlers[code] = _mismatched(name, _HANDLERS[name])
        else:
            handlers[code] = _HANDLERS[name]
    return tuple(handlers)


TABLES: tuple[tuple[Handler, ...], ...] = tuple(_table(protocol) for protocol in range(6))
"""By protocol, by byte: what follows the opcode."""
