"""Checkpoints of torch: a zip with a pickle and storages, or five pickles one behind the other and storages.

Tensors alone are safe. Whatever else the pickle reaches is judged by the tables, where classes of torch
are not listed: a network saved whole is a review of every layer, and nothing here could score with it.
"""

from __future__ import annotations

import re
import struct

from cannery.audits.archives import Archive, BadArchiveError
from cannery.audits.facts import Facts
from cannery.audits.handlers import TABLES
from cannery.audits.ledger import Ledger
from cannery.audits.literals import Handler
from cannery.audits.machine import Machine
from cannery.audits.members import AuditData, Inside, audit_beside
from cannery.audits.opcodes import FORBIDDEN, OPCODES, BrokenProgramError
from cannery.audits.pickles import follow
from cannery.audits.tensors import Storage, storage
from cannery.audits.values import List
from cannery.sources.windows import Data

_PICKLES = frozenset({"data.pkl", "constants.pkl"})
_NOTES = frozenset(
    {"version", "byteorder", ".format_version", ".storage_alignment", ".data/serialization_id"}
)
"""Members of a few characters, which torch compares and nothing runs."""
_NOTE = re.compile(rb"[\w.]*\n?")
_LONGEST = 1 << 20
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001


class _Checkpoint(Facts):
    """Values of a checkpoint, among them storages by their keys."""

    def __init__(self, ledger: Ledger, storages: dict[str, Storage]) -> None:
        super().__init__(ledger)
        self.storages = storages

    def persistent(self, value: object, offset: int) -> Storage:
        """Return the storage that a persistent id stands for."""
        found = storage(value)
        if found is None:
            raise BrokenProgramError("forbidden-opcode", FORBIDDEN["BINPERSID"], unsafe=True)
        self.ledger.refer(found.name)
        known = self.storages.setdefault(found.key, found)
        if known.size != found.size:
            self.refuse("hostile-array", f"storage '{found.key[:40]}' has two sizes", offset)
        return known if known.width == found.width else found


class _Reader(Machine):
    """The machine, for programs that may ask for storages."""

    __slots__ = ()

    def start(self, protocol: int, at: int) -> None:
        """Follow PROTO."""
        super().start(protocol, at)
        self._table = _TABLES[protocol]


def _binpersid(m: Machine, _data: Data, at: int) -> int:
    assert isinstance(m.domain, _Checkpoint)
    m.stack.append(m.domain.persistent(m.pop(), at - 1))
    return at


def _with_ids(table: tuple[Handler, ...]) -> tuple[Handler, ...]:
    code = OPCODES["BINPERSID"][0]
    return (*table[:code], _binpersid, *table[code + 1 :])


_TABLES = tuple(map(_with_ids, TABLES))


def audit_torch(data: Data, ledger: Ledger, audit_data: AuditData) -> None:
    """Judge a checkpoint in either of its forms."""
    storages: dict[str, Storage] = {}
    if data[:2] != b"PK":
        _audit_stack(data, ledger, storages)
        return
    try:
        archive = Archive(data, ledger)
        root = _root(archive, ledger)
        rest = _audit_members(archive, root, ledger, storages)
        for name in rest:
            with Inside(ledger, name), archive.open(name) as member:
                audit_beside(name, member, ledger, audit_data)
    except BadArchiveError as error:
        ledger.find("broken-container", "unreadable", f"the archive can't be read: {error}")


def _root(archive: Archive, ledger: Ledger) -> str:
    """Return the folder of the checkpoint; torch takes that of the first member."""
    roots = {name.partition("/")[0] + "/" for name in archive.members}
    if len(roots) != 1:
        message = f"{len(roots)} folders in one checkpoint: readers would differ"
        ledger.find("stray-member", "unsafe", message)
    return next(iter(archive.members)).partition("/")[0] + "/"


def _audit_members(
    archive: Archive, root: str, ledger: Ledger, storages: dict[str, Storage]
) -> list[str]:
    """Judge pickles, notes and storages; return the names of what is none of them."""
    rest = []
    raw: dict[str, str] = {}
    for name in archive.members:
        short = name.removeprefix(root)
        key = short.removeprefix("data/")
        if short in _PICKLES:
            with Inside(ledger, name), archive.open(name) as member:
                _audit_program(member, ledger, storages)
        elif short in _NOTES and _NOTE.fullmatch(archive.read(name, _LONGEST)):
            pass
        elif key != short and key.isdigit():
            raw[key] = name
            archive.check(name)
        else:
            rest.append(name)
    for key in sorted(raw.keys() ^ storages.keys()):
        what = "is asked for, and is not there" if key in storages else "belongs to no tensor"
        ledger.find("stray-member", "unsafe", f"storage '{key[:40]}' {what}")
    for key in raw.keys() & storages.keys():
        size = archive.members[raw[key]].size
        if size != storages[key].size:
            message = f"storage '{key[:40]}' of {storages[key].size} bytes has {size}"
            ledger.find("hostile-array", "unsafe", message)
    return rest


def _audit_program(data: Data, ledger: Ledger, storages: dict[str, Storage]) -> None:
    end = follow(_Reader(data, 0, _Checkpoint(ledger, storages)), ledger)
    if end is not None and end != len(data):
        message = f"{len(data) - end} bytes follow the pickle, where a second one can hide"
        ledger.find("trailing-bytes", "unsafe", message, offset=end)


def _audit_stack(data: Data, ledger: Ledger, storages: dict[str, Storage]) -> None:
    """Judge the form before the zip: magic, version, the machine's sizes, the checkpoint, its keys."""
    at, results = 0, []
    for _ in range(5):
        machine = _Reader(data, at, _Checkpoint(ledger, storages))
        end = follow(machine, ledger)
        if end is None:
            return
        results.append(machine.result)
        at = end
    keys = results[4].items if isinstance(results[4], List) else []
    known = [storages[key] for key in keys if isinstance(key, str) and key in storages]
    if results[:2] != [_MAGIC, _VERSION] or len(known) != len(keys) or len(keys) != len(storages):
        ledger.find("stray-member", "unsafe", "the checkpoint lists other storages than it has")
        return
    for each in known:
        if data[at : at + 8] != struct.pack("<q", each.count):
            message = f"storage '{each.key[:40]}' of {each.count} items says otherwise"
            ledger.find("hostile-array", "unsafe", message, offset=at)
            return
        at += 8 + each.size
    if at != len(data):
        ledger.find("hidden-bytes", "unsafe", "the checkpoint does not end with its storages")
