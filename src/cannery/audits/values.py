"""What stands on the stack of the abstract machine: literals as themselves, all else as placeholders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cannery.audits.listing import Entry

Value = Any
"""None, bool, int, float, str and bytes stand for themselves; the classes below for the rest."""


@dataclass(frozen=True, slots=True, eq=False)
class Name:
    """A global: what `GLOBAL` or `STACK_GLOBAL` would import."""

    module: str
    qualname: str
    offset: int
    entry: Entry | None
    """Its row in the tables, None where no table lists it."""

    @property
    def dotted(self) -> str:
        """Return the name in the words of the file."""
        return f"{self.module}.{self.qualname}"

    @property
    def canonical(self) -> str:
        """Return the name under which rules know it."""
        return self.entry.canonical if self.entry else self.dotted


HEAD = 32
"""Characters or bytes of a long literal that stay known."""


@dataclass(frozen=True, slots=True, eq=False)
class Opaque:
    """A long literal of which only the type and the length are known."""

    type: type
    """`str`, `bytes` or `bytearray`."""
    size: int
    """Characters or bytes."""
    head: bytes = b""
    """Its first bytes, where they tell a format; of a text in UTF-8."""


class Tuple:
    """A tuple; `names` are the globals within it, at any depth of tuples."""

    __slots__ = ("items", "names")

    def __init__(self, items: tuple[Value, ...]) -> None:
        self.items = items
        self.names = names_in(items)


class FrozenSet:
    """A frozenset, of which only the globals matter."""

    __slots__ = ("names",)

    def __init__(self, items: tuple[Value, ...]) -> None:
        self.names = names_in(items)


def names_in(items: tuple[Value, ...]) -> tuple[Name, ...]:
    """Return the globals among `items`, each once, those inside immutable items included."""
    found: dict[str, Name] = {}
    for item in items:
        if isinstance(item, Name):
            found.setdefault(item.dotted, item)
        elif isinstance(item, Tuple | FrozenSet):
            for name in item.names:
                found.setdefault(name.dotted, name)
    return tuple(found.values())


class List:
    """A list, of which only the length is known."""

    __slots__ = ("count",)

    def __init__(self, count: int = 0) -> None:
        self.count = count


class Set:
    """A set."""

    __slots__ = ()


class Dict:
    """A dictionary, of which only the items under strings are known."""

    __slots__ = ("count", "items", "sealed")

    def __init__(self) -> None:
        self.items: dict[str, Value] = {}
        self.count = 0
        self.sealed = False
        """Whether it became the state of an object, after which it must not change."""


class Made:
    """An object made in the stream; `name` is its class or the function that returned it."""

    __slots__ = ("built", "name")

    def __init__(self, name: Name | None = None) -> None:
        self.name = name
        self.built = False

    @property
    def canonical(self) -> str:
        """Return the name under which rules know what made it, '' where nothing is known."""
        return self.name.canonical if self.name else ""

    @property
    def listed(self) -> bool:
        """Return whether a table lists what made it."""
        return self.name is not None and self.name.entry is not None


class DType(Made):
    """A `numpy.dtype`."""

    __slots__ = ("itemsize", "kind")

    def __init__(self, name: Name | None, kind: str, itemsize: int) -> None:
        super().__init__(name)
        self.kind = kind
        self.itemsize = itemsize


class Partial(Made):
    """A `functools.partial`, and the function it was made with."""

    __slots__ = ("function",)

    def __init__(self, name: Name | None, function: Value) -> None:
        super().__init__(name)
        self.function = function


def head_of(value: Value) -> bytes:
    """Return the first bytes of a literal, '' of anything else."""
    if isinstance(value, str):
        return value[:HEAD].encode("utf-8", "surrogatepass")
    if isinstance(value, bytes | bytearray):
        return bytes(value[:HEAD])
    return value.head if isinstance(value, Opaque) else b""


def size_of(value: Value) -> int | None:
    """Return the length in bytes of an abstract bytes or bytearray, None for anything else."""
    if isinstance(value, bytes | bytearray):
        return len(value)
    if isinstance(value, Opaque) and value.type in (bytes, bytearray):
        return value.size
    return None


def describe(value: Value) -> str:
    """Say what a value is, for a message."""
    if isinstance(value, Name):
        return f"'{value.dotted}'"
    if isinstance(value, Made):
        return f"an object of '{value.name.dotted}'" if value.name else "an unknown object"
    if isinstance(value, Opaque):
        return f"{value.type.__name__} of length {value.size}"
    if isinstance(value, str | bytes):
        text = repr(value)
        return text if len(text) <= 60 else text[:57] + "..."
    if isinstance(value, int) and value.bit_length() > 64:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, int | float) or value is None:
        return repr(value)
    return f"a {type(value).__name__.lower()}"
