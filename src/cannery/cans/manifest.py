"""`can.json`: the sealed model package on one page."""

from __future__ import annotations

from typing import Literal

import msgspec

from cannery.blobs import parse_json
from cannery.signatures import Signature

Runtime = Literal["onnx", "catboost", "lightgbm", "xgboost", "skops", "pickle"]
"""What opens the model: ONNX Runtime, a booster's own library, skops, or pickle within its boundary."""


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a text is cut into the terms that a graph counts."""

    analyzer: Literal["word", "char", "char_wb"]
    """Words, runs of characters, or runs of characters within words."""
    low: int
    """Shortest run of words or characters."""
    high: int
    width: int
    """Terms that the graph counts."""
    pattern: str = r"(?u)\b\w\w+\b"
    """What a word is, as a regular expression."""
    lowercase: bool = True
    accents: Literal["ascii", "unicode"] | None = None
    """How accents are taken off."""
    stop: tuple[str, ...] = ()
    """Words that are left out."""
    buckets: int = 0
    """Where there are any: a term is the number of the bucket into which it is hashed, below 0 by half of the hashes."""


class Feed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One input of a graph and the features that fill it, as columns."""

    input: str
    """Name of the graph's input."""
    dtype: Literal["float64", "float32", "int64", "bool", "string"]
    features: tuple[str, ...]
    rank: Literal[1, 2] = 2
    """2: [rows, len(features)]. 1: [rows], for a graph that takes vectors."""
    terms: Terms | None = None
    """For one text: it is cut into terms, [rows, terms]."""


class File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of the can."""

    digest: str
    size: int


class CanSource(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Lineage: the name as given, and what it resolved to."""

    given: str
    resolved: str
    digest: str
    """Of the model file that was converted."""
    format: str
    version: str | None = None
    stage: str | None = None
    aliases: tuple[str, ...] = ()
    run_id: str | None = None
    model_id: str | None = None
    metrics: dict[str, float] = {}


class ParitySummary(msgspec.Struct, frozen=True, kw_only=True):
    """The parity certificate on one line."""

    rows: int
    maximum: float
    """Largest |original - converted| over all scores."""
    flips: int
    """Rows whose label changed."""
    tolerance: float


class AuditSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The audit on one line."""

    verdict: str
    names: int
    policy: str
    """Digest of the policy."""
    sandbox: str
    """The isolation reached when the file was opened: `bubblewrap`, `landlock`, `rlimits`, or `none` (never opened)."""


class CanManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about the package but its bytes; its SHA-256 in canonical JSON names the can."""

    schema_version: Literal[1] = 1
    name: str
    version: str
    source: CanSource
    runtime: Runtime
    model: str
    """Name of the model file: `model.onnx`, `model.ubj`, `model.skops`."""
    task: Literal["classifier", "regressor", "transformer", "outlier", "cluster", "graph"]
    signature: Signature
    feeds: tuple[Feed, ...] = ()
    """How a graph is fed (ONNX only)."""
    trusted: tuple[str, ...] = ()
    """Types that skops may build when it opens the model: audited and reviewed (skops only)."""
    named: bool = False
    """Whether the estimator must be given a data frame with the features' names (not ONNX)."""
    files: dict[str, File]
    """Every file of the can but `can.json`."""
    parity: ParitySummary | None = None
    """None where nothing was converted (an ONNX file given as such)."""
    audit: AuditSummary
    requirements: tuple[str, ...] = ()
    """`name==version` that the runtime needs beyond its own, e.g. scikit-learn for skops."""
    notes: tuple[str, ...] = ()
    """Why more preferred runtimes were not chosen."""


def read_manifest(data: bytes) -> CanManifest:
    """Decode `can.json`; raises msgspec.ValidationError or msgspec.DecodeError."""
    return parse_json(data, CanManifest)
