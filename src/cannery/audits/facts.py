"""The values of an audit: placeholders, and what is written down about each use of a name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

from cannery.audits import calls, states
from cannery.audits.domains import Raw
from cannery.audits.ledger import Ledger
from cannery.audits.listing import modern
from cannery.audits.machine import Machine
from cannery.audits.opcodes import BrokenProgramError, Data
from cannery.audits.repeats.following import Repeats
from cannery.audits.values import (
    HEAD,
    NAMING,
    Array,
    Dict,
    FrozenSet,
    List,
    Made,
    Name,
    Opaque,
    Set,
    Span,
    Tuple,
    Value,
    describe,
    head_of,
    is_matrix_method,
    objects_among,
)
from cannery.blobs import CHUNK
from cannery.sources.windows import release


def _characters(data: Data, at: int, end: int) -> Iterator[bytes]:
    """Yield the bytes of a long string in UTF-8 block by block, each with whole characters only."""
    while at < end:
        stop = min(at + CHUNK, end)
        while stop < end and data[stop] & 0xC0 == 0x80 and stop - at > CHUNK - 4:
            stop -= 1
        yield data[at:stop]
        release(data, at, stop)
        at = stop


def _keep(target: Value, items: list[Value]) -> None:
    """Let an object that behaves as a container hold the objects that it is given."""
    if isinstance(target, Made) and (found := objects_among(items)):
        target.arguments = (*target.arguments, *found)


_TEXTS = {str}
_LONG = frozenset({Tuple, List, Dict})
_SHORT = 64
"""Items that may be looked at without a charge."""
_PROTO, _STOP = 0x80, b"."


class Facts:
    """The domain of an audit: makes nothing, and knows of every call what it would reach."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.limits = ledger.limits
        self.steps = ledger.steps

    def repeats(self) -> Repeats:
        """Return what makes values that are like the one before at once."""
        return Repeats(self.ledger)

    def refuse(self, rule: str, message: str, offset: int) -> None:
        """Write an attack down, and go on: what follows is worth naming too."""
        self.ledger.find(rule, "unsafe", message, offset=offset)

    # Literals

    def text(self, data: Data, at: int, end: int, coding: str) -> Value:
        """Return a string, or what is known of a long one."""
        errors = "surrogatepass" if coding == "utf-8" else "strict"
        if coding != "utf-8" or end - at <= CHUNK:
            value = str(data[at:end], coding, errors)
            if value[:1] == "\x80" and value[-1:] == ".":
                self._follow_carried(value.encode("latin-1", "replace"), 0, at)
            if len(value) <= self.limits.kept:
                return value
            return Opaque(str, len(value), head_of(value), Span(data, at, end, coding))
        head, size = b"", 0
        for block in _characters(data, at, end):
            value = str(block, coding, errors)
            head, size = head or head_of(value), size + len(value)
        return Opaque(str, size, head, Span(data, at, end, coding))

    def binary(self, data: Data, at: int, end: int) -> Value:
        """Return bytes, or what is known of many."""
        size = end - at
        if size > 1 and data[at] == _PROTO and data[end - 1 : end] == _STOP:
            self._follow_carried(data, at, at)
        if size <= self.limits.kept:
            return data[at:end]
        return Opaque(bytes, size, data[at : at + HEAD], Span(data, at, end))

    def buffer(self, data: Data, at: int, end: int) -> Value:
        """Return what is known of a bytearray."""
        if end - at > 1 and data[at] == _PROTO and data[end - 1 : end] == _STOP:
            self._follow_carried(data, at, at)
        return Opaque(bytearray, end - at, data[at : min(end, at + HEAD)], Span(data, at, end))

    def _follow_carried(self, data: Data, at: int, offset: int) -> None:
        """Follow a literal that is a pickle itself: nothing here opens it, and no honest file brings an attack."""
        probe = Ledger(self.ledger.listing, self.limits)
        probe.steps = self.steps
        with contextlib.suppress(BrokenProgramError):
            Machine(data, at, Facts(probe)).run()
        for finding in probe.findings():
            if finding.rule in ("carried-pickle", "dangerous-name"):
                message = f"a literal is a pickle: in it, {finding.message}"
                self.ledger.find(
                    "carried-pickle", "unsafe", message, offset=offset, name=finding.name
                )

    # Containers

    tuple_of = Tuple
    frozenset_of = FrozenSet
    new_list = List
    new_dict = Dict
    new_set = Set

    def append(self, target: Value, items: list[Value], offset: int) -> None:
        """Judge what gets items by APPEND(S)."""
        if isinstance(target, List):
            target.extend(items)
        else:
            self._check_target(target, calls.LISTS, "APPEND", offset)
            _keep(target, items)
        self.ledger.refer_all(items)

    def assign(self, target: Value, items: list[Value], offset: int) -> None:
        """Judge what gets items by SETITEM(S)."""
        keys, values = items[::2], items[1::2]
        named = set(map(type, keys)) == _TEXTS
        if not named or not NAMING.isdisjoint(map(type, values)):
            self._refer_assigned(target, items)
        if type(target) is not Dict:
            self._check_target(target, calls.MAPPINGS, "SETITEM", offset)
            _keep(target, items)
            return
        if target.sealed:
            message = "the state of an object is changed after it was set"
            self.refuse("late-state", message, offset)
        target.count += len(keys)
        known = target.items
        if named:
            before = len(known)
            known.update(zip(keys, values, strict=True))
            if len(known) < before + len(keys):
                self._refuse_twice(keys, set(islice(known, before)), offset)
            return
        for key, value in zip(keys, values, strict=True):
            if type(key) is not str:
                target.rest.append(value)
                target.keys += objects_among((key,))
                continue
            if key in known:
                self._refuse_twice([key], {key}, offset)
            known[key] = value

    def _refer_assigned(self, target: Value, items: list[Value]) -> None:
        if "subclass" in items[::2]:  # of joblib's arrays, judged with these
            at = 2 * items[::2].index("subclass")
            self.ledger.refer_all([*items[:at], *items[at + 2 :]])
        elif (
            type(target) is Dict and "func" in items[:4:2]
        ):  # of a transformer, judged with its state
            judged = [
                at
                for at in range(1, min(len(items), 4), 2)
                if items[at - 1] in states.FUNCTIONS and is_matrix_method(items[at])
            ]
            self.ledger.refer_all([item for at, item in enumerate(items) if at not in judged])
        else:
            self.ledger.refer_all(items)

    def _refuse_twice(self, keys: list[str], known: set[str], offset: int) -> None:
        for key in keys:
            if key in known:
                self.refuse("duplicate-key", f"key {key[:80]!r} is set twice", offset)
            known.add(key)

    def add(self, target: Value, items: list[Value], offset: int) -> None:
        """Judge what gets items by ADDITEMS."""
        if isinstance(target, Set):
            target.items += objects_among(items)
        else:
            self._check_target(target, frozenset(), "ADDITEMS", offset)
        self.ledger.refer_all(items)

    def _check_target(self, target: Value, allowed: frozenset[str], what: str, offset: int) -> None:
        # An unlisted class is up for review as a whole, so its own methods are too.
        if isinstance(target, Made) and (target.canonical in allowed or not target.listed):
            return
        self.refuse("foreign-items", f"{what} onto {describe(target)}", offset)

    # Globals, calls, states

    def find(self, module: Value, qualname: Value, protocol: int, offset: int) -> Value:
        """Write down that a name is imported."""
        if not isinstance(module, str) or not isinstance(qualname, str):
            self.refuse("computed-name", "a global's name is not a literal string", offset)
            return Made()
        actual = modern(module, qualname) if protocol < 3 else (module, qualname)
        if "." in qualname and protocol < 4:
            message = f"a dotted name, '{qualname[:80]}', before protocol 4"
            self.refuse("dotted-name", message, offset)
        entry = self.ledger.listing.find(*actual)
        return self.ledger.reach(module, qualname, offset, entry, actual=actual)

    def call(self, function: Value, arguments: Value, offset: int) -> Value:
        """Judge a call by REDUCE."""
        if type(arguments) is Tuple and len(arguments.items) > _SHORT:
            self.ledger.spend(len(arguments.items))
        return calls.call(self.ledger, function, arguments, offset)

    def make(self, cls: Value, arguments: Value, keywords: Value, offset: int) -> Value:
        """Judge a class of which an object is made."""
        known = (
            type(cls) is not Name or cls.entry is not None
        )  # others are up for review as a whole
        if known and keywords is not None and (type(keywords) is not Dict or keywords.count):
            message = f"{describe(cls)} is made with keyword arguments"
            self.refuse("argument-rule", message, offset)
        if type(arguments) is Tuple and len(arguments.items) > _SHORT:
            self.ledger.spend(len(arguments.items))
        return calls.make(self.ledger, cls, arguments, offset)

    def build(self, target: Value, state: Value, offset: int) -> Raw | None:
        """Judge a state."""
        if type(target) is not Array:
            self._charge(state)
        return states.build(self.ledger, target, state, offset)

    def _charge(self, value: Value) -> None:
        """Take what is long as the work that it makes, each time that it is used."""
        if type(value) is Tuple:
            work = len(value.names) if len(value.items) <= _SHORT else len(value.items)
            for part in value.items:
                if type(part) in _LONG and len(part.items) > _SHORT:
                    work += len(part.items)
        else:
            work = len(value.items) if type(value) in _LONG else 0
        if work > _SHORT:
            self.ledger.spend(work)

    def filled(self, raw: Raw, data: Data, at: int) -> Value:
        """Return an array, and where its bytes stand."""
        array: Array = raw.array
        array.content = Span(data, at, at + (raw.size or 0))
        return array

    def followed(self, raw: Raw, result: Value) -> Value:
        """Return an array of objects, which joblib writes as a pickle of its own."""
        array: Array = raw.array
        array.content = result.content if isinstance(result, Array) else None
        return array

    def finish(self, result: Any) -> None:
        """Write down the names in what a program leaves."""
        self.ledger.refer(result)
