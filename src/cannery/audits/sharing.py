"""Objects that are shared again and again: a short file of steps within steps would run for ever."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from cannery.audits.ledger import Ledger
from cannery.audits.values import Array, Dict, List, Made, Partial, Tuple, Value

_MOST = 1 << 25
"""Objects through which a model may lead, each counted as often as it is come to."""
_HOLDERS = frozenset({Array, Dict, List, Made, Partial, Tuple})


def judge_sharing(result: Value, ledger: Ledger) -> None:
    """Refuse a model of few objects that leads through very many, as one that scores would."""
    ways: dict[int, int] = {}
    waiting: list[tuple[Value, Collection[Value] | None]] = [(result, None)]
    while waiting:
        value, parts = waiting.pop()
        if parts is not None:
            ways[id(value)] = isinstance(value, Made) + sum(ways[id(part)] for part in parts)
        elif id(value) not in ways:
            ways[id(value)] = 0  # of one that holds itself, until it is known
            held = _held(value)
            waiting.append((value, held))
            waiting += [(part, None) for part in held]
    if ways[id(result)] > _MOST:
        message = f"the model leads through more than {_MOST} objects, and has {len(ways)}"
        ledger.find("bomb", "unsafe", message)


def _held(value: Value) -> list[Value]:
    """Return the parts of a value that may hold others."""
    return [part for whole in _wholes(value) for part in _holders(whole)]


def _wholes(value: Value) -> Iterable[Iterable[Value]]:
    match value:
        case Dict():
            return (value.items.values(), value.rest)
        case List() | Tuple():
            return (value.items,)
        case Array():
            return ((value.content,),)
        case Partial():
            return (value.arguments, (value.state, value.function))
        case Made():
            return (value.arguments, (value.state,))
    return ()


def _holders(parts: Iterable[Value]) -> list[Value]:
    if _HOLDERS.isdisjoint(map(type, parts)):
        return []
    return [part for part in parts if type(part) in _HOLDERS and _leads_on(part)]


def _leads_on(value: Value) -> bool:
    """Return whether a value may hold others; most are short tuples, and arrays of numbers."""
    kind = type(value)
    if kind is Tuple or kind is List:
        return not _HOLDERS.isdisjoint(map(type, value.items))
    return type(value.content) is List if kind is Array else True
