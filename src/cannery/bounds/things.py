"""An object of a model as the bounds see it: its class, what it was made with, its state; and its arrays.

The audit sees objects that were never made, the service sees real ones; both are judged by the same rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 22
"""Bytes of an array that are looked at together."""


WHOLE = (int, np.integer)

Convert = Callable[[Any], Any]
"""How one who looks at a model makes its parts into what stands here."""


class Thing:
    """An object; its parts are literals, and the classes below."""

    __slots__ = ("_convert", "_found", "_made", "_state", "columns", "known", "name")

    def __init__(
        self,
        name: str,
        convert: Convert,
        *,
        state: Callable[[], Any],
        arguments: Callable[[], Sequence[Any]] = tuple,
        known: bool = True,
        columns: int | None = None,
    ) -> None:
        self.name = name
        """Module and name of its class."""
        self.known = known
        """Whether it must be one that the rules can tell; of others a person has to judge."""
        self.columns = columns
        """How many columns the tree of an estimator takes, where that was found before."""
        self._convert = convert
        self._made = arguments
        self._state = state
        self._found: Any = self

    @property
    def state(self) -> Any:
        """Return the attributes, or the tuple that compiled code takes apart; None where there is none."""
        if self._found is self:
            self._found = self._convert(self._state())
        return self._found

    @property
    def arguments(self) -> Items:
        """Return what the class was called with."""
        return Items(self._made(), self._convert)


class Items(Sequence[Any]):
    """A list or a tuple, of which only what is looked at is converted."""

    __slots__ = ("_convert", "_raw")

    def __init__(self, raw: Sequence[Any], convert: Convert) -> None:
        self._raw = raw
        self._convert = convert

    def __len__(self) -> int:
        return len(self._raw)

    def __iter__(self) -> Iterator[Any]:
        return map(self._convert, self._raw)

    def __getitem__(self, index: Any) -> Any:
        return self._convert(self._raw[index])


class Parts(Mapping[str, Any]):
    """A dictionary with strings as keys, of which only what is looked at is converted."""

    __slots__ = ("_convert", "_raw", "_rest")

    def __init__(self, raw: Mapping[str, Any], convert: Convert, rest: Sequence[Any] = ()) -> None:
        self._raw = raw
        self._convert = convert
        self._rest = rest

    @property
    def rest(self) -> Items:
        """Return the values under keys that are no strings."""
        return Items(self._rest, self._convert)

    def __len__(self) -> int:
        return len(self._raw)

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __getitem__(self, key: str) -> Any:
        return self._convert(self._raw[key])

    def get(self, key: str, default: Any = None) -> Any:
        """Return what stands under a key; the way round by an error would be slow."""
        return self._convert(self._raw[key]) if key in self._raw else default

    def whole_numbers(self) -> list[int]:
        """Return its values, each of which must be a whole number; raises BrokenThingError."""
        raw = list(self._raw.values())
        return raw if set(map(type, raw)) <= {int} else [integer(self._convert(v)) for v in raw]


@dataclass(slots=True, eq=False)
class Numbers:
    """An array of anything but objects; never changed, and not frozen: of arrays there are thousands."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    blocks: Callable[[], Iterator[NDArray[Any]]]
    """Yields its items in the order of memory, some at a time, in one dimension."""


@dataclass(frozen=True, slots=True)
class Objects:
    """An array of objects."""

    shape: tuple[int, ...]
    items: Items


class BrokenThingError(Exception):
    """An object that is not what its class says; the message goes on after "an object of '…'"."""


class UnknownThingError(Exception):
    """An object of which no rule can tell how it looks, and which is not said to be safe."""


def attributes(thing: Thing) -> Mapping[str, Any]:
    """Return the attributes of a thing, none of one that never got any; raises BrokenThingError for others."""
    state = thing.state
    if type(state) is Parts:
        return state
    if state is not None and not isinstance(state, Mapping):
        raise BrokenThingError("has no attributes")
    return state or {}


def numbers(value: Any, dimensions: int, kinds: str = "iu") -> Numbers:
    """Return an array of so many dimensions and of these kinds of numbers; raises BrokenThingError."""
    if not isinstance(value, Numbers) or value.dtype.kind not in kinds:
        raise BrokenThingError("has something else where it should have an array of numbers")
    if len(value.shape) != dimensions:
        raise BrokenThingError(f"has an array of {len(value.shape)} dimensions, not {dimensions}")
    return value


def integer(value: Any) -> int:
    """Return a whole number that is no bool; raises BrokenThingError."""
    if type(value) is int:
        return value
    if isinstance(value, Numbers) and not value.shape:
        value = next(value.blocks())[0]
    if isinstance(value, WHOLE) and not isinstance(value, bool):
        return int(value)
    raise BrokenThingError("has something else where it should have a whole number")


def whole(array: Numbers) -> NDArray[Any]:
    """Return the items of an array at once, in one dimension."""
    blocks = list(array.blocks())
    if len(blocks) == 1:
        return blocks[0]
    return np.concatenate(blocks) if blocks else np.empty(0, array.dtype)


def within(array: Numbers, low: int, high: int) -> bool:
    """Return whether every item is at least `low` and below `high`."""
    return all(
        not len(block) or (int(block.min()) >= low and int(block.max()) < high)
        for block in array.blocks()
    )


def width(thing: Any) -> int | None:
    """Return how many columns an estimator says it takes, None when it doesn't say."""
    state = thing.state if isinstance(thing, Thing) else None
    if type(state) is not Parts and not isinstance(state, Mapping):
        return None
    value = state.get("n_features_in_", state.get("n_features_"))
    return int(value) if isinstance(value, WHOLE) else None
