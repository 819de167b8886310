"""Our machine beside CPython's two unpicklers: programs for them, and whether they made the same.

Programs reach the classes of this module and a few harmless ones, through all three readers alike.
"""

from __future__ import annotations

import collections
import io
import pickle
import random
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from operator import length_hint
from typing import Any

import numpy as np

from cannery.audits import runs
from cannery.audits.facts import Facts
from cannery.audits.ledger import Ledger
from cannery.audits.limits import Limits
from cannery.audits.listing import listing
from cannery.audits.machine import Machine
from cannery.audits.opcodes import OPCODES, BrokenProgramError
from cannery.isolation.objects import Objects

LIMITS = Limits(opcodes=20_000, memo=20_000, text=1 << 20)


class Fixed(type):
    """A class to which a program can't give attributes."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise AttributeError(name)


class Plain(metaclass=Fixed):
    """An object with attributes."""


class Slotted(metaclass=Fixed):
    """An object with slots."""

    __slots__ = ("left", "right")

    def __getstate__(self) -> Any:
        """Return what the slots hold, in the protocols before 2 too."""
        held = {name: getattr(self, name) for name in self.__slots__ if hasattr(self, name)}
        return (None, held) if held else None


class Setter(metaclass=Fixed):
    """An object that takes its state as it is."""

    def __setstate__(self, state: Any) -> None:
        """Keep the state."""
        self.state = [state]

    def __getstate__(self) -> Any:
        """Return what was kept."""
        return vars(self).get("state", [None])[0]


class Items(list, metaclass=Fixed):  # type: ignore[type-arg]
    """A list with attributes."""


class Table(dict, metaclass=Fixed):  # type: ignore[type-arg]
    """A dictionary with attributes."""


class Word(str, metaclass=Fixed):
    """A string that is made with a named argument."""

    __slots__ = ()

    def __new__(cls, text: str = "", *, twice: bool = False) -> Word:
        """Make one."""
        return super().__new__(cls, text * 2 if twice else text)

    def __getnewargs_ex__(self) -> Any:
        """Return the arguments."""
        return (str(self),), {"twice": False}

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Return a call in the protocols that have no named arguments."""
        return super().__reduce_ex__(protocol) if protocol > 3 else (Word, (str(self),))


class Called(metaclass=Fixed):
    """An object that is made by a call, and is given items and a state."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.seen: list[Any] = []

    def append(self, item: Any) -> None:
        """Take an item."""
        self.seen.append(item)

    def add(self, item: Any) -> None:
        """Take an item of a set."""
        self.seen.append({"item": item})

    def __setitem__(self, key: Any, value: Any) -> None:
        """Take an item of a dictionary."""
        self.seen.append((key, value))

    def __reduce__(self) -> Any:
        """Return the call, a state, and the items."""
        return Called, self.arguments, {"more": 1}, iter(self.seen)


OWN = (Plain, Slotted, Setter, Items, Table, Word, Called)
_BUILTINS = ("bytearray", "bytes", "complex", "dict", "frozenset", "list", "object", "range", "set")
NAMES = frozenset(
    [f"agreement.{cls.__name__}" for cls in OWN]
    + [f"{home}.{name}" for home in ("builtins", "__builtin__") for name in _BUILTINS]
    + [
        "__builtin__.unicode",
        "builtins.str",
        "functools.partial",
        "__builtin__.xrange",
        "_codecs.encode",
        "copy_reg._reconstructor",
        "copyreg.__newobj__",
    ]
    + ["copyreg._reconstructor", "copyreg.__newobj_ex__", "copy_reg.__newobj__"]
    + [f"collections.{name}" for name in ("Counter", "OrderedDict", "defaultdict", "deque")]
)
NUMPY = NAMES | {
    "numpy._core.multiarray._reconstruct", "numpy._core.multiarray.scalar",
    "numpy._core.numeric._frombuffer", "numpy.dtype", "numpy.ndarray",
}  # fmt: skip
"""With what numpy needs: for programs that a pickler wrote, since numpy crashes on others."""


def ours(data: bytes, names: frozenset[str] = NAMES) -> Any:
    """Return what our machine makes of a program, which its audit has followed to the same end."""
    objects = Recording(names, LIMITS)
    machine = Machine(data, 0, objects)
    end = machine.run()
    ledger = Ledger(listing(), LIMITS)
    assert Machine(data, 0, Facts(ledger)).run() == end, data
    assert objects.found <= {name.name for name in ledger.names()}, data
    return machine.result


class Recording(Objects):
    """The values of an opening, and the names that it found."""

    def __init__(self, names: frozenset[str], limits: Limits) -> None:
        super().__init__(names, limits)
        self.found: set[str] = set()

    def find(self, module: Any, qualname: Any, protocol: int, offset: int) -> Any:
        """Write a name down."""
        self.found.add(f"{module}.{qualname}")
        return super().find(module, qualname, protocol, offset)


def _held(base: Any) -> Any:
    """Return one of CPython's unpicklers, held to the same names."""

    class Held(base):  # type: ignore[misc]
        def find_class(self, module: str, name: str) -> Any:
            if f"{module}.{name}" not in NUMPY:
                raise pickle.UnpicklingError(f"{module}.{name}")
            return super().find_class(module, name)

    return Held


