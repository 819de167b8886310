"""A program for the image's own Python: sources in, bytecode out, the same bytes every time.

stdin: marshal's version 2 of [(path, source), …].
stdout: for each source eight bytes (length) and the content of its `.pyc`; length 0 where it does not compile.

marshal flags an object by how often it happens to be referred to, which varies from run to run. So what it
wrote is written again without its references, and equal strings are shared by content: as small and as quick
to load as what the interpreter writes itself.
"""

from __future__ import annotations

import importlib.util
import marshal
import struct
import sys

_REF = 0x80
_BYTES = b"s"
_TEXT = b"utaAzZ"
"""Kinds of text: marshal tells by them too what happens to be kept once in memory."""
_SHORT = b"zZ"
"""Kinds whose length is one byte."""
_FIXED = {b"N": 0, b"T": 0, b"F": 0, b".": 0, b"S": 0, b"i": 4, b"g": 8, b"y": 16}
_CODE = (5, 8, 1, 2)
"""A code object is 5 numbers, 8 objects, 1 number, 2 objects (CPython 3.11 to 3.14)."""


class Sharing:
    """Rewrites what marshal wrote so that every string after its first use, and nothing else, is a reference."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.out = bytearray()
        self.seen: dict[bytes, int] = {}
        self.flagged: list[int] = []
        """Where the objects begin that marshal refers to, by number."""
        self.again = False
        """Whether an object is passed on once more, whose parts have their numbers already."""

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        piece = self.data[self.at : self.at + count]
        self.at += count
        return piece

    def copy(self, count: int) -> None:
        """Pass bytes on."""
        self.out += self.take(count)

    def number(self) -> int:
        """Take a 32-bit number."""
        return int(struct.unpack("<i", self.take(4))[0])

    def value(self) -> None:
        """Pass one object on."""
        start = self.at
        first = self.take(1)[0]
        kind = bytes([first & ~_REF])
        if first & _REF and not self.again:
            self.flagged.append(start)
        if kind == b"r":
            self.referred(self.number())
        elif kind in _BYTES + _TEXT:
            self.string(kind)
        elif kind in _FIXED:
            self.out += kind
            self.copy(_FIXED[kind])
        elif kind == b"l":
            size = self.take(4)
            self.out += kind + size
            self.copy(2 * abs(struct.unpack("<i", size)[0]))
        elif kind == b")":
            self.several(b"(", self.take(1)[0])
        elif kind in b"([<>":
            self.several(kind, self.number())
        elif kind == b":":
            self.out += kind
            for _ in range(3):
                self.value()
        elif kind == b"c":
            self.code()
        else:
            raise ValueError(f"marshal writes a kind {kind!r} that is not known here")

    def referred(self, number: int) -> None:
        """Pass an object on that stood before."""
        after, again = self.at, self.again
        self.at, self.again = self.flagged[number], True
        self.value()
        self.at, self.again = after, again

    def several(self, kind: bytes, count: int) -> None:
        """Pass a tuple, list or set on."""
        if kind == b"(" and count < 256:
            self.out += b")" + bytes([count])
        else:
            self.out += kind + struct.pack("<i", count)
        if kind in b"<>":
            self.in_order(count)
            return
        for _ in range(count):
            self.value()

    def in_order(self, count: int) -> None:
        """Pass the members of a set on by their content: marshal's order depends on its flags."""
        starts = {}
        out, seen = self.out, self.seen
        for _ in range(count):
            start, self.out, self.seen = self.at, bytearray(), {}
            self.value()
            starts[bytes(self.out)] = start
        end, again = self.at, self.again
        self.out, self.seen, self.again = out, seen, True
        for _, self.at in sorted(starts.items()):
            self.value()
        self.at, self.again = end, again

    def code(self) -> None:
        """Pass a code object on."""
        numbers, objects, more_numbers, more_objects = _CODE
        self.out += b"c"
        self.copy(4 * numbers)
        for _ in range(objects):
            self.value()
        self.copy(4 * more_numbers)
        for _ in range(more_objects):
            self.value()

    def string(self, kind: bytes) -> None:
        """Pass a string on, or a reference to an equal one of the same kind."""
        text = self.take(self.take(1)[0] if kind in _SHORT else self.number())
        kind = _BYTES if kind == _BYTES else b"u"
        key = kind + text
        if key in self.seen:
            self.out += b"r" + struct.pack("<i", self.seen[key])
            return
        self.seen[key] = len(self.seen)
        if kind != _BYTES and len(text) < 256 and text.isascii():
            self.out += bytes([b"z"[0] | _REF, len(text)]) + text
        else:
            self.out += bytes([kind[0] | _REF]) + struct.pack("<i", len(text)) + text


def compiled(source: bytes, name: str) -> bytes:
    """Return the content of an unchecked-hash `.pyc` (PEP 552); nothing where the source is not valid Python."""
    try:
        code = compile(source, name, "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError):
        return b""
    sharing = Sharing(marshal.dumps(code))
    sharing.value()
    head = importlib.util.MAGIC_NUMBER + struct.pack("<I", 1) + importlib.util.source_hash(source)
    return head + bytes(sharing.out)


def main() -> None:
    """Compile what stands on stdin."""
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    for name, source in marshal.load(stdin):
        content = compiled(source, name)
        stdout.write(struct.pack("<Q", len(content)) + content)


if __name__ == "__main__":
    main()
