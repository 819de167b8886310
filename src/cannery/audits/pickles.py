"""Whole pickle files: one program and nothing behind it; joblib's containers around it."""

from __future__ import annotations

from cannery.audits.contents import compressor, decompressed
from cannery.audits.facts import Facts
from cannery.audits.ledger import Ledger
from cannery.audits.machine import Machine
from cannery.audits.natives import Judging
from cannery.audits.opcodes import BrokenProgramError, Data
from cannery.audits.sharing import judge_sharing
from cannery.audits.values import Dict, FrozenSet, List, Made, Name, Set, Tuple, Value

_STACKED = 16
"""Programs that are followed behind the first."""


def audit_pickle(data: Data, ledger: Ledger) -> None:
    """Follow a plain pickle: `pickle.load` would run exactly this."""
    if not len(data):
        ledger.find("empty", "unreadable", "the file is empty")
        return
    if (name := compressor(data)) is not None:
        message = f"a pickle that begins as a {name} stream: loaders would differ on it"
        ledger.find("format-disagrees", "unsafe", message, offset=0)
    _programs(data, ledger, arrays=False)


def audit_joblib(data: Data, ledger: Ledger) -> None:
    """Follow a file of joblib: compressed by any of its compressors or plain, arrays inside."""
    if not len(data):
        ledger.find("empty", "unreadable", "the file is empty")
        return
    name = compressor(data)
    if name is None:
        _programs(data, ledger, arrays=True)
        return
    try:
        with decompressed(data, name, ledger.limits) as inside:
            ledger.unpack(len(inside))
            if not len(inside):
                ledger.find("empty", "unreadable", "the file is empty once decompressed")
                return
            _programs(inside, ledger, arrays=True)
    except BrokenProgramError as broken:
        remedy = "install lz4 beside cannery" if broken.rule == "no-decompressor" else None
        ledger.find(broken.rule, broken.severity, broken.message, remedy=remedy)


def _programs(data: Data, ledger: Ledger, *, arrays: bool) -> None:
    machine = Machine(data, 0, Facts(ledger), arrays=arrays)
    end = follow(machine, ledger)
    if end is None:
        return
    _judge_result(machine.result, ledger)
    if end == len(data):
        return
    message = f"{len(data) - end} bytes follow the pickle, where a second one can hide"
    ledger.find("trailing-bytes", "unsafe", message, offset=end)
    for _ in range(_STACKED):
        # What hides there is worth naming; the verdict stands already.
        following = follow(Machine(data, end, Facts(ledger), arrays=arrays), ledger)
        if following is None or following == len(data):
            return
        end = following


def follow(machine: Machine, ledger: Ledger) -> int | None:
    """Return where a program ends; None when it can't be followed (the ledger says why)."""
    try:
        with Judging(ledger):
            return machine.run()
    except BrokenProgramError as broken:
        ledger.find(broken.rule, broken.severity, broken.message, offset=broken.offset)
        return None


def _judge_result(result: Value, ledger: Ledger) -> None:
    judge_sharing(result, ledger)
    if not isinstance(result, Made | Name | Dict | List | Tuple | Set | FrozenSet):
        ledger.find("no-model", "unreadable", "the pickle holds a plain value, and no model")
