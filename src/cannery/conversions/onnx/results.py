"""What an emitted estimator answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from cannery.conversions.onnx.columns import Block


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """The answer of a classifier, as wires."""

    classes: NDArray[Any]
    index: str
    """int64 [N]: position of the predicted label in `classes`."""
    probabilities: str | None = None
    """double [N, len(classes)]."""
    scores: str | None = None
    """double [N, 1] for two classes, else [N, columns]: the decision function."""
    columns: int | None = None
    """Of the scores, where these are not as many as the classes (one for two)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Several:
    """The answers of a classifier of several labels at once."""

    parts: tuple[Classified, ...]
    indicator: bool = False
    """Whether the original answers, for labels of 0 or 1, the probability of 1 alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """The answer of a regressor, as a wire."""

    value: str
    """double [N, columns]."""
    columns: int = 1
    flat: bool = True
    """Whether the original answers [N] rather than [N, columns]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clustered:
    """The answer of a clusterer, as a wire."""

    index: str
    """int64 [N]: number of the cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlying:
    """The answer of a detector of outliers, as wires."""

    inlier: str
    """int64 [N]: 1 for an inlier, 0 for an outlier."""
    scores: str
    """double [N, 1]: the decision function, lower where more abnormal."""


Result = Block | Classified | Several | Predicted | Clustered | Outlying


def width_of(result: Classified) -> int:
    """Return how many columns the scores have."""
    count = len(result.classes)
    return result.columns or (1 if count == 2 else count)