THEIRS: tuple[Any, ...] = (_held(pickle.Unpickler), _held(pickle._Unpickler))  # type: ignore[attr-defined]
"""CPython's unpickler in C, and the one in Python."""


def check(data: bytes, names: frozenset[str] = NAMES) -> bool:
    """Return whether our machine accepts a program; if so, CPython's make the same of it.

    Raises AssertionError where they don't.
    """
    try:
        mine = ours(data, names)
    except AssertionError:
        raise
    except Exception:  # whatever a refused or failing program raises
        return False
    for theirs in THEIRS:
        try:
            other = theirs(io.BytesIO(data)).load()
        except Exception as error:
            raise AssertionError(f"only we accept {data!r}: {error!r}") from error
        if problem := difference(mine, other):
            raise AssertionError(f"{problem} in {data!r}")
    return True


def difference(left: Any, right: Any) -> str | None:
    """Return where two graphs of objects differ, in types, values or sharing; None where they don't."""
    partners: dict[int, int] = {}
    keep: list[Any] = []
    todo: list[tuple[Any, Any, str]] = [(left, right, "it")]
    while todo:
        a, b, path = todo.pop()
        if type(a) is not type(b):
            return f"{path}: {type(a)} is not {type(b)}"
        if isinstance(a, bool | int | bytes | float | complex | type | range | None):
            if repr(a) != repr(b):
                return f"{path}: {a!r} is not {b!r}"
            continue
        if type(a) is str:
            if a != b:
                return f"{path}: {a!r} is not {b!r}"
            continue
        if id(a) in partners or id(b) in partners.values():
            if partners.get(id(a)) != id(b) and a != ():
                return f"{path}: shared otherwise"
            continue
        partners[id(a)] = id(b)
        keep += [a, b]
        mine, other = _parts(a), _parts(b)
        if len(mine) != len(other):
            return f"{path}: {len(mine)} parts are not {len(other)}"
        todo += [(x, y, f"{path}.{i}") for i, (x, y) in enumerate(zip(mine, other, strict=True))]
    return None


