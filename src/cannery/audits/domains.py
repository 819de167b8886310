"""What a pickle machine works on: placeholders when a file is audited, objects when it is opened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from cannery.audits.limits import Limits
from cannery.audits.opcodes import Data

if TYPE_CHECKING:
    from cannery.audits.machine import Machine


@dataclass(frozen=True, slots=True)
class Raw:
    """Array bytes that follow in the stream."""

    array: Any
    """What the domain knows of the array."""
    size: int | None
    """Bytes; None where a pickle of objects follows."""
    alignment: int | None
    """Of joblib's padding, None where there is none."""


class Repeating(Protocol):
    """Makes values that are like the one before it."""

    def take(self, m: Machine, data: Data, at: int) -> int:
        """Push those that follow a value, if any do; returns where the next opcode stands."""

    def recall(self, m: Machine, index: int) -> Any:
        """Return what is remembered under an index, and was not made so far."""


class Domain(Protocol):
    """The values of a machine. Offsets are those of the opcode at hand."""

    limits: Limits
    steps: Iterator[Any]
    """One for every opcode that may be followed, over all nested programs."""

    def repeats(self) -> Repeating | None:
        """Return what makes the repetitions of one program, None where each opcode is followed."""

    def refuse(self, rule: str, message: str, offset: int) -> None:
        """Object to what no pickler writes; may return, and the machine goes on."""

    def text(self, data: Data, at: int, end: int, coding: str) -> Any:
        """Return a string; raises UnicodeDecodeError."""

    def binary(self, data: Data, at: int, end: int) -> Any:
        """Return a bytes object."""

    def buffer(self, data: Data, at: int, end: int) -> Any:
        """Return a bytearray."""

    def tuple_of(self, items: tuple[Any, ...]) -> Any:
        """Return a tuple."""

    def frozenset_of(self, items: tuple[Any, ...]) -> Any:
        """Return a frozenset."""

    def new_list(self) -> Any:
        """Return an empty list."""

    def new_dict(self) -> Any:
        """Return an empty dictionary."""

    def new_set(self) -> Any:
        """Return an empty set."""

    def append(self, target: Any, items: list[Any], offset: int) -> None:
        """Add items to the end of what should be a list."""

    def assign(self, target: Any, items: list[Any], offset: int) -> None:
        """Set items, key and value in turn, of what should be a dictionary."""

    def add(self, target: Any, items: list[Any], offset: int) -> None:
        """Add items to what should be a set."""

    def find(self, module: Any, qualname: Any, protocol: int, offset: int) -> Any:
        """Return a global."""

    def call(self, function: Any, arguments: Any, offset: int) -> Any:
        """Return what a call returns."""

    def make(self, cls: Any, arguments: Any, keywords: Any, offset: int) -> Any:
        """Return an object made by `cls.__new__`; `keywords` is None where the opcode has none."""

    def build(self, target: Any, state: Any, offset: int) -> Raw | None:
        """Set a state; returns the array whose bytes joblib puts behind its wrapper, if it was one."""

    def filled(self, raw: Raw, data: Data, at: int) -> Any:
        """Return the array whose bytes begin at `at`."""

    def followed(self, raw: Raw, result: Any) -> Any:
        """Return the array of objects that a nested program made."""

    def finish(self, result: Any) -> None:
        """Take note of what a program leaves when it stops."""
