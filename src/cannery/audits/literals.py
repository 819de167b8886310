"""How opcodes that push a literal read it.

Only the canonical forms are read, those that CPython's own pickler writes: where its two unpicklers
could understand a text differently, the reading fails.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cannery.audits.opcodes import BrokenProgramError, Data

if TYPE_CHECKING:
    from cannery.audits.machine import Machine

Handler = Callable[["Machine", Data, int], int]
"""Follows one opcode whose argument begins at the offset; returns where the next opcode stands."""

_LINE = 1024
"""Bytes of the longest name."""


def constant(value: Any) -> Handler:
    """Return what pushes always the same value."""

    def push(m: Machine, _data: Data, at: int) -> int:
        m.stack.append(value)
        return at

    return push


def binint1(m: Machine, data: Data, at: int) -> int:
    """Push a byte."""
    m.stack.append(data[at])
    return at + 1


def binint2(m: Machine, data: Data, at: int) -> int:
    """Push two bytes."""
    m.stack.append(data[at] | data[at + 1] << 8)
    return at + 2


_INT = struct.Struct("<i").unpack_from
_FLOAT = struct.Struct(">d").unpack_from


def binint(m: Machine, data: Data, at: int) -> int:
    """Push four bytes with a sign."""
    m.stack.append(_INT(data, at)[0])
    return at + 4


def binfloat(m: Machine, data: Data, at: int) -> int:
    """Push a double, the only number of a pickle with its highest byte first."""
    m.stack.append(_FLOAT(data, at)[0])
    return at + 8


def short_binunicode(m: Machine, data: Data, at: int) -> int:
    """Push a string of less than 256 bytes."""
    start = at + 1
    at = start + data[at]
    try:
        value = data[start:at].decode()
    except UnicodeDecodeError:
        value = text(m, data, start, at)
    # What may be a program itself is for the domain to look at.
    m.stack.append(text(m, data, start, at) if value and data[start] == 0xC2 else value)
    return at


def short_binbytes(m: Machine, data: Data, at: int) -> int:
    """Push less than 256 bytes."""
    start = at + 1
    at = start + data[at]
    value = data[start:at]
    m.stack.append(m.domain.binary(data, start, at) if value[:1] == b"\x80" else value)
    return at


def _bad_text() -> BrokenProgramError:
    return BrokenProgramError("bad-text", "a string is not UTF-8")


def sized(
    width: int, push: Callable[[Machine, Data, int, int], Any], *, signed: bool = False
) -> Handler:
    """Return what pushes an argument with its size, of `width` bytes, in front."""

    def handle(m: Machine, data: Data, at: int) -> int:
        size = int.from_bytes(data[at : at + width], "little", signed=signed)
        if size < 0:
            raise BrokenProgramError("negative-size", f"an argument of {size} bytes")
        at += width
        end = at + size
        if end > m.size:
            raise BrokenProgramError(
                "truncated", f"an argument of {size} bytes runs past the end of the file"
            )
        m.stack.append(push(m, data, at, end))
        return end

    return handle


def text(m: Machine, data: Data, at: int, end: int) -> Any:
    """Return a string."""
    if end - at > m.domain.limits.text:
        raise BrokenProgramError("too-long", f"a string of {end - at} bytes")
    try:
        return m.domain.text(data, at, end, "utf-8")
    except UnicodeDecodeError as error:
        raise _bad_text() from error


def old_text(m: Machine, data: Data, at: int, end: int) -> str:
    """Return a string of Python 2."""
    if end - at > m.domain.limits.kept:
        raise BrokenProgramError("too-long", f"a Python 2 string of {end - at} bytes")
    value = data[at:end]
    if not value.isascii():
        raise BrokenProgramError("bad-text", "a Python 2 string is not ASCII")
    return value.decode("ascii")


def binary(m: Machine, data: Data, at: int, end: int) -> Any:
    """Return bytes."""
    return m.domain.binary(data, at, end)


def buffer(m: Machine, data: Data, at: int, end: int) -> Any:
    """Return a bytearray."""
    return m.domain.buffer(data, at, end)


def integer(m: Machine, data: Data, at: int, end: int) -> int:
    """Return an integer of any length, within limits."""
    if end - at > m.domain.limits.integer:
        raise BrokenProgramError("too-long", f"an integer of {end - at} bytes")
    return int.from_bytes(data[at:end], "little", signed=True)


def _line(data: Data, at: int, limit: int) -> tuple[bytes, int]:
    end = data.find(b"\n", at, at + limit + 1)
    if end < 0:
        raise BrokenProgramError("truncated", f"a line without an end within {limit} bytes")
    return data[at:end], end + 1


Convert = Callable[[bytes], Any]


def read_line(m: Machine, data: Data, at: int, form: re.Pattern[bytes]) -> tuple[bytes, int]:
    """Return the line at `at`, which must have this form, and where the next one begins."""
    line, end = _line(data, at, m.domain.limits.integer)
    if not form.fullmatch(line):
        raise BrokenProgramError(
            "ambiguous-text",
            f"{line[:40]!r} is not what a pickler writes; unpicklers differ on it",
            unsafe=True,
        )
    return line, end


def line(form: str, convert: Convert) -> Handler:
    """Return what pushes the value of a line of this form."""
    pattern = re.compile(form.encode())

    def push(m: Machine, data: Data, at: int) -> int:
        found, at = read_line(m, data, at, pattern)
        m.stack.append(convert(found))
        return at

    return push


def old_integer(found: bytes) -> int:
    """Return the value of INT, which also writes booleans."""
    return found == b"01" if found in (b"00", b"01") else int(found)


def quoted(found: bytes) -> str:
    """Return the value of STRING."""
    return found[1:-1].decode("ascii")


def unicode(m: Machine, data: Data, at: int) -> int:
    """Push a string of protocol 0."""
    found, end = _line(data, at, min(m.domain.limits.text, 1 << 24))
    try:
        m.stack.append(m.domain.text(data, at, at + len(found), "raw-unicode-escape"))
    except UnicodeDecodeError as error:
        raise BrokenProgramError("bad-text", "a string has a broken escape") from error
    return end


def names(data: Data, at: int) -> tuple[str, str, int]:
    """Return the module and the name of GLOBAL, and where the next opcode stands."""
    module, at = _line(data, at, _LINE)
    qualname, at = _line(data, at, _LINE)
    try:
        return module.decode(), qualname.decode(), at
    except UnicodeDecodeError as error:
        raise BrokenProgramError("bad-text", "a global's name is not UTF-8") from error


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
