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


Result = Block | Classified | Predicted | Clustered
