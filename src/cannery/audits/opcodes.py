"""Pickle opcodes of protocols 0 to 5, and how their arguments are read.

Only the canonical forms are read, those that CPython's own pickler writes: where its two unpicklers
could understand a text differently, the reading fails.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from cannery.audits.findings import Severity
from cannery.audits.limits import Limits
from cannery.audits.values import HEAD, Opaque, Value, head_of

Data = bytes | mmap.mmap
"""What programs are read from: indexed, sliced, searched, never executed."""

Read = tuple[Value, int]
"""The argument, and where the next opcode stands."""

Reader = Callable[[Data, int, Limits], Read]


class BrokenProgramError(Exception):
    """The program can't be followed any further; carries the rule and whether that is an attack."""

    def __init__(self, rule: str, message: str, *, unsafe: bool = False) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
        self.severity: Severity = "unsafe" if unsafe else "unreadable"


@dataclass(frozen=True, slots=True)
class Opcode:
    """One opcode."""

    code: int
    name: str
    protocol: int
    """The first protocol that has it."""
    read: Reader


def _end(data: Data, at: int, size: int, what: str) -> int:
    end = at + size
    if end > len(data):
        raise BrokenProgramError(
            "truncated", f"{what} of {size} bytes runs past the end of the file"
        )
    return end


def _nothing(_data: Data, at: int, _limits: Limits) -> Read:
    return None, at


def _number(layout: str) -> Reader:
    code = struct.Struct(layout)
    size = code.size

    def read(data: Data, at: int, _limits: Limits) -> Read:
        end = _end(data, at, size, "a number")
        return code.unpack(data[at:end])[0], end

    return read


def _sized(layout: str, finish: Callable[[Data, int, int, Limits], Value]) -> Reader:
    number = _number(layout)

    def read(data: Data, at: int, limits: Limits) -> Read:
        size, at = number(data, at, limits)
        if size < 0:
            raise BrokenProgramError("negative-size", f"an argument of {size} bytes")
        end = _end(data, at, size, "an argument")
        return finish(data, at, end, limits), end

    return read


def _text(data: Data, at: int, end: int, limits: Limits) -> Value:
    if end - at > limits.text:
        raise BrokenProgramError("too-long", f"a string of {end - at} bytes")
    try:
        value = data[at:end].decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise BrokenProgramError("bad-text", "a string is not UTF-8") from error
    return _kept(value, limits)


def _kept(value: str, limits: Limits) -> Value:
    return value if len(value) <= limits.kept else Opaque(str, len(value), head_of(value))


def _old_text(data: Data, at: int, end: int, limits: Limits) -> Value:
    if end - at > limits.kept:
        raise BrokenProgramError("too-long", f"a Python 2 string of {end - at} bytes")
    value = data[at:end]
    if not value.isascii():
        raise BrokenProgramError("bad-text", "a Python 2 string is not ASCII")
    return value.decode("ascii")


def _raw(data: Data, at: int, end: int, limits: Limits) -> Value:
    return (
        data[at:end]
        if end - at <= limits.kept
        else Opaque(bytes, end - at, bytes(data[at : min(end, at + HEAD)]))
    )


def _array(data: Data, at: int, end: int, _limits: Limits) -> Value:
    return Opaque(bytearray, end - at, bytes(data[at : min(end, at + HEAD)]))


def _integer(data: Data, at: int, end: int, limits: Limits) -> Value:
    if end - at > limits.integer:
        raise BrokenProgramError("too-long", f"an integer of {end - at} bytes")
    return int.from_bytes(data[at:end], "little", signed=True)


def _line(data: Data, at: int, limit: int) -> tuple[bytes, int]:
    end = data.find(b"\n", at, at + limit + 1)
    if end < 0:
        raise BrokenProgramError("truncated", f"a line without an end within {limit} bytes")
    return data[at:end], end + 1


