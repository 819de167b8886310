"""What is asked of a build, and what it gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import msgspec

from cannery.attestations.advisories import Report
from cannery.budgets import Budgets
from cannery.cans.manifest import CanManifest
from cannery.cans.open import Can
from cannery.deliveries import FORMS
from cannery.images.lock import DEBIAN, Lock, host_architecture
from cannery.images.plan import Mode
from cannery.images.recipe import Extra
from cannery.oci.descriptors import Architecture, Image, Media
from cannery.oci.references import Reference
from cannery.options import option
from cannery.packs import PARITY
from cannery.progress import Progress, station
from cannery.proofs.nouns import Proof

PlatformName = Literal["linux/amd64", "linux/arm64"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """How an image is built."""

    mode: Mode = field(
        default="bake",
        metadata=option("Bake the can in, or leave it out and pull it at start from MODEL_URI."),
    )
    media: Media = field(
        default="docker", metadata=option("Media types; Docker's keep the health check.")
    )
    to: tuple[str, ...] = field(
        default=(),
        metadata=option(f"Where it goes: {FORMS}; may be given more than once.", metavar="DEST"),
    )
    can: Path | None = field(
        default=None, metadata=option("Keep the can in this folder too.", metavar="FOLDER")
    )
    engine: str | None = field(
        default=None,
        metadata=option("docker, podman or sandbox: where the image is tried.", metavar="NAME"),
    )
    platform: tuple[PlatformName, ...] = field(
        default=(),
        metadata=option("What it is made for; given twice, for both [default: this machine]."),
    )
    extra: tuple[Extra, ...] = field(
        default=(),
        metadata=option(
            "grpc: the service answers remote calls too, on port 8081; parquet: it reads Parquet bodies."
        ),
    )
    compression: Literal["gzip", "zstd"] = field(
        default="gzip",
        metadata=option(
            "Of layers in a registry or layout; engines older than Docker 23 read gzip."
        ),
    )
    budgets: Budgets = field(default_factory=Budgets)
    base: str = DEBIAN
    """`debian`, or an image of a registry."""
    mirror: str | None = None
    """Address of a Debian mirror; None: as apt is configured."""
    lock: Path = Path("cannery.lock")
    """The lock that is used, and written where it is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A proven image, and where it is."""

    manifest: CanManifest
    can_digest: str
    image: Image
    """The one that was tried, or of several platforms the first."""
    reference: Reference
    proof: Proof | None
    """None where this machine starts none of the platforms."""
    advisories: tuple[Report, ...]
    """What is known of the packages of each platform, where advisories were given."""
    delivered: tuple[str, ...]
    """Where it is, for people."""


def architectures_of(platforms: Sequence[PlatformName]) -> tuple[Architecture, ...]:
    """Return what images are made for, sorted and each once; without any, this machine."""
    names = {cast("Architecture", name.partition("/")[2]) for name in platforms}
    return tuple(sorted(names)) or (host_architecture(),)


def needed_architectures(wanted: Sequence[Architecture]) -> tuple[Architecture, ...]:
    """Return what a lock must cover: what is wanted, and this machine, whose Python compiles."""
    return tuple(sorted({*wanted, host_architecture()}))


def tell_python(can: Can, lock: Lock, progress: Progress) -> None:
    """Say so where an estimator will run under another Python than the one under which it was compared."""
    if can.manifest.runtime not in ("skops", "pickle") or PARITY not in can.manifest.files:
        return
    compared = msgspec.json.decode(can.read(PARITY))["versions"].get("python", "")
    minor = ".".join(compared.split(".")[:2])
    if compared and minor != ".".join(lock.python.split(".")[:2]):
        with station("python", progress) as work:
            work.result(
                f"the estimator was compared under Python {compared} and will run under "
                f"{lock.python}: the proof decides (a base with Python {minor} would run the same)"
            )
