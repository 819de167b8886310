"""What stands on the stack of the abstract machine: literals as themselves, all else as placeholders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cannery.audits.listing import Entry
from cannery.audits.opcodes import BrokenProgramError
from cannery.sources.windows import Data, release

Value = Any
"""None, bool, int, float, str and bytes stand for themselves; the classes below for the rest."""


class Later:
    """Stands in the memo for what is made when somebody asks for it."""

    __slots__ = ()


LATER = Later()


class Name:
    """A global: what `GLOBAL` or `STACK_GLOBAL` would import."""

    __slots__ = ("canonical", "dotted", "entry", "module", "offset", "qualname")

    def __init__(self, module: str, qualname: str, offset: int, entry: Entry | None) -> None:
        self.module = module
        self.qualname = qualname
        self.offset = offset
        self.entry = entry
        """Its row in the tables, None where no table lists it."""
        self.dotted = f"{module}.{qualname}"
        """The name in the words of the file."""
        self.canonical = entry.canonical if entry else self.dotted
        """The name under which rules know it."""


def is_matrix_method(value: Value) -> bool:
    """Return whether a value is a method of scipy's sparse matrices.

    Compiled code follows the arrays of what it is called on, whatever that is.
    """
    return (
        type(value) is Name
        and value.entry is not None
        and "." in value.qualname
        and value.canonical.startswith("scipy.sparse.")
    )


HEAD = 32
"""Characters or bytes of a long literal that stay known."""


@dataclass(slots=True, eq=False)
class Span:
    """Where the bytes of a literal stand in the file; never changed, and not frozen: there are thousands."""

    data: Data
    start: int
    stop: int
    coding: str | None = None
    """Of the text that stands for these bytes in the protocols before 3; None where they stand as they are."""

    def blocks(self, size: int) -> Iterator[bytes]:
        """Yield the bytes, `size` at a time (text at once: the protocols with it are old and small)."""
        if self.coding is not None:
            yield self.data[self.start : self.stop].decode(self.coding, _ERRORS).encode("latin-1")
            return
        for at in range(self.start, self.stop, size):
            yield self.data[at : min(at + size, self.stop)]
            if self.stop - self.start > size:
                release(self.data, at, min(at + size, self.stop))


_ERRORS = "surrogatepass"


@dataclass(slots=True, eq=False)
class Opaque:
    """A long literal of which only the type, the length and the place are known."""

    type: type
    """`str`, `bytes` or `bytearray`."""
    size: int
    """Characters or bytes."""
    head: bytes = b""
    """Its first bytes, where they tell a format; of a text in UTF-8."""
    span: Span | None = None
    """Where it stands; None where that is nowhere."""


def held(kind: type, data: bytes) -> Opaque:
    """Return what is known of bytes that are no literal, but at hand."""
    return Opaque(kind, len(data), data[:HEAD], Span(data, 0, len(data)))


def span_of(content: Value) -> Span | None:
    """Return where the bytes of a literal stand, None for what has none."""
    if type(content) is Opaque:
        return content.span
    if type(content) is str:
        content = content.encode("latin-1", "replace")
    if type(content) is bytes:
        return Span(content, 0, len(content))
    return content if type(content) is Span else None


class Tuple:
    """A tuple; `names` are the globals within it, at any depth of tuples."""

    __slots__ = ("items", "names")

    def __init__(self, items: tuple[Value, ...]) -> None:
        self.items = items
        self.names: tuple[Name, ...] = ()
        for item in items:
            if type(item) in NAMING:
                self.names = names_in(items)
                break


class FrozenSet:
    """A frozenset, of which only the globals and the objects matter."""

    __slots__ = ("items", "names")

    def __init__(self, items: tuple[Value, ...]) -> None:
        self.items = objects_among(items)
        self.names = names_in(items)


NAMING = frozenset({Name, Tuple, FrozenSet})
"""Immutable values that are a global, or may hold some."""


_MOST = 256
"""Globals in one tuple."""


def names_in(items: tuple[Value, ...]) -> tuple[Name, ...]:
    """Return the globals among `items`, each once, those inside immutable items included."""
    found: tuple[Name, ...] = ()
    for item in items:
        if type(item) not in NAMING:
            continue
        names = (item,) if type(item) is Name else item.names
        if not found:
            found = names
        elif names and names != found:
            found = tuple({name.dotted: name for name in (*found, *names)}.values())
            if len(found) > _MOST:
                raise BrokenProgramError("too-long", f"a tuple with more than {_MOST} names")
    return found


class List:
    """A list; of a long one only the objects are known, and the length."""

    __slots__ = ("count", "items")

    def __init__(self, items: tuple[Value, ...] = ()) -> None:
        self.items: list[Value] = []
        self.count = 0
        self.extend(items)

    def extend(self, items: Sequence[Value]) -> None:
        """Add items at the end."""
        self.count += len(items)
        if self.count > _KNOWN:
            items = [item for item in items if isinstance(item, Made | List | Dict | Tuple)]
        self.items += items


_KNOWN = 1 << 16
"""Literals of a list that stay known."""


class Set:
    """A set, of which only the objects matter."""

    __slots__ = ("items",)

    def __init__(self, items: Sequence[Value] = ()) -> None:
        self.items = objects_among(items)


class Dict:
    """A dictionary; of items under other keys than strings only the values, and objects as keys, are known."""

    __slots__ = ("count", "items", "keys", "rest", "sealed")

    def __init__(self) -> None:
        self.items: dict[str, Value] = {}
        self.keys: list[Value] = []
        self.rest: list[Value] = []
        self.count = 0
        self.sealed = False
        """Whether it became the state of an object, after which it must not change."""


class Made:
    """An object made in the stream; `name` is its class or the function that returned it."""

    __slots__ = ("arguments", "built", "canonical", "name", "state")

    def __init__(self, name: Name | None = None, arguments: tuple[Value, ...] = ()) -> None:
        self.name = name
        self.canonical = name.canonical if name else ""
        """The name under which rules know what made it, '' where nothing is known."""
        self.arguments = arguments
        self.state: Value = None
        self.built = False

    @property
    def listed(self) -> bool:
        """Return whether a table lists what made it."""
        return self.name is not None and self.name.entry is not None


class DType(Made):
    """A `numpy.dtype`."""

    __slots__ = ("fields", "holds", "itemsize", "kind", "known", "order", "used")

    def __init__(self, name: Name | None, kind: str, itemsize: int) -> None:
        super().__init__(name)
        self.kind = kind
        self.holds = kind in "OT"
        """Whether its items are, or have, objects."""
        self.itemsize = itemsize
        self.order = "|"
        """Of its bytes: `<`, `>`, `|` or `=`."""
        self.fields: dict[str, tuple[DType, int]] = {}
        """Name → type and place, of a structure."""
        self.used = False
        """Whether an array, or another type, has it: then it must not change."""
        self.known: Any = None
        """What numpy makes of it, once that was asked for."""


class Array(Made):
    """An array of numpy, or a scalar, which is an array without a shape."""

    __slots__ = ("content", "dtype", "shape")

    def __init__(self, name: Name | None) -> None:
        self.name = name
        self.canonical = name.canonical if name else ""
        self.arguments = ()
        self.state = None
        self.built = False
        self.dtype: DType | None = None
        """None until its state is set."""
        self.shape: tuple[int, ...] = ()
        self.content: Value = None
        """Bytes, an `Opaque`, a `Span`, or the `List` of its objects."""

    def fill(self, dtype: DType, shape: tuple[int, ...], content: Value) -> None:
        """Set what a state, or a call, brings."""
        self.dtype, self.shape, self.content = dtype, shape, content


class Partial(Made):
    """A `functools.partial`, and the function it was made with."""

    __slots__ = ("function",)

    def __init__(self, name: Name | None, function: Value) -> None:
        super().__init__(name)
        self.function = function


def objects_among(items: Sequence[Value]) -> list[Value]:
    """Return what is no literal among items, and may lead to more."""
    if _LITERAL.issuperset(map(type, items)):
        return []
    return [item for item in items if type(item) not in _LITERAL]


_LITERAL = frozenset({type(None), bool, int, float, str, bytes, Name, Opaque})


def head_of(value: Value) -> bytes:
    """Return the first bytes of a literal, '' of anything else."""
    if isinstance(value, str):
        return value[:HEAD].encode("utf-8", "surrogatepass")
    if isinstance(value, bytes | bytearray):
        return bytes(value[:HEAD])
    return value.head if isinstance(value, Opaque) else b""


def size_of(value: Value) -> int | None:
    """Return the length in bytes of an abstract bytes or bytearray, None for anything else."""
    if type(value) is Opaque:
        return None if value.type is str else value.size
    return len(value) if isinstance(value, bytes | bytearray) else None


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
