"""Objects that are shared again and again: a short file of steps within steps would run for ever."""

from __future__ import annotations

from collections.abc import Callable, Collection

from cannery.audits.ledger import Ledger
from cannery.audits.values import Array, Dict, List, Made, Partial, Tuple, Value

_MOST = 1 << 25
"""Objects through which a model may lead, each counted as often as it is come to."""


def judge_sharing(result: Value, ledger: Ledger) -> None:
    """Refuse a model of few objects that leads through very many, as one that scores would."""
    ways: dict[int, int] = {}
    waiting: list[tuple[Value, Collection[Value] | None]] = [(result, None)]
    while waiting:
        value, parts = waiting.pop()
        if parts is not None:
            ways[id(value)] = isinstance(value, Made) + sum(ways[id(part)] for part in parts)
        elif id(value) not in ways:
            ways[id(value)] = isinstance(value, Made)  # itself, until it is known what it holds
            if held := _held(value):
                waiting.append((value, held))
                waiting += [(part, None) for part in held]
    if ways[id(result)] > _MOST:
        message = f"the model leads through more than {_MOST} objects, and has {len(ways)}"
        ledger.find("bomb", "unsafe", message)


def _held(value: Value) -> list[Value]:
    """Return the parts of a value that may hold others."""
    parts = _PARTS.get(type(value), _nothing)(value)
    if _HOLDERS.isdisjoint(map(type, parts)):
        return []
    return [part for part in parts if type(part) in _HOLDERS and _leads_on(part)]


def _nothing(_value: Value) -> Collection[Value]:
    return ()


_PARTS: dict[type, Callable[[Value], Collection[Value]]] = {
    Array: lambda array: (array.content,),
    Dict: lambda found: [*found.items.values(), *found.rest],
    List: lambda found: found.items,
    Made: lambda made: (*made.arguments, made.state),
    Partial: lambda partial: (*partial.arguments, partial.state, partial.function),
    Tuple: lambda found: found.items,
}
"""Type → what its values may lead on to."""
_HOLDERS = frozenset(_PARTS)


def _leads_on(value: Value) -> bool:
    """Return whether a value may hold others; most are short tuples, and arrays of numbers."""
    kind = type(value)
    if kind is Tuple or kind is List:
        return not _HOLDERS.isdisjoint(map(type, value.items))
    return type(value.content) is List if kind is Array else True
