"""Zip archives on which every reader agrees."""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext

from cannery.audits.contents import gathered, pieces
from cannery.audits.ledger import Ledger
from cannery.audits.opcodes import BrokenProgramError
from cannery.blobs import CHUNK
from cannery.sources.windows import Data
from cannery.sources.zips import END, BadZipError, Entry, read_directory

_STORED, _DEFLATED = 0, 8
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_DESCRIPTOR = 0x8
_ENCRYPTED = 0x1
_FAR_SIZES = 0x0001
_OTHER_NAME = 0x7075
"""Extra fields: sizes past 4 GB, and a name that some readers prefer."""
_FAR_END = 56 + 20
"""Bytes of the end of an archive past 4 GB, and of what locates it."""


class BadArchiveError(Exception):
    """An archive that can't be read; the message says why."""


class Archive:
    """The members of a zip archive, checked; `read` gives the bytes of one."""

    def __init__(self, data: Data, ledger: Ledger) -> None:
        self._ledger = ledger
        self._data = data
        try:
            entries, start = read_directory(data)
        except BadZipError as error:
            raise BadArchiveError(f"not a zip archive: {error}") from error
        if len(entries) > ledger.limits.members:
            raise BadArchiveError(
                f"{len(entries)} members; at most {ledger.limits.members} are read"
            )
        if len({entry.name for entry in entries}) != len(entries):
            self._refuse("duplicate-member", "two members have one name: readers would differ")
        # A folder has no bytes to read.
        self.members = {e.name: e for e in entries if e.size or not e.name.endswith("/")}
        try:
            ledger.unpack(sum(entry.size for entry in entries))
        except BrokenProgramError as error:
            self._refuse(error.rule, error.message)
            raise BadArchiveError("too large once decompressed") from error
        self._check_layout(data, entries, start)

    def read(self, name: str, limit: int) -> bytes:
        """Return the bytes of a member; raises BadArchiveError when broken, absent or over `limit`."""
        entry = self._entry(name)
        if entry.size > limit:
            raise BadArchiveError(f"member '{name[:80]}' has {entry.size} bytes")
        return b"".join(self._blocks(entry))

    def open(self, name: str) -> AbstractContextManager[Data]:
        """Yield the bytes of a member of any size; raises BadArchiveError when broken or absent."""
        entry, limits = self._entry(name), self._ledger.limits
        if entry.size <= limits.memory:
            return nullcontext(b"".join(self._blocks(entry)))
        return gathered(self._blocks(entry), limits)

    def check(self, name: str) -> None:
        """Read a member through; raises BadArchiveError where its checksum does not hold."""
        for _ in self._blocks(self._entry(name)):
            pass

    def _entry(self, name: str) -> Entry:
        entry = self.members.get(name)
        if entry is None:
            raise BadArchiveError(f"member '{name[:80]}' is missing")
        return entry

    def _blocks(self, entry: Entry) -> Iterator[bytes]:
        """Yield what a member holds, which has the size and the checksum that the directory tells."""
        unpack = _METHODS.get(entry.method)
        if unpack is None or entry.flags & _ENCRYPTED:
            raise BadArchiveError(f"member '{entry.name[:80]}' can't be unpacked")
        size = checksum = 0
        try:
            for block in unpack(self._packed(entry)):
                size += len(block)
                checksum = zlib.crc32(block, checksum)
                if size > entry.size:
                    break
                yield block
        except (zlib.error, struct.error) as error:
            raise BadArchiveError(f"member '{entry.name[:80]}' is broken: {error}") from error
        if size != entry.size or checksum != entry.crc:
            raise BadArchiveError(f"member '{entry.name[:80]}' is broken: not what was packed")

    def _packed(self, entry: Entry) -> Iterable[bytes]:
        data, at = self._data, entry.place
        *_, length, beyond = _LOCAL.unpack(data[at : at + _LOCAL.size])
        at += _LOCAL.size + length + beyond
        if entry.packed <= CHUNK:
            return (data[at : at + entry.packed],)
        return pieces(data, at, at + entry.packed)

    def _refuse(self, rule: str, message: str) -> None:
        self._ledger.find(rule, "unsafe", message)

    def _check_layout(self, data: Data, entries: list[Entry], stop: int) -> None:
        """Members stand one behind the other, from the first byte to the directory, and agree with it."""
        at = 0
        for entry in sorted(entries, key=lambda e: e.place):
            if entry.place != at:
                self._refuse("hidden-bytes", "the archive has bytes that belong to no member")
                return
            at = self._check_member(data, entry)
        end = len(data) - END.size
        if at != stop or end < 0 or data[end : end + 4] != b"PK\x05\x06":
            self._refuse("hidden-bytes", "the archive has bytes before or behind its directory")
            return
        _, disk, first, here, count, size, offset, _ = END.unpack(data[end:])
        directory = end - at - (_FAR_END if data[end - 20 : end - 16] == b"PK\x06\x07" else 0)
        says = (disk, first, here, count, size, offset)
        found = (0, 0, len(entries), len(entries), directory, at)
        if any(s != f and s not in (0xFFFF, 0xFFFFFFFF) for s, f in zip(says, found, strict=True)):
            self._refuse("disagreeing-member", "the archive's end names another directory")

    def _check_member(self, data: Data, entry: Entry) -> int:
        """Compare a member's own header with the directory; return where the member ends."""
        at: int = entry.place
        try:
            local = _LOCAL.unpack(data[at : at + _LOCAL.size])
        except struct.error as error:
            raise BadArchiveError("a member's header is cut off") from error
        magic, _, flags, method, _, _, crc, packed, size, length, beyond = local
        at += _LOCAL.size + length
        name, extra = data[at - length : at], _extra(data[at : at + beyond])
        at += beyond + entry.packed
        encoding = "utf-8" if flags & 0x800 else "cp437"
        label = entry.name[:80]
        if magic != b"PK\x03\x04" or name.decode(encoding, "replace") != entry.written:
            self._refuse("disagreeing-member", f"member '{label}' has two names")
        for field in (extra.get(_OTHER_NAME), _extra(entry.extra).get(_OTHER_NAME)):
            if field is not None and field[5:] != name:
                self._refuse("disagreeing-member", f"member '{label}' has two names")
        if flags != entry.flags or method != entry.method:
            self._refuse("disagreeing-member", f"member '{label}' has two ways to be read")
        far = extra.get(_FAR_SIZES, b"")
        if 0xFFFFFFFF in (packed, size) and len(far) >= 16:
            size, packed = struct.unpack("<QQ", far[:16])
        if flags & _DESCRIPTOR:
            at += 4 if data[at : at + 4] == b"PK\x07\x08" else 0
            layout = "<IQQ" if _FAR_SIZES in extra else "<III"
            block = data[at : at + struct.calcsize(layout)].ljust(struct.calcsize(layout), b"\0")
            crc, packed, size = struct.unpack(layout, block)
            at += len(block)
        if (crc, packed, size) != (entry.crc, entry.packed, entry.size):
            self._refuse("disagreeing-member", f"member '{label}' has two sizes")
        if flags & _ENCRYPTED or entry.method not in _METHODS:
            self._refuse("odd-member", f"member '{label}' is encrypted or oddly compressed")
        if stat.S_IFMT(entry.mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            self._refuse("odd-member", f"member '{label}' is a link or a device")
        if problem := name_problem(entry.written):
            self._refuse("escaping-member", f"member {label!r} {problem}")
        return at


def _inflated(packed: Iterable[bytes]) -> Iterator[bytes]:
    unpack = zlib.decompressobj(-zlib.MAX_WBITS)
    for rest in packed:
        while rest and not unpack.eof:
            yield unpack.decompress(rest, CHUNK)
            rest = unpack.unconsumed_tail
        if rest or unpack.unused_data:
            raise zlib.error("bytes follow what was packed")
    yield unpack.flush()
    if not unpack.eof:
        raise zlib.error("it is cut short")


_METHODS: dict[int, Callable[[Iterable[bytes]], Iterable[bytes]]] = {
    _STORED: lambda packed: packed,
    _DEFLATED: _inflated,
}


def name_problem(name: str) -> str | None:
    """Return what is wrong with the name of a member, None where it stays in its folder."""
    parts = name.replace("\\", "/").removesuffix("/").split("/")
    if not name.isprintable():
        return "has an unclear name"
    if "" in parts or ".." in parts or ":" in parts[0]:
        return "would leave its folder"
    return None


def _extra(block: bytes) -> dict[int, bytes]:
    """Return the extra fields of a header by their ids."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(block):
        kind, size = struct.unpack("<HH", block[at : at + 4])
        found.setdefault(kind, block[at + 4 : at + 4 + size])
        at += 4 + size
    return found
