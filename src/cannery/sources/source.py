"""The noun of the first station: bytes, and where they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from cannery.blobs import Blob
from cannery.signatures import Feature

Format = Literal[
    "pickle", "joblib", "skops", "onnx", "can", "xgboost", "lightgbm", "catboost",
    "torch", "numpy", "archive",
]  # fmt: skip
"""What the bytes of the model file are, found by content and never by suffix.

`joblib` is also any compressed pickle (joblib's containers); the names of boosters stand for their own
files; `archive` is any other zip or tar, `numpy` an array. An MLflow folder is a source whose `mlmodel`
is not None and whose format is that of the model file that it names."""


class Origin(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a model came from: a moving name becomes version, run and digest."""

    given: str
    """The URI as the user wrote it."""
    resolved: str
    """The same without anything that moves: `models:/churn-classifier/3`, or `churn.pkl@sha256:…`."""
    name: str | None = None
    """Registered model name, or the file's stem."""
    version: str | None = None
    stage: str | None = None
    aliases: tuple[str, ...] = ()
    run_id: str | None = None
    model_id: str | None = None
    """MLflow 3 logged model id, `m-<32 hex>`."""
    metrics: dict[str, float] = {}
    """Of the run, where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Bytes and where they came from; nothing in it was opened."""

    origin: Origin
    format: Format
    main: str
    """Name of the model file within `files`."""
    files: Mapping[str, Blob]
    """Every file, by its path relative to the model's folder (POSIX separators)."""
    mlmodel: Mapping[str, Any] | None = None
    """The parsed `MLmodel` document of an MLflow folder (safe YAML)."""
    features: tuple[Feature, ...] | None = None
    """From a recorded signature, else None."""
    example: tuple[dict[str, Any], ...] = ()
    """Recorded input example as records."""
    requirements: tuple[str, ...] = field(default=())
    """`name==version` lines recorded beside the model; mlflow itself left out."""
    python: str | None = None
    """Python version recorded beside the model, `3.11.7`."""

    @property
    def blob(self) -> Blob:
        """The model file itself."""
        return self.files[self.main]
