"""Files that two kinds of readers would accept: one is shown to the scanner, the other is opened."""

from __future__ import annotations

from cannery.audits.archives import BadArchiveError
from cannery.audits.facts import Facts
from cannery.audits.ledger import Ledger
from cannery.audits.limits import Limits
from cannery.audits.machine import Machine
from cannery.audits.opcodes import FORBIDDEN, OPCODES
from cannery.audits.pickles import follow
from cannery.audits.tars import tar_members
from cannery.sources.sniff import is_tar
from cannery.sources.source import Format
from cannery.sources.windows import Data
from cannery.sources.zips import (
    END,
    FAR_MAGIC,
    FAR_PLACE,
    BadZipError,
    Directory,
    read_directory,
)

_PICKLES = ("pickle", "joblib", "torch")
_TAIL = (1 << 16) + 22
"""Bytes at the end in which readers look for the directory of a zip."""
_MAGIC = b"PK\x05\x06"
"""What the end of a zip begins with."""
_BEGINNINGS = {code for name, (code, _, _) in OPCODES.items() if name not in FORBIDDEN}
"""Bytes that are opcodes which are followed."""
_PROBE = Limits(opcodes=1_000, memo=1_000, depth=100)


def check_readers(format: Format, data: Data, ledger: Ledger) -> None:  # noqa: A002
    """Refuse what is of one format by its first bytes and would be taken for another by other readers."""
    starts_as_zip = data[:2] == b"PK"
    if format not in _PICKLES and _runs(data, ledger):
        _refuse(ledger, format, "a pickle that reaches names")
    found = None if starts_as_zip else _zip_at_end(data)
    if found is not None and not _is_last_member(found, data, ledger):
        _refuse(ledger, format, "a zip archive, which readers find from its end")
    if format in _PICKLES and is_tar(data[:512]):
        _refuse(ledger, format, "a tar archive")


def _refuse(ledger: Ledger, format: Format, other: str) -> None:  # noqa: A002
    message = f"a file of format '{format}' that is also {other}: loaders would differ on it"
    ledger.find("format-disagrees", "unsafe", message)


def _runs(data: Data, ledger: Ledger) -> bool:
    """Tell whether an unpickler would import something before it fails."""
    if not len(data) or data[0] not in _BEGINNINGS:
        return False
    probe = Ledger(ledger.listing, _PROBE)
    follow(Machine(data, 0, Facts(probe)), probe)
    # What goes on for so long runs: no other format begins as a program by chance.
    return probe.reaches or any(f.rule == "too-long" for f in probe.findings())


def _zip_at_end(data: Data) -> Directory | None:
    """Return what readers find from the end, where that is anything."""
    if data.find(_MAGIC, max(0, len(data) - _TAIL)) < 0:
        return None
    try:
        found = read_directory(data)
    except BadZipError:
        return None
    return found if found.entries else None


def _is_last_member(found: Directory, data: Data, ledger: Ledger) -> bool:
    """Tell whether a zip is the last member of a tar, and nothing else.

    So all readers find what is judged as that member, whose bytes must be a zip from the first to the last:
    it ends where the member does, no other end stands where they look, and those who count its places
    from the first byte of the tar find nothing there.
    """
    if not is_tar(data[:512]):
        return False
    try:
        members = tar_members(data, Ledger(ledger.listing, ledger.limits))
    except BadArchiveError:
        return False
    first, stop = max(((m.start, m.end) for m in members), default=(0, 0))
    end = stop - END.size
    magic, _, _, _, _, size, told, comment = END.unpack(data[end:stop].rjust(END.size))
    return (
        magic == _MAGIC
        and data[max(0, len(data) - _TAIL) :].count(_MAGIC) == 1
        and not comment
        and (first + told, found.start + size) == (found.start, end)
        and data[end - FAR_PLACE : end - FAR_PLACE + 4] != FAR_MAGIC
        and data[told : told + 4] != b"PK\x01\x02"
        and all(data[e.place - first : e.place - first + 4] != b"PK\x03\x04" for e in found.entries)
    )