def _parts(value: Any) -> list[Any]:
    """Return what an object consists of, in an order that equal objects share."""
    parts: list[Any] = []
    if isinstance(value, np.ndarray):
        parts += [value.dtype.str, value.shape, value.flags.c_contiguous, value.tolist()]
    elif isinstance(value, np.generic | np.dtype | bytearray) or callable(value):
        parts += [repr(value)]
    elif isinstance(value, set | frozenset):
        parts += [len(value), sorted(map(repr, map(_plain, value)))]
    elif isinstance(value, str):
        parts += [str(value)]
    elif isinstance(value, dict):
        parts += [part for item in value.items() for part in item]
    elif isinstance(value, list | tuple | collections.deque):
        parts += list(value)
    if isinstance(value, collections.defaultdict):
        parts += [value.default_factory]
    if isinstance(value, collections.deque):
        parts += [value.maxlen]
    if isinstance(value, Slotted):
        parts += [getattr(value, slot, "absent") for slot in Slotted.__slots__]
    state = getattr(value, "__dict__", None)
    return [*parts, list(state.items())] if type(state) is dict else parts


def _plain(item: Any) -> Any:
    """Return a member of a set without the address that its repr may have."""
    if isinstance(item, tuple | frozenset):
        return sorted(map(repr, map(_plain, item)))
    return item if isinstance(item, str | bytes | int | float | None) else type(item)


# Graphs of objects


def graph(source: random.Random, *, numpy: bool = True) -> Any:
    """Return objects that refer to each other, and to themselves, at random."""
    makers = _MAKERS + _NUMPY_MAKERS * numpy
    pool: list[Any] = [_scalar(source) for _ in range(source.randint(1, 8))]
    keys = [item for item in pool if item.__hash__ is not None]
    for _ in range(source.randint(0, 15)):
        chosen = source.choices(pool, k=source.randint(0, 4))
        some = source.choices(keys, k=len(chosen)) if keys else []
        made = source.choice(makers)(chosen, some)
        pool.append(made)
        if isinstance(made, frozenset | Word | Plain) or (isinstance(made, tuple) and made == ()):
            keys.append(made)
    for _ in range(source.randint(0, 6)):
        _tie(source.choice(pool), source.choice(pool))
    return [source.choice(pool), pool]


def pickled(value: Any, protocol: int) -> Iterator[bytes]:
    """Yield what CPython's picklers, in C and in Python, write of a value."""
    for dumps in (pickle.dumps, pickle._dumps):  # type: ignore[attr-defined]
        # Some cycles have no pickle, and the one in Python stumbles over empty bytearrays.
        with suppress(RecursionError, AssertionError):
            yield dumps(value, protocol)


def _scalar(source: random.Random) -> Any:
    texts = ["", "a", "attribute", "Grüße \u20ac \U0001f40d", "line\nend\\", "\ud800", "x" * 300]
    match source.randrange(9):
        case 0:
            return source.choice([None, True, False])
        case 1:
            return source.choice([0, 1, 255, 256, 65536, -1, 2**31, -(2**31), 2**63, -(2**300)])
        case 2:
            return source.choice([0.0, -0.0, 1.5, float("inf"), float("nan"), 1e300, 5e-324])
        case 3:
            return source.choice([b"", b"a\x00\xff", bytes(300), b"\n."])
        case 4:
            return bytearray(source.randbytes(source.randint(0, 5)))
        case 5:
            return source.choice([1 + 2j, range(3), 0j])
        case 6:
            return source.choice([list, Plain, Called])
        case _:
            return source.choice(texts)


def _attributes(made: Any, chosen: list[Any]) -> Any:
    vars(made).update(zip(("left", "right", "über", "x"), chosen, strict=False))
    return made


def _slotted(chosen: list[Any]) -> Slotted:
    made = Slotted()
    for name, value in zip(Slotted.__slots__, chosen, strict=False):
        setattr(made, name, value)
    return made


