"""What is asked of a pack, and what of it goes into a can."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cannery.audits.policy import Cleared, Policy
from cannery.cans.manifest import AuditSummary, CanManifest, CanSource, ParitySummary, Runtime
from cannery.options import option
from cannery.settings import EnvironmentSettings
from cannery.signatures import Feature

if TYPE_CHECKING:
    from cannery.conversions.nouns import Conversion, Parity
    from cannery.conversions.options import ConvertOptions

PARITY = "parity.json"
"""The parity certificate in a can."""
CERTIFICATE = "parity.html"
"""The same as a page for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackOptions:
    """How a model is packed."""

    runtime: Runtime | None = field(
        default=None, metadata=option("Take this runtime or fail; by default the best that passes.")
    )
    name: str | None = field(
        default=None, metadata=option("Name of the model; by default its registered or file name.")
    )
    version: str | None = field(
        default=None, metadata=option("Version of the model; by default the registry's, else 0.")
    )
    tracking_uri: str | None = field(
        default=None, metadata=option("MLflow tracking server or store.", metavar="URI")
    )
    tolerance: float = field(default=1e-6, metadata=option("How far a converted score may be off."))
    allow_weak_sandbox: bool = field(
        default=False,
        metadata=option("Open the model even where only resource limits can hold it."),
    )
    force: bool = field(default=False, metadata=option("Replace an output that exists."))
    policy: Policy = field(default_factory=Policy)
    features: tuple[Feature, ...] = ()
    """The `[features]` table: what is said of columns, above what was recorded."""
    environment: EnvironmentSettings = field(default_factory=EnvironmentSettings)
    """The `[environment]` table: Python and versions of the training, above what was recorded."""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """The `[outputs]` table: name of an answered field → what it shows."""


def convert_options(options: PackOptions, note: Callable[[str], None]) -> ConvertOptions:
    """Return what of these options a conversion asks for; `note` is told what it does now."""
    from cannery.conversions.options import ConvertOptions

    return ConvertOptions(
        runtime=options.runtime,
        tolerance=options.tolerance,
        features=options.features,
        outputs=options.outputs,
        environment=options.environment,
        allow_weak_sandbox=options.allow_weak_sandbox,
        progress=note,
    )


def manifest_of(cleared: Cleared, conversion: Conversion, options: PackOptions) -> CanManifest:
    """Return `can.json` without its list of files, which sealing adds."""
    origin, artifact, parity = cleared.source.origin, conversion.artifact, conversion.parity
    return CanManifest(
        name=options.name or origin.name or "model",
        version=options.version or origin.version or "0",
        source=CanSource(
            given=origin.given,
            resolved=origin.resolved,
            digest=cleared.source.blob.digest,
            format=cleared.source.format,
            version=origin.version,
            stage=origin.stage,
            aliases=origin.aliases,
            run_id=origin.run_id,
            model_id=origin.model_id,
            metrics=origin.metrics,
        ),
        runtime=artifact.runtime,
        model=artifact.name,
        task=conversion.task,
        signature=conversion.signature,
        feeds=artifact.feeds,
        files={},
        parity=None
        if parity is None
        else ParitySummary(
            rows=parity.rows,
            maximum=parity.maximum,
            flips=parity.flips,
            tolerance=parity.tolerance,
        ),
        audit=AuditSummary(
            verdict=cleared.audit.verdict,
            names=len(cleared.names),
            policy=cleared.policy.digest,
            sandbox=conversion.sandbox,
        ),
        requirements=artifact.requirements,
        trusted=artifact.trusted,
        named=artifact.named,
        notes=conversion.notes,
    )


def parity_text(parity: Parity | ParitySummary, task: str) -> str:
    """Return on one line how far a converted model is from its original; labels, where it gives any."""
    labels = "" if task in ("regressor", "transformer") else f"{parity.flips} labels changed, "
    return f"{parity.rows} rows: {labels}largest difference {parity.maximum:.1e}"