def _matched(
    pattern: str, convert: Callable[[bytes], Value], *, limit: int | None = None
) -> Reader:
    expression = re.compile(pattern.encode())

    def read(data: Data, at: int, limits: Limits) -> Read:
        line, end = _line(data, at, limit or limits.integer)
        if not expression.fullmatch(line):
            raise BrokenProgramError(
                "ambiguous-text",
                f"{line[:40]!r} is not what a pickler writes; unpicklers differ on it",
                unsafe=True,
            )
        return convert(line), end

    return read


def _int(line: bytes) -> Value:
    return {b"00": False, b"01": True}.get(line) if line in (b"00", b"01") else int(line)


def _quoted(line: bytes) -> Value:
    return line[1:-1].decode("ascii")


def _unicode(data: Data, at: int, limits: Limits) -> Read:
    line, end = _line(data, at, min(limits.text, 1 << 24))
    try:
        value = line.decode("raw-unicode-escape")
    except UnicodeDecodeError as error:
        raise BrokenProgramError("bad-text", "a string has a broken escape") from error
    return _kept(value, limits), end


def _names(data: Data, at: int, _limits: Limits) -> Read:
    module, at = _line(data, at, 1024)
    qualname, at = _line(data, at, 1024)
    try:
        return (module.decode("utf-8"), qualname.decode("utf-8")), at
    except UnicodeDecodeError as error:
        raise BrokenProgramError("bad-text", "a global's name is not UTF-8") from error


_TABLE: tuple[tuple[int, str, int, Reader], ...] = (
    (0x28, "MARK", 0, _nothing),
    (0x2E, "STOP", 0, _nothing),
    (0x30, "POP", 0, _nothing),
    (0x31, "POP_MARK", 1, _nothing),
    (0x32, "DUP", 0, _nothing),
    (0x46, "FLOAT", 0, _matched(r"-?(\d+\.\d+|\d+(\.\d+)?e[+-]\d+|inf|nan)", float)),
    (0x49, "INT", 0, _matched(r"00|01|-?[1-9]\d*|0", _int)),
    (0x4A, "BININT", 1, _number("<i")),
    (0x4B, "BININT1", 1, _number("<B")),
    (0x4C, "LONG", 0, _matched(r"(-?[1-9]\d*|0)L", lambda line: int(line[:-1]))),
    (0x4D, "BININT2", 1, _number("<H")),
    (0x4E, "NONE", 0, _nothing),
    (0x50, "PERSID", 0, _nothing),
    (0x51, "BINPERSID", 1, _nothing),
    (0x52, "REDUCE", 0, _nothing),
    (0x53, "STRING", 0, _matched(r"'[ -&(-\[\]-~]*'|\"[ !#-\[\]-~]*\"", _quoted)),
    (0x54, "BINSTRING", 1, _sized("<i", _old_text)),
    (0x55, "SHORT_BINSTRING", 1, _sized("<B", _old_text)),
    (0x56, "UNICODE", 0, _unicode),
    (0x58, "BINUNICODE", 1, _sized("<I", _text)),
    (0x61, "APPEND", 0, _nothing),
    (0x62, "BUILD", 0, _nothing),
    (0x63, "GLOBAL", 0, _names),
    (0x64, "DICT", 0, _nothing),
    (0x7D, "EMPTY_DICT", 1, _nothing),
    (0x65, "APPENDS", 1, _nothing),
    (0x67, "GET", 0, _matched(r"[1-9]\d{0,9}|0", int)),
    (0x68, "BINGET", 1, _number("<B")),
    (0x69, "INST", 0, _nothing),
    (0x6A, "LONG_BINGET", 1, _number("<I")),
    (0x6C, "LIST", 0, _nothing),
    (0x5D, "EMPTY_LIST", 1, _nothing),
    (0x6F, "OBJ", 1, _nothing),
    (0x70, "PUT", 0, _matched(r"[1-9]\d{0,9}|0", int)),
    (0x71, "BINPUT", 1, _number("<B")),
    (0x72, "LONG_BINPUT", 1, _number("<I")),
    (0x73, "SETITEM", 0, _nothing),
    (0x74, "TUPLE", 0, _nothing),
    (0x29, "EMPTY_TUPLE", 1, _nothing),
    (0x75, "SETITEMS", 1, _nothing),
    (0x47, "BINFLOAT", 1, _number(">d")),
    (0x80, "PROTO", 2, _number("<B")),
    (0x81, "NEWOBJ", 2, _nothing),
    (0x82, "EXT1", 2, _nothing),
    (0x83, "EXT2", 2, _nothing),
    (0x84, "EXT4", 2, _nothing),
    (0x85, "TUPLE1", 2, _nothing),
    (0x86, "TUPLE2", 2, _nothing),
    (0x87, "TUPLE3", 2, _nothing),
    (0x88, "NEWTRUE", 2, _nothing),
    (0x89, "NEWFALSE", 2, _nothing),
    (0x8A, "LONG1", 2, _sized("<B", _integer)),
    (0x8B, "LONG4", 2, _sized("<i", _integer)),
    (0x42, "BINBYTES", 3, _sized("<I", _raw)),
    (0x43, "SHORT_BINBYTES", 3, _sized("<B", _raw)),
    (0x8C, "SHORT_BINUNICODE", 4, _sized("<B", _text)),
    (0x8D, "BINUNICODE8", 4, _sized("<Q", _text)),
    (0x8E, "BINBYTES8", 4, _sized("<Q", _raw)),
    (0x8F, "EMPTY_SET", 4, _nothing),
    (0x90, "ADDITEMS", 4, _nothing),
    (0x91, "FROZENSET", 4, _nothing),
    (0x92, "NEWOBJ_EX", 4, _nothing),
    (0x93, "STACK_GLOBAL", 4, _nothing),
    (0x94, "MEMOIZE", 4, _nothing),
    (0x95, "FRAME", 4, _number("<Q")),
    (0x96, "BYTEARRAY8", 5, _sized("<Q", _array)),
    (0x97, "NEXT_BUFFER", 5, _nothing),
    (0x98, "READONLY_BUFFER", 5, _nothing),
)

