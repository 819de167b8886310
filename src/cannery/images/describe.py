"""What an image is, told by its documents alone: no layer is read for it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cannery.blobs import digest_bytes, parse_json
from cannery.errors import ImageError
from cannery.images.contents import CONTENTS, Contents, Included
from cannery.images.recipe import REASONS
from cannery.images.trees import LeftOut
from cannery.oci.documents import Config, Manifest, decode
from cannery.oci.layout import OURS


class LayerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A layer."""

    name: str
    """As Cannery calls it, or the command that made it."""
    reason: str
    """Why it is there; empty where somebody else made it."""
    diff_id: str
    """Digest of the unpacked tar."""
    digest: str | None
    """Of its bytes as they travel; None where an engine has kept only the tar."""
    size: int
    """Bytes as they travel, or as the engine keeps them."""
    packages: tuple[Included, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


class _Told(msgspec.Struct, frozen=True):
    """What Cannery alone writes into a config."""

    contents: tuple[Contents, ...] = msgspec.field(name=CONTENTS, default=())


class IndexFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What an image for several platforms is known by."""

    digest: str
    platforms: tuple[str, ...]


class ImageFacts(msgspec.Struct, frozen=True, kw_only=True):
    """An image of one platform."""

    id: str
    """Digest of the config."""
    digest: str | None
    """Digest of the manifest; None where an engine has not kept it."""
    platform: str
    created: str
    user: str
    argv: tuple[str, ...]
    layers: tuple[LayerFacts, ...]
    labels: dict[str, str]
    index: IndexFacts | None = None
    """Where it is one of several, in a registry."""
    attached: tuple[str, ...] = ()
    """What refers to it in its registry, by type: bill of materials, provenance, proof."""

    @property
    def size(self) -> int:
        """Bytes of all layers."""
        return sum(layer.size for layer in self.layers)

    @property
    def packages(self) -> dict[str, Included]:
        """Every package by name."""
        return {p.name: p for layer in self.layers for p in layer.packages}


def describe(config: bytes, manifest: bytes) -> ImageFacts:
    """Return what the two documents of an image tell; raises ImageError when they disagree."""
    document = decode(manifest, Manifest, "the manifest")
    facts = decode(config, Config, "the config")
    if len(document.layers) != len(facts.rootfs.diff_ids):
        raise ImageError(
            f"the manifest names {len(document.layers)} layers, the config {len(facts.rootfs.diff_ids)}"
        )
    return described(
        config,
        [layer.size for layer in document.layers],
        digests=[layer.digest for layer in document.layers],
        digest=digest_bytes(manifest),
    )


def described(
    config: bytes,
    sizes: Sequence[int],
    *,
    digests: Sequence[str] | None = None,
    digest: str | None = None,
) -> ImageFacts:
    """Return what a config tells; the sizes of its layers (and their digests as they travel) are found elsewhere."""
    facts = decode(config, Config, "the config")
    count = len(facts.rootfs.diff_ids)
    made = [step.created_by for step in facts.history if not step.empty_layer]
    made = made if len(made) == count else [f"layer {i + 1}" for i in range(count)]
    contents = _contents(config)
    return ImageFacts(
        id=digest_bytes(config),
        digest=digest,
        platform=f"{facts.os}/{facts.architecture}",
        created=facts.created or "",
        user=facts.config.user or "root",
        argv=facts.config.argv,
        layers=tuple(
            LayerFacts(
                name=" ".join(made[i].removeprefix(OURS).split()),
                reason=REASONS.get(made[i].removeprefix(OURS), ""),
                diff_id=diff_id,
                digest=None if digests is None else digests[i],
                size=size,
                packages=contents[i].packages if len(contents) == count else (),
                left_out=contents[i].left_out if len(contents) == count else (),
            )
            for i, (diff_id, size) in enumerate(zip(facts.rootfs.diff_ids, sizes, strict=True))
        ),
        labels=facts.config.labels or {},
    )


def _contents(config: bytes) -> tuple[Contents, ...]:
    try:
        return parse_json(config, _Told).contents
    except msgspec.DecodeError:
        return ()
