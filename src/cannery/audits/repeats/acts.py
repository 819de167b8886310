"""How a value of a row is made of what differs in it: each act does what an opcode would do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from cannery.audits.opcodes import Data
from cannery.audits.repeats.forms import Slots
from cannery.audits.repeats.outlines import Reading
from cannery.audits.repeats.parts import Act, Part
from cannery.audits.values import Array, Dict, List, Made, Span, Tuple

Values = list[Any]
Natives = dict[Made, tuple[int, str]]


@dataclass(slots=True, eq=False)
class Making:
    """What a value is made into."""

    natives: Natives
    member: str
    root: Made | None = None
    """What becomes the value itself, where that is there already."""
    places: Iterator[int] = field(default_factory=lambda: iter(()))

    def watch(self, made: Made) -> None:
        """Remember what the bounds judge."""
        self.natives.setdefault(made, (next(self.places), self.member))


# Literals


LITERALS: dict[str, Callable[[Any, Data, list[int], int], tuple[Any, ...]]] = {
    "number": lambda _domain, _data, found, slot: (found[slot],),
    "buffer": lambda domain, data, found, slot: (
        domain.buffer(data, found[slot], found[slot + 1]),
    ),
    "bytes": lambda domain, data, found, slot: (domain.binary(data, found[slot], found[slot + 1]),),
    "raw": lambda _domain, data, found, slot: (Span(data, found[slot], found[slot + 1]),),
    "text": lambda _domain, data, found, slot: _text(data[found[slot] : found[slot + 1]].decode()),
}
"""What each makes of its place in the file; a text also the bytes that it stands for."""


def _text(text: str) -> tuple[str, bytes]:
    return text, text.encode("latin-1")


class Numbers:
    """Where the value of each part stands among all values."""

    def __init__(self, reading: Reading, root: Part, slots: Slots) -> None:
        self.root = root
        self.constants: Values = []
        self._of: dict[int, int] = {}
        for part in _every(reading):
            if (part.fixed or part.kind == "before") and id(part) not in self._of:
                self._of[id(part)] = len(self.constants)
                self.constants.append(part.value)
        self._count = len(self.constants)
        encoded: dict[int, list[Part]] = {}
        for act in reading.acts:
            if act.kind == "encoded":
                encoded.setdefault(id(act.parts[0]), []).append(act.part)
        for kind, part, _ in slots.literals:
            self.add(part)
            if kind == "text":
                self.add(*encoded.get(id(part), ()))

    def add(self, *parts: Part) -> None:
        """Number the value that is made next, and stands for these."""
        self._of.update((id(part), self._count) for part in parts)
        self._count += 1

    def of(self, part: Part) -> int:
        """Return the number of a part."""
        return self._of[id(part)]

    def all(self, parts: Iterable[Part]) -> tuple[int, ...]:
        """Return the numbers of some."""
        return tuple(self._of[id(part)] for part in parts)


def _every(reading: Reading) -> Iterator[Part]:
    for act in reading.acts:
        yield act.part
        yield from act.parts
        if act.kind == "assign":
            yield from act.part.parts
    yield from reading.memo


# Acts


_Act = Callable[[Values, Making], None]


def items(numbers: tuple[int, ...]) -> Callable[[Values], tuple[Any, ...]]:
    """Return what picks the values of these numbers."""
    if len(numbers) > 1:
        return itemgetter(*numbers)
    return lambda values: tuple(values[number] for number in numbers)


def _tuple(act: Act, numbers: Numbers) -> _Act:
    parts, names = items(numbers.all(act.parts)), act.part.value.names
    numbers.add(act.part)

    def make(values: Values, _making: Making) -> None:
        made = Tuple.__new__(Tuple)
        made.items, made.names = parts(values), names
        values.append(made)

    return make


def _dict(act: Act, numbers: Numbers) -> _Act:
    numbers.add(act.part)
    return lambda values, _making: values.append(Dict())


def _list(act: Act, numbers: Numbers) -> _Act:
    numbers.add(act.part)
    return lambda values, _making: values.append(List())


def _array(act: Act, numbers: Numbers) -> _Act:
    numbers.add(act.part)
    name, watched = act.part.value.name, bool(act.at)

    def make(values: Values, making: Making) -> None:
        values.append(made := Array(name))
        if watched:
            making.watch(made)

    return make


def _made(act: Act, numbers: Numbers) -> _Act:
    arguments = items(numbers.all(act.parts))
    numbers.add(act.part)
    name, watched, bare = act.part.value.name, bool(act.at), not act.parts
    is_root = act.part is numbers.root

    def make(values: Values, making: Making) -> None:
        made = making.root if is_root and making.root is not None else Made(name)
        made.built, made.state = False, None
        made.arguments = () if bare else arguments(values)[0].items
        values.append(made)
        if watched:
            making.watch(made)

    return make


def _assign(act: Act, numbers: Numbers) -> _Act:
    target, keys = numbers.of(act.part), act.part.keys or ()
    parts = items(numbers.all(act.part.parts))

    def assign(values: Values, _making: Making) -> None:
        made = values[target]
        made.items = dict(zip(keys, parts(values), strict=True))
        made.count = len(keys)

    return assign


def _append(act: Act, numbers: Numbers) -> _Act:
    target, parts = numbers.of(act.part), items(numbers.all(act.parts))
    return lambda values, _making: values[target].extend(parts(values))


def _state(act: Act, numbers: Numbers) -> _Act:
    target, state = numbers.of(act.part), numbers.of(act.parts[0])
    sealed = act.kind == "state"

    def build(values: Values, _making: Making) -> None:
        made, given = values[target], values[state]
        made.built, made.state = True, given
        given.sealed = sealed

    return build


def _filled(act: Act, numbers: Numbers) -> _Act:
    target = numbers.of(act.part)
    kind, shape, content, *state = numbers.all(act.parts)

    def fill(values: Values, _making: Making) -> None:
        made = values[target]
        made.fill(values[kind], values[shape].items, values[content])
        if state:
            made.built, made.state = True, values[state[0]]

    return fill


_ACTS: dict[str, Callable[[Act, Numbers], _Act]] = {
    "append": _append,
    "array": _array,
    "assign": _assign,
    "dict": _dict,
    "filled": _filled,
    "list": _list,
    "made": _made,
    "state": _state,
    "tuple": _tuple,
    "wrapped": _state,
}


def prepared(reading: Reading, numbers: Numbers) -> Iterator[_Act]:
    """Yield what is done to make a value, once its literals are known."""
    for act in reading.acts:
        if act.kind != "encoded" and not act.part.fixed:
            yield _ACTS[act.kind](act, numbers)