OPCODES: tuple[Opcode | None, ...] = tuple(
    {code: Opcode(code, name, protocol, read) for code, name, protocol, read in _TABLE}.get(code)
    for code in range(256)
)
"""The opcode of every byte, None where a byte is none. The arguments of opcodes that are always
refused (`PERSID`, `INST`, `EXT1` …) are not read: nothing after them is followed."""

_BY_HAND = "which CPython's pickler does not write"
_REGISTRY = "an extension code stands for a global that only a registry knows"

FORBIDDEN: dict[str, str] = {
    "BINPERSID": "a persistent id asks the reader for an object",
    "DUP": f"DUP doubles a value, {_BY_HAND}",
    "EXT1": _REGISTRY,
    "EXT2": _REGISTRY,
    "EXT4": _REGISTRY,
    "INST": f"INST calls a global by name, {_BY_HAND}",
    "NEXT_BUFFER": "an out-of-band buffer is asked for, and there is none",
    "OBJ": f"OBJ calls a global, {_BY_HAND}",
    "PERSID": "a persistent id asks the reader for an object",
    "READONLY_BUFFER": "an out-of-band buffer is asked for, and there is none",
}
"""Opcodes that no program here may hold, and why."""


def skip_padding(data: Data, at: int, alignment: int | None) -> int:
    """Return where an array's bytes begin behind joblib's padding; raises BrokenProgramError for another."""
    if alignment is None:
        return at
    size = data[at] if at < len(data) else 0
    if size > alignment or data[at + 1 : at + 1 + size] != b"\xff" * size:
        raise BrokenProgramError(
            "hidden-bytes", "the padding of an array is not joblib's", unsafe=True
        )
    return at + 1 + size
