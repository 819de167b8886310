"""Files that two kinds of readers would accept: one is shown to the scanner, the other is opened."""

from __future__ import annotations

from cannery.audits.facts import Facts
from cannery.audits.ledger import Ledger
from cannery.audits.limits import Limits
from cannery.audits.machine import Machine
from cannery.audits.opcodes import FORBIDDEN, OPCODES
from cannery.audits.pickles import follow
from cannery.sources.sniff import is_tar
from cannery.sources.source import Format
from cannery.sources.windows import Data
from cannery.sources.zips import BadZipError, read_directory

_PICKLES = ("pickle", "joblib", "torch")
_TAIL = (1 << 16) + 22
"""Bytes at the end in which readers look for the directory of a zip."""
_BEGINNINGS = {code for name, (code, _, _) in OPCODES.items() if name not in FORBIDDEN}
"""Bytes that are opcodes which are followed."""
_PROBE = Limits(opcodes=1_000, memo=1_000, depth=100)


def check_readers(format: Format, data: Data, ledger: Ledger) -> None:  # noqa: A002
    """Refuse what is of one format by its first bytes and would be taken for another by other readers."""
    starts_as_zip = data[:2] == b"PK"
    if format not in _PICKLES and _runs(data, ledger):
        _refuse(ledger, format, "a pickle that reaches names")
    if not starts_as_zip and _ends_as_zip(data):
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


def _ends_as_zip(data: Data) -> bool:
    if b"PK\x05\x06" not in data[max(0, len(data) - _TAIL) :]:
        return False
    try:
        return bool(read_directory(data).entries)
    except BadZipError:
        return False
