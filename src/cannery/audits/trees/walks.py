"""Trees as arrays: every index points at something, and no walk goes round in circles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


class BadModelError(Exception):
    """A model that can't be read, or whose indices lead astray (`unsafe`); the message says where."""

    def __init__(self, message: str, *, unsafe: bool = False) -> None:
        super().__init__(message)
        self.unsafe = unsafe


class UncheckedModelError(BadModelError):
    """A model with parts that no rule here can judge."""


def hostile(message: str) -> BadModelError:
    """Return the error for numbers that native code would follow out of bounds."""
    return BadModelError(message, unsafe=True)


def integers(value: Any, what: str) -> Indices:
    """Return a list of integers as an array; raises BadModelError for anything else."""
    try:
        found = np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise BadModelError(f"{what} is no list of integers") from error
    if found.ndim != 1 or (found.size and found.dtype.kind not in "biu"):
        raise BadModelError(f"{what} is no list of integers")
    if found.dtype.kind == "u" and found.size and found.max() > np.iinfo(np.int64).max:
        raise BadModelError(f"{what} has an integer that is too large")
    return found.astype(np.int64)


def within(values: Indices, low: int, high: int, what: str) -> None:
    """Raise BadModelError unless every value is at least `low` and below `high`."""
    if values.size and (values.min() < low or values.max() >= high):
        worst = int(values.min() if values.min() < low else values.max())
        raise hostile(f"{what} is {worst}, where {low} to {high - 1} exist")


def check_walk(children: Indices, nodes: int, what: str) -> None:
    """Raise BadModelError unless each node but the first, the root, is the child of at most one.

    With that no walk from the root can come back to where it was.
    """
    within(children, 0, nodes, f"a child in {what}")
    parents = np.bincount(children, minlength=nodes)
    if parents.max(initial=0) > 1 or parents[0]:
        raise hostile(f"{what} goes round in circles, or shares nodes")
