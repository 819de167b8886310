"""Why a model can't become ONNX, and what would make it: every runtime tried, and every step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import msgspec
import pyarrow as pa

from cannery.audits.policy import Cleared
from cannery.cans.manifest import Runtime
from cannery.conversions.choose import candidates, located, opened, study_of, table_for, tried
from cannery.conversions.nouns import Obstacle
from cannery.conversions.options import ConvertOptions
from cannery.conversions.parity import remedy, verdict
from cannery.errors import CanError, ConversionError, ProofError


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """How one runtime did."""

    runtime: Runtime
    outcome: Literal["equal", "differs", "fails"]
    reason: str
    hint: str | None = None
    """What would make it pass."""
    worst: dict[str, Any] | None = None
    """Where it differs: the row that is furthest off, with both answers."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What each runtime makes of a model, and which of its parts stand in the way of ONNX."""

    model: str
    type: str
    trials: tuple[Trial, ...]
    """In the order of preference; the first that is equal is taken."""
    obstacles: tuple[Obstacle, ...]

    @property
    def converts(self) -> bool:
        """Whether ONNX answers as the original does."""
        return any(t.runtime == "onnx" and t.outcome == "equal" for t in self.trials)


def explain(cleared: Cleared, *, sample: pa.Table | None, options: ConvertOptions) -> Explanation:
    """Try every runtime that could hold the model, and each of its steps where ONNX can't.

    Raises ConversionError when the original itself can't be asked, SchemaError, IsolationError.
    """
    source, options = cleared.source, replace(options, boundary=cleared.policy.boundary)
    with opened(cleared, options) as original:
        study = study_of(original, source, table_for(source, sample), options)
        trials: list[Trial] = []
        obstacles: tuple[Obstacle, ...] = ()
        for runtime in candidates(original.description, source, options):
            try:
                _, parity = tried(runtime, original, study, source, options)
            except (ConversionError, CanError, ProofError) as error:
                trials.append(
                    Trial(runtime=runtime, outcome="fails", reason=error.message, hint=error.hint)
                )
                if runtime == "onnx":
                    obstacles = original.explain(study.signature.features)
                continue
            if parity.equal:
                ran = f", under Python {parity.versions['python']}" if runtime == "skops" else ""
                reason = f"{verdict(parity)}{ran}"
                trials.append(Trial(runtime=runtime, outcome="equal", reason=reason))
                continue
            where = located(original, study, parity)
            trials.append(
                Trial(
                    runtime=runtime,
                    outcome="differs",
                    reason=f"{verdict(parity)}{where}",
                    hint=remedy(parity),
                    worst=parity.worst,
                )
            )
    return Explanation(
        model=source.origin.given,
        type=study.description.type,
        trials=tuple(trials),
        obstacles=obstacles,
    )
