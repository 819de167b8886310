"""What to compose, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cannery.cans.manifest import CanManifest, Runtime
from cannery.images.lock import Lock, host_architecture
from cannery.oci.descriptors import Architecture, Media

Mode = Literal["bake", "pull"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that an image follows from: equal plans give equal digests."""

    lock: Lock
    can: Path | None = None
    """Folder of the can that is baked in; None in pull mode."""
    manifest: CanManifest | None = None
    """Of that can; in pull mode, of the one it is meant for, where that is known."""
    mode: Mode = "bake"
    media: Media = "docker"
    labels: Mapping[str, str] = field(default_factory=dict)
    """All labels; `labels_of` makes those of a can."""
    architecture: Architecture = field(default_factory=host_architecture)
    mirror: str | None = None
    """Where missing Debian packages are fetched from; no part of the result."""

    @property
    def runtime(self) -> Runtime:
        """What runs the model."""
        return self.lock.runtime