_MAKERS: tuple[Callable[[list[Any], list[Any]], Any], ...] = (
    lambda chosen, keys: list(chosen),
    lambda chosen, keys: tuple(chosen),
    lambda chosen, keys: dict(zip(keys, chosen, strict=False)),
    lambda chosen, keys: set(keys),
    lambda chosen, keys: frozenset(keys),
    lambda chosen, keys: collections.deque(chosen, maxlen=9),
    lambda chosen, keys: collections.OrderedDict(zip(keys, chosen, strict=False)),
    lambda chosen, keys: collections.defaultdict(list, zip(keys, chosen, strict=False)),
    lambda chosen, keys: _attributes(Plain(), chosen),
    lambda chosen, keys: _slotted(chosen),
    lambda chosen, keys: _attributes(Items(chosen), chosen),
    lambda chosen, keys: Table(zip(keys, chosen, strict=False)),
    lambda chosen, keys: Word("w" * len(chosen)),
    lambda chosen, keys: _attributes(Setter(), [chosen]),
    lambda chosen, keys: Called(*chosen),
)
_NUMPY_MAKERS: tuple[Callable[[list[Any], list[Any]], Any], ...] = (
    lambda chosen, keys: np.float64(len(chosen)),
    lambda chosen, keys: np.arange(float(len(chosen))).reshape(1, -1),
    lambda chosen, keys: np.array(["a", None, *keys][: len(chosen)], dtype=object),
)


def _tie(target: Any, item: Any) -> None:
    if isinstance(target, list):
        target.append(item)
    elif isinstance(target, dict):
        target["tied"] = item
    elif isinstance(target, Plain):
        target.tied = item  # type: ignore[attr-defined]
    elif isinstance(target, Slotted):
        target.left = item  # type: ignore[misc]


# Programs


_ARGUMENTS: dict[str, Callable[[random.Random], bytes]] = {
    "BINBYTES": lambda s: _sized("<I", s.randbytes(s.randint(0, 3))),
    "BINBYTES8": lambda s: _sized("<Q", s.randbytes(s.randint(0, 3))),
    "BINFLOAT": lambda s: struct.pack(">d", s.choice([0.0, 1.5, -2e300])),
    "BINGET": lambda s: bytes([s.randrange(6)]),
    "BININT": lambda s: struct.pack("<i", s.randint(-9, 9)),
    "BININT1": lambda s: bytes([s.randrange(256)]),
    "BININT2": lambda s: s.randbytes(2),
    "BINPUT": lambda s: bytes([s.randrange(6)]),
    "BINSTRING": lambda s: _sized("<i", s.choice([b"", b"ab", b"\xff"])),
    "BINUNICODE": lambda s: _sized("<I", s.choice([b"", b"builtins", b"list", b"\xff"])),
    "BINUNICODE8": lambda s: _sized("<Q", s.choice([b"", b"a", b"\xed\xa0\x80"])),
    "BYTEARRAY8": lambda s: _sized("<Q", s.randbytes(s.randint(0, 3))),
    "FLOAT": lambda s: s.choice([b"1.5\n", b"-1e+16\n", b"nan\n", b"1_0.0\n", b" 1.0\n"]),
    "FRAME": lambda s: struct.pack("<Q", s.choice([4, 8, 30])),
    "GET": lambda s: s.choice([b"0\n", b"1\n", b"-1\n", b" 1\n"]),
    "GLOBAL": lambda s: s.choice(_GLOBALS).replace(".", "\n").encode() + b"\n",
    "INT": lambda s: s.choice([b"00\n", b"01\n", b"5\n", b"-17\n", b"0x1f\n", b"010\n", b"1_0\n"]),
    "LONG": lambda s: s.choice([b"5L\n", b"-12345678901234567890L\n", b"5\n", b"0x5L\n"]),
    "LONG1": lambda s: _sized("<B", s.randbytes(s.randint(0, 3))),
    "LONG4": lambda s: _sized("<i", s.randbytes(s.randint(0, 3))),
    "LONG_BINGET": lambda s: struct.pack("<I", s.randrange(6)),
    "LONG_BINPUT": lambda s: struct.pack("<I", s.randrange(6)),
    "PROTO": lambda s: bytes([s.randint(0, 6)]),
    "PUT": lambda s: s.choice([b"0\n", b"1\n", b"-1\n", b"01\n"]),
    "SHORT_BINBYTES": lambda s: _sized("<B", s.randbytes(s.randint(0, 3))),
    "SHORT_BINSTRING": lambda s: _sized("<B", s.choice([b"", b"ab", b"\xff"])),
    "SHORT_BINUNICODE": lambda s: _sized("<B", s.choice([b"", b"agreement", b"Plain", b"x"])),
    "STRING": lambda s: s.choice([b"'a'\n", b'"b"\n', b"'a\\x41'\n", b"''\n", b"'\n", b"a\n"]),
    "UNICODE": lambda s: s.choice([b"a\n", b"\\u20ac\n", b"\\u12\n", b"\xe9\n", b"\\\n"]),
}
_GLOBALS = [f"agreement.{cls.__name__}" for cls in OWN] + [
    "builtins.list", "builtins.set", "__builtin__.list", "builtins.bytearray", "builtins.eval",
]  # fmt: skip


