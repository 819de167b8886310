"""Tar archives on which every reader agrees: plain files one behind the other, and zeros to the end."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cannery.audits.archives import BadArchiveError, name_problem
from cannery.audits.ledger import Ledger
from cannery.sources.sniff import tar_checksum
from cannery.sources.windows import Data

_BLOCK = 512
_FILE, _FOLDER, _LONG_NAME, _PAX, _PAX_OF_ALL = b"0\0", b"5", b"L", b"x", b"g"
_ZEROS = bytes(1 << 16)
_LONGEST = 1 << 16
"""Bytes of a header that tells more of the next member."""
_HARMLESS = {
    _PAX: re.compile(r"path|[amc]time|[ug]id|[ug]name|comment|(LIBARCHIVE|SCHILY)\..+"),
    _PAX_OF_ALL: re.compile(r"[amc]time|comment"),
}
"""What such a header may tell of the next member, and of all: not another size, and no link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A member: a name, and where its bytes are."""

    name: str
    start: int
    end: int


def tar_members(data: Data, ledger: Ledger) -> list[Slice]:
    """Return the files of a tar; what readers could see differently goes into the ledger.

    Raises BadArchiveError where it can't be read any further.
    """
    found: dict[str, Slice] = {}
    at, told = 0, ""
    while not _ZEROS.startswith(header := data[at : at + _BLOCK]):
        kind, size = header[156:157], _size(header)
        start, end = at + _BLOCK, at + _BLOCK + size
        at = start + -(-size // _BLOCK) * _BLOCK
        if at > len(data):
            raise BadArchiveError("a member runs past the end of the archive")
        if len(found) >= ledger.limits.members:
            raise BadArchiveError(f"more than {len(found)} members")
        if kind in (_LONG_NAME, _PAX, _PAX_OF_ALL):
            if size > _LONGEST:
                raise BadArchiveError("a member has a name that is too long")
            block = data[start:end]
            told = _text(block.rstrip(b"\0")) if kind == _LONG_NAME else _told(block, kind, ledger)
            continue
        name, told = told or _name(header), ""
        if problem := name_problem(name):
            ledger.find("escaping-member", "unsafe", f"member {name[:80]!r} {problem}")
        if kind == _FOLDER and not size:
            continue
        if kind not in _FILE:
            message = f"member '{name[:80]}' is a link, a device or oddly stored"
            ledger.find("odd-member", "unsafe", message)
        if name in found:
            message = "two members have one name: readers would differ"
            ledger.find("duplicate-member", "unsafe", message)
        found[name] = Slice(name=name, start=start, end=end)
    if len(header) < _BLOCK:
        raise BadArchiveError("the archive is cut short")
    for tail in range(at, len(data), len(_ZEROS)):
        if not _ZEROS.startswith(data[tail : tail + len(_ZEROS)]):
            ledger.find("hidden-bytes", "unsafe", "the archive has bytes behind its end")
            break
    return list(found.values())


def _size(header: bytes) -> int:
    """Return the size of a member whose header holds; only octal digits, as all readers know them."""
    digits, said = header[124:136].strip(b" \0"), header[148:156].strip(b" \0")
    if not re.fullmatch(rb"[0-7]{1,11}", digits) or not re.fullmatch(rb"[0-7]{1,7}", said):
        raise BadArchiveError("a header is damaged")
    if len(header) < _BLOCK or int(said, 8) != tar_checksum(header):
        raise BadArchiveError("a header's checksum does not hold")
    return int(digits, 8)


def _name(header: bytes) -> str:
    name, prefix = (header[a:b].partition(b"\0")[0] for a, b in ((0, 100), (345, 500)))
    if header[257:263] == b"ustar\0" and prefix:
        name = prefix + b"/" + name
    return _text(name.removeprefix(b"./") or b".")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _told(block: bytes, kind: bytes, ledger: Ledger) -> str:
    """Return the path that an extended header tells, '' for none."""
    told = ""
    at = 0
    while at < len(block):
        line = re.match(rb"(\d{1,5}) ([^=\n]+)=", block[at : at + 200])
        size = int(line[1]) if line else 0
        if line is None or block[at + size - 1 : at + size] != b"\n" or size <= line.end():
            raise BadArchiveError("an extended header is damaged")
        key = _text(line[2])
        if not _HARMLESS[kind].fullmatch(key):
            message = f"an extended header sets '{key[:40]}', which not every reader heeds"
            ledger.find("disagreeing-member", "unsafe", message)
        if key == "path":
            told = _text(block[at + line.end() : at + size - 1].removeprefix(b"./"))
        at += size
    return told
