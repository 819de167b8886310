"""Memory that several workers share: any of them can tell the metrics of all, and their parent whether they turn."""

from __future__ import annotations

import mmap
import struct
import zlib

SLOT = 256 << 10
"""Bytes of each worker."""
_HEAD = struct.Struct("<II")
_TURNS = struct.Struct("<Q")
_TRIES = 5


class Board:
    """One slot for each worker: it writes its own and reads all; made before they are forked."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._memory = mmap.mmap(-1, slots * (SLOT + _TURNS.size))

    def write(self, slot: int, data: bytes) -> None:
        """Put data into a slot; what is too long leaves what was there."""
        if len(data) <= SLOT - _HEAD.size:
            start = slot * SLOT
            head = _HEAD.pack(len(data), zlib.crc32(data))
            self._memory[start : start + _HEAD.size + len(data)] = head + data

    def read(self, slot: int) -> bytes | None:
        """Return what stands in a slot; None where nothing does, or nothing whole."""
        start = slot * SLOT
        for _ in range(_TRIES):  # its worker may be writing just now
            length, checksum = _HEAD.unpack(self._memory[start : start + _HEAD.size])
            if not 0 < length <= SLOT - _HEAD.size:
                return None
            begin = start + _HEAD.size
            data = self._memory[begin : begin + length]
            if zlib.crc32(data) == checksum:
                return data
        return None

    def turn(self, slot: int) -> None:
        """Note that the loop of a slot's worker has turned once more."""
        _TURNS.pack_into(self._memory, self._place(slot), self.turns(slot) + 1)

    def turns(self, slot: int) -> int:
        """Return how often it has been noted."""
        count: int = _TURNS.unpack_from(self._memory, self._place(slot))[0]
        return count

    def _place(self, slot: int) -> int:
        return self.slots * SLOT + slot * _TURNS.size
