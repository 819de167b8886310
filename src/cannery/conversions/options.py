"""How a conversion is made."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cannery.cans.manifest import Runtime
from cannery.errors import UsageError
from cannery.isolation.worker import IsolationOptions
from cannery.settings import EnvironmentSettings
from cannery.signatures import Feature


def _silent(_: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """What decides which runtime is taken, and how hard original and converted are compared."""

    runtime: Runtime | None = None
    """Take this runtime or fail; None: the most preferred that passes."""
    tolerance: float = 1e-6
    """Largest difference of a score; relative to max(1, |score|) but for probabilities."""
    features: tuple[Feature, ...] = ()
    """The `[features]` table: what is said of columns, above what was recorded."""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """The `[outputs]` table: name of an answered field → what it shows, as `settings.OutputChoice`."""
    environment: EnvironmentSettings = field(default_factory=EnvironmentSettings)
    """The `[environment]` table: Python and versions of the training, above what was recorded."""
    boundary: tuple[str, ...] = ()
    """Digests of pickles that may run as they are, where nothing safer holds the model."""
    seed: int = 0
    sample_cap: int = 2000
    """Rows of the sample that are compared."""
    threshold_cap: int = 8000
    """Rows beside split thresholds."""
    extreme_cap: int = 400
    """Rows with an extreme value; likewise for nulls and for unseen categories."""
    allow_weak_sandbox: bool = False
    """Open what is trusted, but not found safe, even where only resource limits hold it."""
    isolation: IsolationOptions = field(default_factory=IsolationOptions)
    progress: Callable[[str], None] = _silent
    """Told in a few words what is being done now."""

    def __post_init__(self) -> None:
        """Raise UsageError for a tolerance that no difference could be held to."""
        if not 0 <= self.tolerance < math.inf:
            raise UsageError(
                f"the tolerance is {self.tolerance:g}: no number from 0 on",
                hint="give --tolerance, or tolerance in [parity] of cannery.toml, such as 1e-6",
            )
