"""The nouns of conversion: what the original is, how it will run, and the proof that both agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from cannery.cans.manifest import Feed, Runtime
from cannery.signatures import Canary, Signature

Task = Literal["classifier", "regressor", "transformer", "outlier", "cluster", "graph"]


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """What the fitted estimator itself knows of one input column."""

    name: str
    """As fitted, or `x0`, `x1` … where it was fitted without names."""
    categories: tuple[str | int | float | bool, ...] | None = None
    unseen: bool = True
    """False where an encoder raises on values outside `categories`."""
    categorical: bool = False
    """Whether it was fitted on a column of pandas' dtype `category`."""
    none: bool = False
    """Whether a missing text was None in training, and not NaN."""
    text: bool = False
    """Whether it is cut into terms."""
    span: tuple[float, float, bool] | None = None
    """Where its numbers lie, as its first step tells: lowest, highest, and whether training saw these."""


class Obstacle(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a model that can't become ONNX."""

    step: str
    """Where it stands, as parameters are named: `columns__scale`."""
    type: str
    reason: str
    hint: str | None = None
    """What would make it convert."""


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What the opened original says of itself."""

    type: str
    """Class of the outermost estimator, `sklearn.pipeline.Pipeline`."""
    steps: tuple[str, ...]
    """Class names along the pipeline, for people."""
    path: tuple[str, ...] = ()
    """Names of the steps of a pipeline."""
    task: Task
    columns: tuple[Column, ...]
    named: bool
    """Whether it must be given a data frame with these column names."""
    classes: tuple[str | int | float | bool, ...] | None = None
    labels: tuple[tuple[str | int | float | bool, ...], ...] = ()
    """The classes of each label, where several are answered at once."""
    probabilities: bool = False
    outputs: int = 1
    """Number of outputs of a regressor or columns of a transformer."""
    output_names: tuple[str, ...] = ()
    """Names of a transformer's columns, where it knows them."""
    library: Runtime | None = None
    """The library in whose own file the whole model can be kept: that of a booster."""
    versions: dict[str, str] = {}
    """Versions of the libraries in the worker: scikit-learn, numpy, scipy, pandas, those of boosters, skops, onnx."""
    python: str = ""
    """Version of the Python in the worker."""
    assumed: tuple[str, ...] = ()
    """Libraries of which nothing told the version that wrote the model."""


Kind = Literal["sample", "threshold", "null", "unseen", "extreme"]
"""Of the rows that are compared."""

DECADES = tuple(10.0**n for n in range(-17, 1))
"""Differences at which rows are counted apart."""


class Point(msgspec.Struct, frozen=True, array_like=True):
    """One row of a plot: its kind, and its score by both; of several, the one that differs most."""

    kind: Kind
    original: float
    converted: float


class Differences(msgspec.Struct, frozen=True, kw_only=True):
    """Original against converted, over the rows of one kind."""

    kind: Kind
    rows: int
    maximum: float
    """Largest |original - converted| over all scores (relative to max(1, |original|) for regressors)."""
    percentile999: float
    flips: int
    decades: tuple[int, ...] = ()
    """Rows without any difference, then those with one below each of `DECADES`, then those with a larger."""


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """The parity certificate (`parity.json`)."""

    runtime: Runtime
    tolerance: float
    differences: tuple[Differences, ...]
    worst: dict[str, Any] | None = None
    """The record with the largest difference, with both answers."""
    refused: tuple[str, ...] = ()
    """What the original refuses, and the schema therefore too; and what it leaves to chance."""

    decided: tuple[str, ...] = ()
    """Fields of `[outputs]` that are decided from scores: where one of them changes, a label did."""

    points: tuple[Point, ...] = ()
    """Some rows of each kind, those that differ most among them."""
    versions: dict[str, str] = {}
    """Python and libraries with which the original was asked."""

    @property
    def rows(self) -> int:
        """Rows tried."""
        return sum(d.rows for d in self.differences)

    @property
    def maximum(self) -> float:
        """Largest difference over all kinds."""
        return max((d.maximum for d in self.differences), default=0.0)

    @property
    def flips(self) -> int:
        """Labels that changed."""
        return sum(d.flips for d in self.differences)

    @property
    def equal(self) -> bool:
        """Whether the gate is passed: no flip, no difference above tolerance (NaN fails)."""
        return self.flips == 0 and self.maximum <= self.tolerance


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """The model in the form in which it will run."""

    runtime: Runtime
    name: str
    """File name inside the can."""
    data: bytes
    feeds: tuple[Feed, ...] = ()
    requirements: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()
    """Types that skops may build when it opens the model (skops only)."""
    named: bool = False
    """Whether the estimator must be given a data frame with the features' names (not ONNX)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """Artifact and proof: what the line seals into a can."""

    artifact: Artifact
    task: Task
    signature: Signature
    canary: Canary
    parity: Parity | None
    description: Description | None
    sandbox: str
    notes: tuple[str, ...]
    """Why each more preferred runtime was not taken, one line each."""