def _sized(layout: str, content: bytes) -> bytes:
    return struct.pack(layout, len(content)) + content


_TAKES = {
    "APPEND": 2, "BUILD": 2, "NEWOBJ": 2, "NEWOBJ_EX": 3, "REDUCE": 2, "SETITEM": 3, "TUPLE1": 1,
    "TUPLE2": 2, "TUPLE3": 3, "STACK_GLOBAL": 2, "POP": 1, "DUP": 1, "PUT": 1, "BINPUT": 1,
    "LONG_BINPUT": 1, "MEMOIZE": 1, "STOP": 1, "BINPERSID": 1,
}  # fmt: skip
_KEEPS = {"PUT": 1, "BINPUT": 1, "LONG_BINPUT": 1, "MEMOIZE": 1, "APPEND": 1, "BUILD": 1}
_KEEPS |= {"SETITEM": 1, "DUP": 2, "STOP": 0, "POP": 0}
_GATHERS = {"APPENDS", "SETITEMS", "ADDITEMS"}
_MAKES = {"TUPLE", "LIST", "DICT", "FROZENSET", "OBJ", "INST"}
_PIECES: tuple[str, ...] = (
    "GLOBAL EMPTY_TUPLE NEWOBJ", "GLOBAL EMPTY_TUPLE REDUCE", "GLOBAL EMPTY_TUPLE EMPTY_DICT NEWOBJ_EX",
    "EMPTY_DICT BUILD", "NONE EMPTY_DICT TUPLE2 BUILD", "EMPTY_LIST NONE APPEND", "EMPTY_SET MARK",
    "EMPTY_DICT MARK", "EMPTY_LIST MARK", "MEMOIZE", "BINPUT", "BINGET", "TUPLE1 REDUCE", "POP GET",
    "EMPTY_DICT SHORT_BINUNICODE NONE SETITEM BUILD", "POP BINGET", "POP_MARK BINGET",
)  # fmt: skip


def program(source: random.Random) -> bytes:
    """Return a random program, often one that keeps stack and marks in order."""
    protocol = source.choice([0, 0, 2, 3, 4, 4, 5])
    parts = [bytes([0x80, protocol])] if protocol else []
    depths = [0]
    for _ in range(source.randint(1, 25)):
        words = source.choice([source.choice(_PIECES), source.choice(list(OPCODES))]).split()
        for word in words:
            if source.random() > 0.02 and not _fits(word, depths):
                continue
            parts.append(bytes([OPCODES[word][0]]) + _ARGUMENTS.get(word, lambda s: b"")(source))
            _step(word, depths)
    while len(depths) > 1:
        _step("LIST", depths)
        parts.append(b"l")
    if depths[0] > 1:
        parts = [*parts[:1], b"(", *parts[1:], b"t"] if protocol else [b"(", *parts, b"t"]
    return b"".join(parts) + b"."


