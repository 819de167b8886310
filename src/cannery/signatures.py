"""What a model takes and answers: features, outputs, and the batch in which rows travel."""

from __future__ import annotations

from math import inf, nextafter
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:  # what only reads a manifest starts without numpy
    import numpy as np
    from numpy.typing import NDArray

Kind = Literal["double", "long", "boolean", "string"]
"""Types of a feature, in MLflow's words. Every number is computed in double."""

NULL_STRING = "\x00null"
"""Stands for a missing string inside a batch and a graph; never accepted from a caller."""

LARGEST = 1e300
"""Magnitude of the largest number that is taken at all: beyond it the first sum or scale overflows."""

_ROUND = 1000
"""Smaller whole numbers are round."""


class Feature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One input column."""

    name: str
    type: Kind
    nullable: bool = False
    """Whether the original scores a row in which this is missing."""
    categories: tuple[str | int | float | bool, ...] | None = None
    """The values seen in training, where the model knows them."""
    unseen: bool = True
    """Whether the original scores a value outside `categories`."""
    categorical: bool = False
    """Whether the original takes a column of pandas' dtype `category`, with exactly `categories`."""
    none: bool = False
    """Whether the original takes None for a missing text, and not NaN."""
    minimum: float | None = None
    """Smallest value in the sample (numbers only)."""
    maximum: float | None = None
    least: float | None = None
    """Smallest number that the original answers; it refuses all that are smaller."""
    most: float | None = None
    """Largest number that the original answers."""

    @property
    def range(self) -> str:
        """What numbers are answered, in words: `above 0`, `from -1 to 1`; empty where all are."""
        if self.least is not None and self.most is not None:
            return f"from {_shortest(self.least)} to {_shortest(self.most)}"
        if self.least is not None:
            edge = beyond(self.least, -inf)
            return f"at least {_shortest(self.least)}" if edge is None else f"above {edge:g}"
        if self.most is not None:
            edge = beyond(self.most, inf)
            return f"at most {_shortest(self.most)}" if edge is None else f"below {edge:g}"
        return ""


def _shortest(number: float) -> str:
    """Return a number in digits that say exactly this one, and as few as that takes."""
    return next(t for n in (15, 16, 17) if float(t := f"{number:.{n}g}") == number)


def beyond(bound: float, side: float) -> float | None:
    """Return the round number that is next to a bound on this side: it is what is meant, and left out."""
    edge = nextafter(bound, side)
    return edge if edge.is_integer() and abs(edge) < _ROUND else None


class Output(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One answered field, and where it stands in the raw outputs of the scorer."""

    name: str
    type: Kind
    tensor: str
    """Name of the raw output: `label`, `probabilities` or `prediction` for what Cannery converts."""
    column: int | None = None
    """Column of that tensor; None where it is a vector."""
    classes: tuple[str | int | float | bool, ...] | None = None
    """For a label: its possible values. For a probability: the one class it speaks of."""
    probability: bool = False
    """Whether the value must lie in [0, 1]."""
    threshold: float | None = None
    """Answers one of its two `classes`: the second where the value is at least this."""
    rank: int | None = None
    """Answers of the tensor's columns the one in this place, 1 for the largest: its value where it is a
    probability, else which of the `classes` it is."""
    of: str | int | float | bool | None = None
    """The class whose probability the threshold is for."""
    given: tuple[str | int | float | bool, ...] | None = None
    """The model's own classes, one for one, where a label is answered under other names."""

    @property
    def own(self) -> tuple[str | int | float | bool, ...]:
        """The classes as the model names them."""
        return self.given or self.classes or ()

    @property
    def labels(self) -> bool:
        """Whether it is the label of a row, as the model has it or by a threshold."""
        return self.rank is None and (self.tensor == "label" or self.given is not None)


class Signature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The columns in the model's own order, and the fields of the answer."""

    features: tuple[Feature, ...]
    outputs: tuple[Output, ...]

    @property
    def numbers(self) -> tuple[Feature, ...]:
        """The features that travel in `Batch.numbers`, in order."""
        return tuple(f for f in self.features if f.type != "string")

    @property
    def strings(self) -> tuple[Feature, ...]:
        """The features that travel in `Batch.strings`, in order."""
        return tuple(f for f in self.features if f.type == "string")


class Batch(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Rows as two dense blocks, columns in the signature's order.

    `numbers` is float64 [rows, len(signature.numbers)], NaN where null (long and boolean included);
    `strings` is object (of str) [rows, len(signature.strings)], `NULL_STRING` where null.
    """

    numbers: NDArray[np.float64]
    strings: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, rows: slice | NDArray[np.intp]) -> Batch:
        """Return the batch of these rows."""
        return Batch(numbers=self.numbers[rows], strings=self.strings[rows])


def concatenate(batches: list[Batch]) -> Batch:
    """Stack batches of one signature."""
    import numpy as np

    return Batch(
        numbers=np.concatenate([b.numbers for b in batches]),
        strings=np.concatenate([b.strings for b in batches]),
    )


Raw = dict[str, "NDArray[Any]"]
"""What a scorer answers: tensor name → array of [rows] or [rows, columns]."""


class Canary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The golden records with the answers that the original gave, and how far an answer may be off."""

    records: tuple[dict[str, Any], ...]
    outputs: tuple[dict[str, Any], ...]
    tolerance: float = 1e-6
    """Absolute for probabilities; relative to max(1, |expected|) otherwise."""
