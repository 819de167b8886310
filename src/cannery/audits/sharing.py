"""Who holds whom: what is shared again and again would run for ever, and trees need the estimator around them."""

from __future__ import annotations

from collections.abc import Callable, Collection

from cannery.audits.ledger import Ledger, remedy_for
from cannery.audits.repeats.rows import Repeated
from cannery.audits.values import (
    Array,
    Dict,
    FrozenSet,
    List,
    Made,
    Partial,
    Set,
    Tuple,
    Value,
)
from cannery.bounds.trees import HOLDERS, TREE

_MOST = 1 << 25
"""Objects through which a model may lead, each counted as often as it is come to."""
_PLAIN = (Made, Repeated)


def judge_sharing(result: Value, ledger: Ledger) -> None:
    """Refuse a model of few objects that leads through very many, as one that scores would.

    Doubt one with a bare tree: compiled code reads as many columns of a row as the tree says, and only
    its estimator knows whether the row has them.
    """
    ways, bare = _followed(result, like=ledger.clean)
    if ways[id(result)] > _MOST:
        ways, bare = _followed(result, like=False)
        message = f"the model leads through more than {_MOST} objects, and has {len(ways)}"
        ledger.find("bomb", "unsafe", message)
    if bare:
        message = f"an object of '{TREE}' is asked by something else than its own estimator"
        ledger.find("unchecked-native", "review", message, name=TREE, remedy=remedy_for(TREE))


def _followed(result: Value, *, like: bool) -> tuple[dict[int, int], bool]:
    """Return by value through how many objects it leads, and whether there is a bare tree.

    Where nothing was found, the first object of a row stands for those that are like it.
    """
    ways: dict[int, int] = {}
    trees: dict[int, int] = {}
    owned: set[int] = set()
    waiting: list[tuple[Value, Collection[Value] | None]] = [(result, None)]
    while waiting:
        value, parts = waiting.pop()
        if parts is not None:
            own = isinstance(value, Made) and not (like and _follows(value))
            ways[id(value)] = own + sum(ways[id(part)] for part in parts)
        elif id(value) not in ways:
            ways[id(value)] = isinstance(value, Made)  # itself, until it is known what it holds
            if like and _follows(value):
                first = value.row.made[0]
                if id(first) in ways:
                    ways[id(value)] = ways[id(first)]
                else:
                    waiting += [(value, [first]), (first, None)]
            elif held := _held(value):
                waiting.append((value, held))
                waiting += [(part, None) for part in held]
                for part in held:
                    if type(part) is Made and part.canonical == TREE:
                        trees[id(part)] = trees.get(id(part), 0) + 1
                if type(value) in _PLAIN and value.canonical.startswith(HOLDERS):
                    owned.add(_tree_of(value))
    return ways, any(times > 1 or tree not in owned for tree, times in trees.items())


def _follows(value: Value) -> bool:
    """Return whether a value is one of a row, and not its first, whose parts nobody came back to."""
    return type(value) is Repeated and not value.row.recalled and value is not value.row.made[0]


def _tree_of(estimator: Made) -> int:
    state = estimator.state
    return id(state.items.get("tree_")) if type(state) is Dict else 0


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
    Dict: lambda found: [*found.items.values(), *found.rest, *found.keys],
    FrozenSet: lambda found: found.items,
    List: lambda found: found.items,
    Made: lambda made: (*made.arguments, made.state),
    Repeated: lambda made: (*made.arguments, made.state),
    Partial: lambda partial: (*partial.arguments, partial.state, partial.function),
    Set: lambda found: found.items,
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
