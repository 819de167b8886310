"""Files among others, in an archive or a folder: each is judged by its own content."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Callable, Iterable

from cannery.audits.archives import Archive, BadArchiveError
from cannery.audits.contents import compressor, decompressed, part_of
from cannery.audits.ledger import Ledger
from cannery.audits.opcodes import BrokenProgramError
from cannery.audits.tars import tar_members
from cannery.errors import SourceError
from cannery.sources.sniff import sniff_data
from cannery.sources.source import Format
from cannery.sources.windows import Data

AuditData = Callable[[Format, Data, Ledger], None]
"""Audits bytes of a format into a ledger."""

CODE = (".py", ".pyc", ".pyd", ".so", ".dll", ".whl", ".egg", ".ipynb", ".sh", ".pth", ".dylib")
"""Endings of what is run or imported where it lies."""

_TEXT = (".json", ".yaml", ".yml", ".txt", ".md", ".csv", ".html", ".png", ".svg", ".toml")
_TOUCHED = 1 << 20
_NESTED = 4
"""Archives within archives."""


def audit_archive(data: Data, ledger: Ledger, audit_data: AuditData) -> None:
    """Judge every member of a zip or a tar, which may be compressed."""
    ledger.archives += 1
    try:
        if ledger.archives > _NESTED:
            raise BadArchiveError(f"archives within archives, more than {_NESTED} deep")
        if data[:2] == b"PK":
            _audit_zip(data, ledger, audit_data)
        elif (name := compressor(data)) is not None:
            with decompressed(data, name, ledger.limits) as unpacked:
                ledger.unpack(len(unpacked))
                _audit_tar(unpacked, ledger, audit_data)
        else:
            _audit_tar(data, ledger, audit_data)
    except BadArchiveError as error:
        ledger.find("broken-container", "unreadable", f"the archive can't be read: {error}")
    except BrokenProgramError as broken:
        ledger.find(broken.rule, broken.severity, broken.message)
    finally:
        ledger.archives -= 1


def _audit_zip(data: Data, ledger: Ledger, audit_data: AuditData) -> None:
    archive = Archive(data, ledger)
    ask_about_twins(archive.members, ledger)
    models = 0
    for name in archive.members:
        with Inside(ledger, name):
            try:
                with archive.open(name) as member:
                    models += audit_beside(name, member, ledger, audit_data)
            except BadArchiveError as error:  # the other members are still worth knowing
                ledger.find("broken-container", "unreadable", str(error))
    _expect(models, ledger)


def _audit_tar(data: Data, ledger: Ledger, audit_data: AuditData) -> None:
    members = tar_members(data, ledger)
    ask_about_twins((member.name for member in members), ledger)
    models = 0
    for member in members:
        part = part_of(data, member.start, member.end, ledger.limits)
        with Inside(ledger, member.name), part as block:
            models += audit_beside(member.name, block, ledger, audit_data)
    _expect(models, ledger)


def _expect(models: int, ledger: Ledger) -> None:
    if not models:
        ledger.find("no-model", "unreadable", "the archive holds no model that can be read")


def ask_about_twins(names: Iterable[str], ledger: Ledger) -> None:
    """Put names up for review that are one where a file system does not tell case, or forms of a letter, apart.

    Each file is judged all the same; but there the last one that is written is both of them.
    """
    known: dict[str, str] = {}
    for name in names:
        first = known.setdefault(unicodedata.normalize("NFD", name.casefold()), name)
        if first != name:
            message = (
                f"'{first[:120]}' and '{name[:120]}' are one file where case makes no difference"
            )
            ledger.find("twin-names", "review", message, name=name[:120], remedy=_RENAME)


_RENAME = "find out which of the two is meant, and take the model without the other"


class Inside:
    """Lets what is found belong to a member."""

    __slots__ = ("_ledger", "_name", "_outer")

    def __init__(self, ledger: Ledger, name: str) -> None:
        self._ledger, self._name, self._outer = ledger, name, ledger.member

    def __enter__(self) -> None:
        outer, name = self._outer, self._name
        self._ledger.member = f"{outer}/{name}" if outer and name else outer or name

    def __exit__(self, *_: object) -> None:
        self._ledger.member = self._outer


def audit_beside(name: str, data: Data, ledger: Ledger, audit_data: AuditData) -> bool:
    """Judge one file among others by its content; returns whether it is a model."""
    suffix = posixpath.splitext(name)[1].lower()
    found = _format(data)
    if suffix in CODE and (found is None or suffix != ".pth"):  # torch's ending, and site-packages'
        ledger.find("code", "unsafe", f"code travels along: '{name[:120]}'")
        return False
    textual = _is_text(data)
    if suffix in _TEXT and not textual:
        message = f"'{name[:120]}' is not the text that it should be"
        ledger.find("disguised-file", "unsafe", message)
    if found is not None:
        audit_data(found, data, ledger)
        return True
    if len(data) and not textual and suffix not in _TEXT:
        message = f"'{name[:120]}' is no file that is known"
        ledger.find("unknown-file", "review", message, name=name[:120], remedy=_BY_HAND)
    return False


_BY_HAND = "find out what it is, and take the model without it"


def _format(data: Data) -> Format | None:
    try:
        return sniff_data(data, "it")
    except SourceError:
        return None


def _is_text(data: Data) -> bool:
    """Tell whether a file begins as UTF-8 text (or a picture of a known kind)."""
    head = data[:_TOUCHED]
    if head[:4] == b"\x89PNG":
        return True
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # Only a character cut in half at the very end is forgiven.
        return len(data) > len(head) and error.start > len(head) - 4
    return "\x00" not in text
