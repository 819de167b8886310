"""Zip archives on which every reader agrees, and the arrays inside them."""

from __future__ import annotations

import ast
import io
import math
import struct
import zipfile
import zlib
from typing import Any

from cannery.audits.arrays import TYPE
from cannery.audits.ledger import Ledger
from cannery.audits.opcodes import Data
from cannery.blobs import CHUNK

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_END = struct.Struct("<4sHHHHIIH")
_DESCRIPTOR = 0x8
_ENCRYPTED = 0x1
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_HEADER_LIMIT = 10_000
"""Characters of an array's header, as in numpy."""


class Window(io.RawIOBase):
    """Data as a stream that can be read and searched, without a copy."""

    def __init__(self, data: Data) -> None:
        super().__init__()
        self._data = data
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a place."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`, return how much was filled."""
        block = self._data[self._at : self._at + len(buffer)]
        buffer[: len(block)] = block
        self._at += len(block)
        return len(block)


class BadArchiveError(Exception):
    """An archive that can't be read; the message says why."""


class Archive:
    """The members of a zip archive, checked; `read` gives the bytes of one."""

    def __init__(self, data: Data, ledger: Ledger) -> None:
        self._ledger = ledger
        try:
            self._zip = zipfile.ZipFile(io.BufferedReader(Window(data)))
            infos = self._zip.infolist()
        except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError) as error:
            raise BadArchiveError(f"not a zip archive: {error}") from error
        if len(infos) > ledger.limits.members:
            raise BadArchiveError(f"{len(infos)} members; at most {ledger.limits.members} are read")
        self.members = {info.filename: info for info in infos}
        if len(self.members) != len(infos):
            self._refuse("duplicate-member", "two members have one name: readers would differ")
        if sum(info.file_size for info in infos) > ledger.limits.decompressed:
            self._refuse("bomb", "the archive decompresses to more than the audit looks at")
            raise BadArchiveError("too large once decompressed")
        self._check_layout(data, infos)

    def read(self, name: str, limit: int) -> bytes:
        """Return the bytes of a member; raises BadArchiveError when broken, absent or over `limit`."""
        info = self.members.get(name)
        if info is None:
            raise BadArchiveError(f"member '{name[:80]}' is missing")
        if info.file_size > limit:
            raise BadArchiveError(f"member '{name[:80]}' has {info.file_size} bytes")
        blocks = []
        try:
            with self._zip.open(info) as stream:
                while block := stream.read(CHUNK):
                    blocks.append(block)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
            raise BadArchiveError(f"member '{name[:80]}' is broken: {error}") from error
        return b"".join(blocks)

    def _refuse(self, rule: str, message: str) -> None:
        self._ledger.find(rule, "unsafe", message)

    def _check_layout(self, data: Data, infos: list[zipfile.ZipInfo]) -> None:
        """Members stand one behind the other, from the first byte to the directory, and agree with it."""
        at = 0
        for info in sorted(infos, key=lambda i: i.header_offset):
            if info.header_offset != at:
                self._refuse("hidden-bytes", "the archive has bytes that belong to no member")
                return
            self._check_member(data, info)
            size, names, extra = info.compress_size, *_lengths(data, at)
            at += _LOCAL.size + names + extra + size
            if info.flag_bits & _DESCRIPTOR:
                at += 16 if data[at : at + 4] == b"PK\x07\x08" else 12
        end = len(data) - _END.size
        if at != self._zip.start_dir or end < 0 or data[end : end + 4] != b"PK\x05\x06":
            self._refuse("hidden-bytes", "the archive has bytes before or behind its directory")

    def _check_member(self, data: Data, info: zipfile.ZipInfo) -> None:
        at = info.header_offset
        try:
            local = _LOCAL.unpack(data[at : at + _LOCAL.size])
        except struct.error as error:
            raise BadArchiveError("a member's header is cut off") from error
        _, _, flags, method, _, _, crc, packed, size, length, _ = local
        name = data[at + _LOCAL.size : at + _LOCAL.size + length]
        encoding = "utf-8" if flags & 0x800 else "cp437"
        label = info.filename[:80]
        if local[0] != b"PK\x03\x04" or name.decode(encoding, "replace") != info.orig_filename:
            self._refuse("disagreeing-member", f"member '{label}' has two names")
        if flags != info.flag_bits or method != info.compress_type:
            self._refuse("disagreeing-member", f"member '{label}' has two ways to be read")
        far = 0xFFFFFFFF in (packed, size)
        sizes = (info.CRC, info.compress_size, info.file_size)
        if not flags & _DESCRIPTOR and not far and (crc, packed, size) != sizes:
            self._refuse("disagreeing-member", f"member '{label}' has two sizes")
        if info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
            self._refuse("odd-member", f"member '{label}' is encrypted or oddly compressed")
        parts = info.filename.replace("\\", "/").split("/")
        if info.filename.startswith("/") or ".." in parts or ":" in parts[0] or not parts[-1]:
            self._refuse("escaping-member", f"member '{label}' would leave its folder")
        if info.orig_filename != info.filename or not info.filename.isprintable():
            self._refuse("escaping-member", f"member '{label!r}' has an unclear name")


def _lengths(data: Data, at: int) -> tuple[int, int]:
    names, extra = struct.unpack("<HH", data[at + 26 : at + 30])
    return names, extra


def array_problem(data: bytes) -> str | None:
    """Return what is wrong with a `.npy` file, None when it holds numbers or text and nothing else."""
    if data[:6] != b"\x93NUMPY" or len(data) < 12 or data[6] not in (1, 2, 3):
        return "is not an array file of numpy"
    start, length = (
        (10, int.from_bytes(data[8:10], "little"))
        if data[6] == 1
        else (12, int.from_bytes(data[8:12], "little"))
    )
    if length > _HEADER_LIMIT or start + length > len(data):
        return "has a header that is too long"
    try:
        header = ast.literal_eval(data[start : start + length].decode("utf-8").strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError, TypeError):
        return "has a header that is no literal"
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        return "has a header that numpy does not write"
    shape = header["shape"]
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        return "has an impossible shape"
    width = _width(header["descr"])
    if width is None:
        return "holds objects, which are a pickle"
    if start + length + math.prod(shape) * width != len(data):
        return "does not have the size that its header says"
    return None


def _width(descr: Any, depth: int = 0) -> int | None:
    """Return the bytes of one item, None for objects and what numpy does not write."""
    if isinstance(descr, str):
        base = descr.partition("[")[0]
        found = TYPE.fullmatch(base)
        if not found or found.group(1) == "O" or not found.group(2):
            return None
        return int(found.group(2)) * (4 if found.group(1) == "U" else 1)
    if isinstance(descr, list) and depth < 8:
        widths = [_field_width(field, depth) for field in descr]
        return None if None in widths else sum(w for w in widths if w is not None)
    return None


def _field_width(field: Any, depth: int) -> int | None:
    if not isinstance(field, tuple) or len(field) not in (2, 3) or not isinstance(field[0], str):
        return None
    width = _width(field[1], depth + 1)
    shape = field[2] if len(field) == 3 else ()
    if width is None or not isinstance(shape, tuple) or not all(type(n) is int for n in shape):
        return None
    return width * math.prod(shape)
