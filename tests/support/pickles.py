"""Pickle programs built by intent: `make_pickle(call(name("os", "system"), text("…")))`.

Every part is the bytes of opcodes that leave one value on the stack, or change the one that is there.
"""

from __future__ import annotations

import struct

STOP = b"."
MARK = b"("
NONE = b"N"
TRUE = b"\x88"
FALSE = b"\x89"
EMPTY_TUPLE = b")"
EMPTY_DICT = b"}"
EMPTY_LIST = b"]"
REDUCE = b"R"
BUILD = b"b"
POP = b"0"
MEMOIZE = b"\x94"


def make_pickle(*parts: bytes, protocol: int = 4, stop: bytes = STOP) -> bytes:
    """Join parts to a program: the protocol in front (from 2 on), STOP behind."""
    head = b"" if protocol < 2 else bytes([0x80, protocol])
    return head + b"".join(parts) + stop


def name(module: str, qualname: str) -> bytes:
    """Push a global by the old opcode."""
    return f"c{module}\n{qualname}\n".encode()


def stack_name(module: bytes, qualname: bytes) -> bytes:
    """Push a global whose names are taken from the stack."""
    return module + qualname + b"\x93"


def text(value: str) -> bytes:
    """Push a string."""
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def data(value: bytes) -> bytes:
    """Push bytes."""
    return b"B" + struct.pack("<I", len(value)) + value


def number(value: int) -> bytes:
    """Push an integer."""
    return b"J" + struct.pack("<i", value)


def pair(*items: bytes) -> bytes:
    """Push a tuple of the items."""
    return MARK + b"".join(items) + b"t"


def items(**values: bytes) -> bytes:
    """Push a dictionary with these keys."""
    body = b"".join(text(key) + value for key, value in values.items())
    return EMPTY_DICT + MARK + body + b"u"


def listed(*values: bytes) -> bytes:
    """Push a list."""
    return EMPTY_LIST + MARK + b"".join(values) + b"e"


def call(function: bytes, *arguments: bytes) -> bytes:
    """Call a function by REDUCE."""
    return function + pair(*arguments) + REDUCE


def made(cls: bytes, *arguments: bytes) -> bytes:
    """Make an object by NEWOBJ."""
    return cls + pair(*arguments) + b"\x81"


def built(target: bytes, state: bytes) -> bytes:
    """Set the state of what `target` pushes."""
    return target + state + BUILD


def put(index: int) -> bytes:
    """Remember the value on top."""
    return b"q" + bytes([index])


def get(index: int) -> bytes:
    """Push a remembered value."""
    return b"h" + bytes([index])


def frame(body: bytes, size: int | None = None) -> bytes:
    """Put a frame around opcodes, with its true size or another."""
    return b"\x95" + struct.pack("<Q", len(body) if size is None else size) + body


def dtype(code: str, *, state: bytes | None = None) -> bytes:
    """Push a numpy dtype, with a state of choice."""
    base = call(name("numpy", "dtype"), text(code), FALSE, TRUE)
    return base if state is None else built(base, state)


def dtype_state(order: str, *, size: int = -1, flags: int = 0, fields: bytes = NONE) -> bytes:
    """Push the state of a dtype."""
    return pair(
        number(3), text(order), NONE, NONE if fields == NONE else pair(text("a")), fields,
        number(size), number(size), number(flags),
    )  # fmt: skip


def array(kind: bytes, shape: bytes, content: bytes) -> bytes:
    """Push a numpy array with any dtype, shape and content."""
    base = call(
        name("numpy._core.multiarray", "_reconstruct"),
        name("numpy", "ndarray"),
        pair(number(0)),
        data(b"b"),
    )
    return built(base, pair(number(1), shape, kind, FALSE, content))


def wrapper(kind: bytes, shape: bytes, *, alignment: bytes = number(16)) -> bytes:
    """Push joblib's wrapper; the array's bytes must follow."""
    state = items(
        subclass=name("numpy", "ndarray"),
        shape=shape,
        order=text("C"),
        dtype=kind,
        allow_mmap=FALSE,
        numpy_array_alignment_bytes=alignment,
    )
    return built(made(name("joblib.numpy_pickle", "NumpyArrayWrapper")), state)