def _fits(word: str, depths: list[int]) -> bool:
    if word == "STOP":
        return False
    if word in _GATHERS:
        return len(depths) > 1 and depths[-2] > 0
    if word in _MAKES or word == "POP_MARK":
        return len(depths) > 1
    return depths[-1] >= _TAKES.get(word, 0)


def _step(word: str, depths: list[int]) -> None:
    if word == "MARK":
        depths.append(0)
    elif word in _GATHERS or word in _MAKES or word == "POP_MARK":
        if len(depths) > 1:
            depths.pop()
        depths[-1] += word in _MAKES
    elif word not in ("PROTO", "FRAME"):
        depths[-1] = max(0, depths[-1] - _TAKES.get(word, 0)) + _KEEPS.get(word, 1)


def mutated(data: bytes, source: random.Random) -> bytes:
    """Return a program with a few bytes changed, put in, taken out or repeated."""
    changed = bytearray(data)
    for _ in range(source.randint(1, 3)):
        at = source.randrange(len(changed) or 1)
        match source.randrange(5):
            case 0:
                changed[at : at + 1] = source.randbytes(1)
            case 1:
                changed[at:at] = bytes([source.choice(list(OPCODES.values()))[0]])
            case 2:
                del changed[at : at + source.randint(1, 9)]
            case 3:
                changed[at:at] = changed[at : at + source.randint(1, 40)]
            case 4:
                changed[at : at + 1] = bytes([(changed[at : at + 1] or b"\0")[0] ^ 1])
    return bytes(changed)


# Runs of literals


def batch(source: random.Random) -> Any:
    """Return many literals of few kinds, as vocabularies, categories and lists of numbers hold them."""
    count = source.choice([10, 60, 100, 300, 1100])
    words = [f"{source.choice(_STEMS)}{number}" for number in range(count)]
    for _ in range(source.choice([0, 0, 2])):
        words[source.randrange(count)] = source.choice(_ODD_WORDS)
    numbers = source.choice(
        [[1, 2, 255], [256, 65535], [-1, 70000], [0.5, -0.0], [None, True, 3], words]
    )
    values = [source.choice(numbers) for _ in words]
    if source.random() < 0.3:
        values[source.randrange(count)] = source.choice([(), b"b", 2**40, "\x80."])
    made = source.choice([dict(zip(words, values, strict=True)), words, values, words + values])
    return source.choice([made, [made, {"again": made}], Called(made)])


_STEMS = ("", "w", "word", "a longer word with X and q and r", "x" * 250)
_ODD_WORDS = (
    "über",
    "\x80\x04.",
    "\xa0",
    "\ud800",
    "",
    "€" * 90,
    "x" * 2000,
    "\x94\x8c\x01",
    "q" * 12,
)


@contextmanager
def one_by_one() -> Iterator[None]:
    """Let the machine follow every opcode by itself."""
    take = runs.take
    runs.take = lambda m, data, at: at
    try:
        yield
    finally:
        runs.take = take


def told(data: bytes, domain: Callable[[], Any]) -> tuple[Any, ...]:
    """Return all that a run of the machine over a program leaves."""
    values = domain()
    machine = Machine(data, 0, values)
    try:
        ending: Any = machine.run()
    except BrokenProgramError as broken:
        ending = (broken.rule, broken.message, broken.severity, broken.offset)
    except Exception as error:  # what an object raises that is given something odd
        ending = repr(error)
    left = (ending, length_hint(values.steps), list(machine.memo), len(machine.stack))
    if isinstance(values, Facts):
        ledger = values.ledger
        return (*left, ledger.verdict(), ledger.findings(), ledger.names())
    # Whatever is the same as, or shared with, something else is told apart by a pickler.
    made = (machine.result, [*machine.memo.values()], machine.stack, machine.below)
    return (*left, pickle.dumps(made, 4))
