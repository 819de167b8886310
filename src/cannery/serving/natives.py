"""What compiled code follows without looking: indices inside a fitted estimator, checked before it is asked.

Libraries check the type and the size of what a file brings, and trust it to point somewhere. Objects are
known by the names of their classes, so that nothing is imported for models that have none of them.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cannery.bounds.problems import problem_of, rule_for
from cannery.bounds.things import BLOCK, Items, Numbers, Objects, Parts, Thing

_SIMPLE = (str, bytes, bytearray, int, float, complex, type(None), np.generic)
_CODE = (type, FunctionType, BuiltinFunctionType, MethodType, ModuleType)


def native_problem(thing: Any) -> str | None:
    """Return which object of `thing`, at any depth, points outside of itself; None when all hold."""
    for part in _parts(thing):
        name = _class(part)
        if rule_for(name) and (problem := problem_of(_thing(part))):
            return f"an object of '{name}' {problem}"
    return None


def _parts(thing: Any) -> Iterator[Any]:
    """Yield everything that is not a plain value, each once."""
    seen: dict[int, Any] = {}  # keeps what it saw, lest an id be used again
    waiting = [thing]
    while waiting:
        part = waiting.pop()
        if isinstance(part, (*_SIMPLE, *_CODE)) or id(part) in seen:
            continue
        seen[id(part)] = part
        yield part
        waiting.extend(_inside(part))


def _inside(part: Any) -> Iterator[Any]:
    if isinstance(part, dict):
        yield from part.values()
    if isinstance(part, list | tuple | set | frozenset | deque):
        yield from part
    elif isinstance(part, np.ndarray) and part.dtype.hasobject:
        yield from part.ravel().tolist()
    elif isinstance(part, functools.partial):
        yield from (part.func, part.args, part.keywords)
    yield from getattr(part, "__dict__", {}).values()


def _class(part: Any) -> str:
    return f"{type(part).__module__}.{type(part).__qualname__}"


def _thing(part: Any) -> Thing:
    @functools.cache
    def reduced() -> tuple[Any, ...]:
        return (*part.__reduce_ex__(2), None)

    def state() -> Any:
        return part.bit_generator.state if hasattr(part, "bit_generator") else reduced()[2]

    return Thing(_class(part), _seen, state=state, arguments=lambda: reduced()[1], known=False)


def _seen(value: Any) -> Any:
    """Return a value as the bounds see it."""
    if isinstance(value, _SIMPLE):
        return value
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            return Objects(value.shape, Items(value.ravel().tolist(), _seen))
        return Numbers(value.dtype, value.shape, lambda: _blocks(value))
    if isinstance(value, list | tuple):
        return Items(value, _seen)
    if type(value) is dict:
        texts = {key: item for key, item in value.items() if isinstance(key, str)}
        return Parts(texts, _seen, [item for key, item in value.items() if key not in texts])
    if isinstance(value, functools.partial):
        return _seen(value.func)
    if isinstance(value, slice):
        steps = (value.start, value.stop, value.step)
        return Thing("builtins.slice", _seen, state=lambda: None, arguments=lambda: steps)
    if isinstance(value, _CODE):
        name = f"{value.__module__}.{value.__qualname__}" if hasattr(value, "__qualname__") else ""
        return Thing(name, _seen, state=lambda: None)
    return _thing(value)


def _blocks(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    flat = array.ravel("K")
    step = max(1, BLOCK // max(1, array.itemsize))
    for at in range(0, len(flat), step):
        yield flat[at : at + step]
