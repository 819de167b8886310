"""The manifest and the canary of a toy: a service of a few lines that can misbehave."""

from __future__ import annotations

from cannery.cans.manifest import AuditSummary, CanManifest, CanSource
from cannery.signatures import Canary, Feature, Output, Signature

ZERO = "sha256:" + "0" * 64
DIGEST = "sha256:" + "d" * 64
"""Of the toy's can."""
TOY = CanManifest(
    name="toy",
    version="1",
    source=CanSource(given="toy", resolved="toy", digest=ZERO, format="onnx"),
    runtime="onnx",
    model="model.onnx",
    task="regressor",
    signature=Signature(
        features=(Feature(name="a", type="double"), Feature(name="b", type="double")),
        outputs=(Output(name="score", type="double", tensor="prediction"),),
    ),
    files={},
    audit=AuditSummary(verdict="safe", names=0, policy=ZERO, sandbox="none"),
)
CANARY = Canary(
    records=({"a": 1, "b": 0}, {"a": 2, "b": 0}), outputs=({"score": 0.25}, {"score": 0.5})
)
