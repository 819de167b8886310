"""The values of an opening: real objects, made of names that were cleared and of no other.

The one place where a name of a foreign file becomes code. Runs in the worker alone.
"""

from __future__ import annotations

import functools
import importlib
import math
import sys
from collections.abc import Iterator
from itertools import repeat
from typing import Any

import numpy as np

from cannery.audits.domains import Raw
from cannery.audits.limits import Limits
from cannery.audits.listing import listing, modern
from cannery.audits.opcodes import BrokenProgramError, Data
from cannery.errors import UnsafeError

WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper"
"""What joblib writes in front of an array's bytes."""

_ABSENT: Any = object()


class ArrayWrapper:
    """Stands for joblib's own, which would read the array from a file by itself."""

    subclass: type
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: str
    numpy_array_alignment_bytes: int | None = None


def check_name(module: str, name: str, names: frozenset[str]) -> None:
    """Raise UnsafeError unless exactly this name, in the words of the file, was cleared."""
    hidden = "." in name and listing().find(module, name) is None
    if hidden or f"{module}.{name}" not in names:
        raise UnsafeError(
            f"refused while opening: '{module}.{name}' is not among the names that were cleared",
            hint="audit the file again",
        )


class Objects:
    """The domain of an opening: does what the C unpickler does."""

    def __init__(self, names: frozenset[str], limits: Limits) -> None:
        self.limits = limits
        self.steps: Iterator[Any] = repeat(None, limits.opcodes)
        self._names = names

    def repeats(self) -> None:
        """Return nothing: an object is made by its own program."""

    def refuse(self, rule: str, message: str, offset: int) -> None:
        """Stop at what no audit lets pass."""
        raise BrokenProgramError(rule, message, unsafe=True)

    # Literals

    def text(self, data: Data, at: int, end: int, coding: str) -> str:
        """Return a string."""
        return str(data[at:end], coding, "surrogatepass" if coding == "utf-8" else "strict")

    def binary(self, data: Data, at: int, end: int) -> bytes:
        """Return bytes."""
        return data[at:end]

    def buffer(self, data: Data, at: int, end: int) -> bytearray:
        """Return a bytearray."""
        return bytearray(data[at:end])

    # Containers

    tuple_of = tuple
    frozenset_of = frozenset
    new_list = list
    new_dict = dict
    new_set = set

    def append(self, target: Any, items: list[Any], offset: int) -> None:
        """Extend a list, or what behaves as one."""
        extend = getattr(target, "extend", None)
        if extend is not None:
            extend(items)
            return
        append = target.append
        for item in items:
            append(item)

    def assign(self, target: Any, items: list[Any], offset: int) -> None:
        """Set the items of a mapping."""
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key] = value

    def add(self, target: Any, items: list[Any], offset: int) -> None:
        """Add items to a set, or to what behaves as one."""
        if type(target) is set:
            target.update(items)
            return
        add = target.add
        for item in items:
            add(item)

    # Globals, calls, states

    def find(self, module: Any, qualname: Any, protocol: int, offset: int) -> Any:
        """Import a name that was cleared."""
        if type(module) is not str or type(qualname) is not str:
            raise BrokenProgramError("computed-name", "a global's name is no string", unsafe=True)
        check_name(module, qualname, self._names)
        if protocol < 3:
            module, qualname = modern(module, qualname)
        if f"{module}.{qualname}" == WRAPPER:
            return ArrayWrapper
        importlib.import_module(module)
        return functools.reduce(getattr, qualname.split("."), sys.modules[module])

    def call(self, function: Any, arguments: Any, offset: int) -> Any:
        """Call a function."""
        return function(*_positional(arguments))

    def make(self, cls: Any, arguments: Any, keywords: Any, offset: int) -> Any:
        """Make an object that is not yet initialised."""
        named = {} if keywords is None else _dictionary(keywords)
        return cls.__new__(cls, *_positional(arguments), **named)

    def build(self, target: Any, state: Any, offset: int) -> Raw | None:
        """Set a state by the object's own setter, else attribute by attribute."""
        setter = getattr(target, "__setstate__", _ABSENT)
        if setter is not _ABSENT:
            setter(state)
            return None
        slots = None
        if isinstance(state, tuple) and len(state) == 2:
            state, slots = state
        if state is not None:
            attributes = target.__dict__
            for name, value in _dictionary(state).items():
                attributes[sys.intern(name) if type(name) is str else name] = value
        if slots is not None:
            for name, value in _dictionary(slots).items():
                setattr(target, name, value)
        return _raw(target) if type(target) is ArrayWrapper else None

    # joblib's arrays

    def filled(self, raw: Raw, data: Data, at: int) -> Any:
        """Return an array of its own memory, filled with bytes of the file."""
        wrapper: ArrayWrapper = raw.array
        count = math.prod(wrapper.shape)
        array = np.empty(count, wrapper.dtype)
        if raw.size:
            array[:] = np.frombuffer(data, wrapper.dtype, count, at)
        if wrapper.order == "F":
            return _finished(array.reshape(wrapper.shape[::-1]).transpose(), wrapper)
        return _finished(array.reshape(wrapper.shape), wrapper)

    def followed(self, raw: Raw, result: Any) -> Any:
        """Return the array of objects that its own program made."""
        return _finished(result, raw.array)

    def finish(self, result: Any) -> None:
        """Do nothing: the machine keeps the result."""


def _positional(arguments: Any) -> tuple[Any, ...]:
    if not isinstance(arguments, tuple):
        raise BrokenProgramError("odd-arguments", "arguments are no tuple", unsafe=True)
    return arguments


def _dictionary(state: Any) -> dict[Any, Any]:
    if not isinstance(state, dict):
        raise BrokenProgramError("odd-state", "a state is no dictionary", unsafe=True)
    return state


def _raw(wrapper: ArrayWrapper) -> Raw:
    if wrapper.dtype.hasobject:
        return Raw(wrapper, None, None)
    size = math.prod(wrapper.shape) * wrapper.dtype.itemsize
    return Raw(wrapper, size, wrapper.numpy_array_alignment_bytes)


def _finished(array: Any, wrapper: ArrayWrapper) -> Any:
    """Return the array in the byte order of this machine and, before numpy 2, in its own class."""
    if isinstance(array, np.ndarray) and not array.dtype.isnative:
        array = array.byteswap().view(array.dtype.newbyteorder("="))
    prepared = hasattr(array, "__array_prepare__")
    if prepared and wrapper.subclass not in (np.ndarray, np.memmap):
        empty: Any = np.ndarray.__new__(wrapper.subclass, (0,), "b")
        return empty.__array_prepare__(array)
    return array
