"""Objects of a pickle or a skops file whose numbers compiled code would follow, as the bounds see them.

They are judged when the whole program is known: until its end, it can go on filling what it made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cannery.audits.ledger import Ledger
from cannery.audits.repeats import alike
from cannery.audits.repeats.rows import Repeated
from cannery.audits.values import (
    Array,
    Dict,
    DType,
    List,
    Made,
    Name,
    Partial,
    Span,
    Tuple,
    Value,
    span_of,
)
from cannery.bounds.problems import TOGETHER, problem_of, sound_together
from cannery.bounds.things import BLOCK, Items, Numbers, Objects, Parts, Thing


class Judging:
    """Judges what a program makes and the bounds know, when the block ends; raises BrokenProgramError."""

    __slots__ = ("_ledger", "_outer")

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._outer = ledger.natives, ledger.rows, ledger.member

    def __enter__(self) -> None:
        self._ledger.natives, self._ledger.rows = {}, []

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                _judge(self._ledger)
        finally:
            self._ledger.natives, self._ledger.rows, self._ledger.member = self._outer


def _judge(ledger: Ledger) -> None:
    found, work = alike.sorted_out(ledger, _BOUNDS)
    if not found:
        return
    ledger.spend(work)
    sound: set[Made] = set()
    for name in TOGETHER:
        trees = [made for made in found if made.canonical == name]
        if sound_together(name, map(_thing, trees)):
            sound.update(trees)
    for made, (offset, place) in found.items():
        ledger.member = place
        if made not in sound and (problem := problem_of(_thing(made))):
            message = f"an object of '{made.canonical}' {problem}"
            ledger.find("hostile-native", "unsafe", message, offset=None if offset < 0 else offset)


_UNIT = 1 << 10
"""Bytes of an array that are as much work as an opcode."""


def _weight(made: Made) -> int:
    """Return how much work it is to look at an object: parts may be shared, and are looked at each time."""
    work = 0
    for whole in (made.state, made.arguments):
        for part in _parts(whole):
            if type(part) is Array:
                items = part.content.items if type(part.content) is List else ()
                width = part.dtype.itemsize if part.dtype else 0
                work += len(items) + width * math.prod(part.shape) // _UNIT
            elif type(part) in _CONTAINERS:
                work += len(part.items)
    return work


_CONTAINERS = frozenset({Dict, Tuple, List})


def _parts(whole: Value) -> Iterable[Value]:
    if type(whole) is tuple:
        return whole
    if type(whole) is Dict:
        return whole.items.values()
    return whole.items if type(whole) in _CONTAINERS else ()


def _sound(made: Made) -> bool:
    return problem_of(_thing(made)) is None


def _thing(made: Made) -> Thing:
    return Thing(
        made.canonical,
        _seen,
        state=lambda: made.state,
        arguments=lambda: made.arguments,
        known=made.listed,
        columns=made.row.columns if type(made) is Repeated else None,
    )


def _seen(value: Value) -> Any:
    """Return a value as the bounds see it; None for what is not known."""
    if type(value) in _LITERALS:
        return value
    kind = _KINDS.get(type(value))
    if kind is None:
        return _thing(value) if isinstance(value, Made) else None
    return kind(value)


_LITERALS = frozenset({type(None), bool, int, float, str, bytes})


def _array(array: Array) -> Any:
    """Return an array as numbers or objects, a scalar as itself."""
    if isinstance(array.content, Numbers):
        return array.content
    if array.dtype is None:
        return None
    if array.dtype.kind in "OT":
        known = array.content.items if isinstance(array.content, List) else ()
        return Objects(array.shape, Items(known, _seen))
    if array.dtype.holds:
        return None  # items of a structure with objects are no numbers
    dtype, content = _dtype(array.dtype), array.content
    if not array.shape and dtype.kind in "iu" and isinstance(content, bytes):
        if array.dtype.order == ">":
            content = content[::-1]
        return int.from_bytes(content, "little", signed=dtype.kind == "i")
    if not array.shape:
        found = next(_blocks(content, dtype), None)
        return None if found is None or dtype.kind == "V" else found[0]
    return Numbers(dtype, array.shape, lambda: _blocks(content, dtype))


def _items(value: List | Tuple) -> Items:
    return Items(value.items, _seen)


_KINDS: dict[type, Callable[[Any], Any]] = {
    Array: _array,
    Dict: lambda value: Parts(value.items, _seen, value.rest),
    List: _items,
    Name: lambda value: Thing(value.canonical, _seen, state=lambda: None),
    Partial: lambda value: _seen(value.function),
    Tuple: _items,
}
"""Type → how such a value is seen; other objects are things."""


def _dtype(found: DType) -> np.dtype[Any]:
    if found.known is None:
        found.known = _made(found)
    known: np.dtype[Any] = found.known
    return known


def _made(found: DType) -> np.dtype[Any]:
    if found.fields:
        return np.dtype(
            {
                "names": list(found.fields),
                "formats": [_dtype(kind) for kind, _ in found.fields.values()],
                "offsets": [offset for _, offset in found.fields.values()],
                "itemsize": found.itemsize,
            }
        )
    size = found.itemsize // 4 if found.kind == "U" else found.itemsize
    order = found.order if found.order in "<>" else "="
    return np.dtype(f"{order}{found.kind}{size}")


def _blocks(content: Value, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    span = span_of(content)
    if span is None or not dtype.itemsize:
        return
    for block in span.blocks(BLOCK - BLOCK % dtype.itemsize or dtype.itemsize):
        yield np.frombuffer(block, dtype)


_BOUNDS = alike.Bounds(sound=_sound, weight=_weight, dtype=_dtype, unit=_UNIT)


def numbers(span: Span, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Numbers:
    """Return the numbers of an array whose items stand in a file."""
    return Numbers(dtype, shape, lambda: _blocks(span, dtype))


def listed(array: Value) -> list[Any]:
    """Return the items of a short array of one dimension at most, none of any other."""
    found = _seen(array)
    if not isinstance(found, Numbers) or len(found.shape) > 1:
        return []
    return list(np.concatenate([*found.blocks(), np.empty(0, found.dtype)])[:_FEW].tolist())


_FEW = 8
