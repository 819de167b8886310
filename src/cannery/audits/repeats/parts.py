"""What a value of a pickle is made of, as far as the next one may be like it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class UnlikeError(Exception):
    """A value of which there is no outline."""


@dataclass(slots=True, eq=False)
class Part:
    """A value on the way: of a literal what it is, of the rest how it was made."""

    kind: str
    """`old`, from before it; `before`, the value of the row in front of it; `number`, `bytes`, `text`, `other`; `tuple`, `dict`, `list`, `made`, `array`,
    `encoded`."""
    value: Any = None
    """The value itself, of an object one that stands for all."""
    parts: tuple[Part, ...] = ()
    keys: tuple[str, ...] | None = None
    """Of a dictionary that was filled."""
    state: Part | None = None
    """Of an object that was given one."""
    free: bool = False
    """Whether it may differ in a repetition."""
    held: bool = False
    """Whether a rule looked at it, so that it may not."""
    size: int = 1
    """Values in a tuple, those within it too."""
    done: bool = False
    """Whether it was filled, or given its state."""

    @property
    def fixed(self) -> bool:
        """Return whether it is the same in every repetition, and can't be changed."""
        if self.kind in ("tuple", "encoded"):
            return all(part.fixed for part in self.parts)
        if self.kind in ("number", "bytes", "text"):
            return self.held or not self.free
        return self.kind in ("old", "other")

    def item(self, key: str) -> Part | None:
        """Return what a dictionary holds under a key."""
        keys = self.keys or ()
        return self.parts[keys.index(key)] if key in keys else None

    def hold(self) -> Any:
        """Return its value, which then is the same in every repetition; raises UnlikeError if it is long."""
        if not self.held:
            self.held = True
            if self.value is None and self.kind in ("bytes", "text"):
                raise UnlikeError
            for part in self.parts:
                part.hold()
        return self.value


@dataclass(slots=True, eq=False)
class Piece:
    """The bytes of an opcode that may differ."""

    kind: str
    """`number`, `bytes`, `text`, `put`, `get`, `raw`, `frame`; `place` of one that does not."""
    start: int
    stop: int
    part: Part | None = None
    index: int = 0
    """Of what is remembered or gotten, counted from the first entry of the value."""


@dataclass(slots=True, eq=False)
class Act:
    """Something that is done once all literals are known."""

    kind: str
    part: Part
    parts: tuple[Part, ...] = ()
    at: int = 0
    """Where its opcode stands, of what the bounds may judge; else 0."""


@dataclass(slots=True, eq=False)
class Sized:
    """An array whose shape must agree with its bytes."""

    shape: tuple[Part, ...]
    width: int
    content: Part
