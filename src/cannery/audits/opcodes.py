"""Pickle opcodes of protocols 0 to 5: their names, sizes and what no program here may hold."""

from __future__ import annotations

import mmap

from cannery.audits.findings import Severity

Data = bytes | mmap.mmap
"""What programs are read from: indexed, sliced, searched, never executed."""


class BrokenProgramError(Exception):
    """The program can't be followed any further; carries the rule and whether that is an attack."""

    def __init__(self, rule: str, message: str, *, unsafe: bool = False) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
        self.severity: Severity = "unsafe" if unsafe else "unreadable"
        self.offset: int | None = None
        """Where the opcode stands at which the program broke, once the machine knows."""


OPCODES: dict[str, tuple[int, int, int]] = {
    "MARK": (0x28, 0, 0),
    "EMPTY_TUPLE": (0x29, 1, 0),
    "STOP": (0x2E, 0, 0),
    "POP": (0x30, 0, 0),
    "POP_MARK": (0x31, 1, 0),
    "DUP": (0x32, 0, 0),
    "BINBYTES": (0x42, 3, 4),
    "SHORT_BINBYTES": (0x43, 3, 1),
    "FLOAT": (0x46, 0, 1),
    "BINFLOAT": (0x47, 1, 8),
    "INT": (0x49, 0, 1),
    "BININT": (0x4A, 1, 4),
    "BININT1": (0x4B, 1, 1),
    "LONG": (0x4C, 0, 1),
    "BININT2": (0x4D, 1, 2),
    "NONE": (0x4E, 0, 0),
    "PERSID": (0x50, 0, 0),
    "BINPERSID": (0x51, 1, 0),
    "REDUCE": (0x52, 0, 0),
    "STRING": (0x53, 0, 1),
    "BINSTRING": (0x54, 1, 4),
    "SHORT_BINSTRING": (0x55, 1, 1),
    "UNICODE": (0x56, 0, 1),
    "BINUNICODE": (0x58, 1, 4),
    "EMPTY_LIST": (0x5D, 1, 0),
    "APPEND": (0x61, 0, 0),
    "BUILD": (0x62, 0, 0),
    "GLOBAL": (0x63, 0, 2),
    "DICT": (0x64, 0, 0),
    "APPENDS": (0x65, 1, 0),
    "GET": (0x67, 0, 1),
    "BINGET": (0x68, 1, 1),
    "INST": (0x69, 0, 0),
    "LONG_BINGET": (0x6A, 1, 4),
    "LIST": (0x6C, 0, 0),
    "OBJ": (0x6F, 1, 0),
    "PUT": (0x70, 0, 1),
    "BINPUT": (0x71, 1, 1),
    "LONG_BINPUT": (0x72, 1, 4),
    "SETITEM": (0x73, 0, 0),
    "TUPLE": (0x74, 0, 0),
    "SETITEMS": (0x75, 1, 0),
    "EMPTY_DICT": (0x7D, 1, 0),
    "PROTO": (0x80, 2, 1),
    "NEWOBJ": (0x81, 2, 0),
    "EXT1": (0x82, 2, 0),
    "EXT2": (0x83, 2, 0),
    "EXT4": (0x84, 2, 0),
    "TUPLE1": (0x85, 2, 0),
    "TUPLE2": (0x86, 2, 0),
    "TUPLE3": (0x87, 2, 0),
    "NEWTRUE": (0x88, 2, 0),
    "NEWFALSE": (0x89, 2, 0),
    "LONG1": (0x8A, 2, 1),
    "LONG4": (0x8B, 2, 4),
    "SHORT_BINUNICODE": (0x8C, 4, 1),
    "BINUNICODE8": (0x8D, 4, 8),
    "BINBYTES8": (0x8E, 4, 8),
    "EMPTY_SET": (0x8F, 4, 0),
    "ADDITEMS": (0x90, 4, 0),
    "FROZENSET": (0x91, 4, 0),
    "NEWOBJ_EX": (0x92, 4, 0),
    "STACK_GLOBAL": (0x93, 4, 0),
    "MEMOIZE": (0x94, 4, 0),
    "FRAME": (0x95, 4, 8),
    "BYTEARRAY8": (0x96, 5, 8),
    "NEXT_BUFFER": (0x97, 5, 0),
    "READONLY_BUFFER": (0x98, 5, 0),
}
"""Name → byte, first protocol that has it, bytes of the argument (or of the size in front of it) that
must follow. The arguments of opcodes that are always refused (`PERSID`, `INST`, `EXT1` …) are not
read: nothing after them is followed."""

SIZES: tuple[int, ...] = tuple(
    {code: size for code, _, size in OPCODES.values()}.get(code, 0) for code in range(256)
)
"""By byte: how many bytes must follow it."""

WIDEST = 1 + max(SIZES)
"""Bytes of the longest opcode with the fixed part of its argument."""

FRAME_MINIMUM = 4
"""Bytes of the shortest frame that a pickler writes."""

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
