"""The service without its socket: records in, answers out, and whether both are still right."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from cannery.cans.manifest import CanManifest
from cannery.cans.open import Can, open_can
from cannery.errors import CanneryError, ProofError
from cannery.serving.canary import difference
from cannery.serving.choices import Answer
from cannery.serving.schema import Schema, columns, records_of
from cannery.serving.scorer import Scorer, open_scorer
from cannery.signatures import Batch, Canary

LIBRARIES = ("numpy", "onnxruntime", "sklearn", "skops", "lightgbm", "xgboost", "catboost")
"""What may score, by the names under which it is imported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether the canary came out as recorded."""

    healthy: bool
    reason: str | None = None
    """Why not."""


class Service:
    """A loaded can that answers records; shared by HTTP, command line, health and batch.

    Nothing in it changes, so that any number of threads may ask it.
    """

    __slots__ = ("_body", "_scorer", "canary", "digest", "manifest", "schema")

    def __init__(self, manifest: CanManifest, digest: str, canary: Canary, scorer: Scorer) -> None:
        self.manifest = manifest
        self.digest = digest
        self.canary = canary
        self._scorer = scorer
        self.schema = Schema(manifest.signature)
        self._body = msgspec.json.encode(canary.records)

    def decode(self, body: bytes) -> tuple[Batch, bool]:
        """Return the batch in a JSON body, and whether it is a single record.

        Raises MalformedError, or SchemaError with every issue.
        """
        return self.schema.decode(body)

    def encode(self, records: Sequence[Mapping[str, Any]]) -> Batch:
        """Return the batch of records; raises SchemaError with every issue."""
        return self.schema.encode(records)

    def answer(self, batch: Batch) -> Answer:
        """Return one array for each field of the answer; raises ProofError for one that can't be right."""
        if not len(batch):
            return {o.name: np.empty(0, dtype=object) for o in self.manifest.signature.outputs}
        return columns(self._scorer.score(batch), self.manifest.signature, len(batch))

    def predict(self, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Answer records, one for one; raises SchemaError or ProofError."""
        return records_of(self.answer(self.encode(records)))

    def predict_one(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one record; raises SchemaError or ProofError."""
        return self.predict([record])[0]

    def check(self) -> Health:
        """Send the canary through the same path as every request, and compare."""
        try:
            batch, _ = self.decode(self._body)
            answers = msgspec.json.decode(msgspec.json.encode(records_of(self.answer(batch))))
        except CanneryError as error:
            return Health(healthy=False, reason=f"the canary failed: {error.message}")
        except Exception as error:  # a health that can't be told is none
            return Health(healthy=False, reason=f"the canary failed: {type(error).__name__}")
        problem = difference(
            self.canary.outputs, answers, self.manifest.signature, self.canary.tolerance
        )
        reason = f"the canary is off: {problem}" if problem else None
        return Health(healthy=reason is None, reason=reason)

    def version(self) -> dict[str, Any]:
        """Return which model exactly: name, version, digest, source, runtime, and its proofs."""
        manifest = self.manifest
        return {
            "name": manifest.name,
            "version": manifest.version,
            "digest": self.digest,
            "task": manifest.task,
            "runtime": manifest.runtime,
            "source": msgspec.to_builtins(manifest.source),
            "parity": msgspec.to_builtins(manifest.parity),
            "audit": msgspec.to_builtins(manifest.audit),
            "libraries": _libraries(),
        }


def _libraries() -> dict[str, str]:
    """Return the versions of what scores here, as far as it is loaded."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in LIBRARIES:
        if version := getattr(sys.modules.get(name), "__version__", None):
            found[name] = str(version)
    return found


def load(can: Can, *, threads: int = 1) -> Service:
    """Load an opened can; raises CanError when its model or its canary can't be read."""
    return Service(can.manifest, can.digest, can.canary(), open_scorer(can, threads=threads))


def open_service(folder: Path) -> Service:
    """Open a can, load it, and check the canary once.

    Raises CanError when a digest does not hold, ProofError when the canary fails.
    """
    return healthy(open_can(folder))


def healthy(can: Can, *, threads: int = 1) -> Service:
    """Load an opened can and check the canary once; raises CanError or ProofError."""
    service = load(can, threads=threads)
    health = service.check()
    if not health.healthy:
        raise ProofError(
            f"'{service.manifest.name}' {service.manifest.version} is not healthy: {health.reason}",
            hint="the can is whole, but this runtime does not answer as the original did",
        )
    return service
