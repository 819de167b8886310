"""Protobuf's wire format, as far as it is written by hand.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations


def varint(value: int) -> bytes:
    """Return a number that is not negative, seven bits a byte."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    """Return a field that holds a number."""
    return varint(field << 3) + varint(value)


def head(field: int, size: int) -> bytes:
    """Return what stands before a field of so many bytes."""
    return varint(field << 3 | 2) + varint(size)


def message(field: int, data: bytes) -> bytes:
    """Return a field that holds bytes, a text or a message."""
    return head(field, len(data)) + data
