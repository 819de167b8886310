"""Descriptors, layers and images: the nouns of the OCI image specification."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from cannery.blobs import digest_bytes
from cannery.oci.contents import Content

Media = Literal["docker", "oci"]
Compression = Literal["none", "gzip", "zstd"]
Architecture = Literal["amd64", "arm64"]

MANIFEST = {
    "docker": "application/vnd.docker.distribution.manifest.v2+json",
    "oci": "application/vnd.oci.image.manifest.v1+json",
}
CONFIG = {
    "docker": "application/vnd.docker.container.image.v1+json",
    "oci": "application/vnd.oci.image.config.v1+json",
}
LAYER_TAR = {
    "docker": "application/vnd.docker.image.rootfs.diff.tar",
    "oci": "application/vnd.oci.image.layer.v1.tar",
}
LAYER_TYPES: dict[tuple[Media, Compression], str] = {
    ("docker", "none"): LAYER_TAR["docker"],
    ("docker", "gzip"): "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ("oci", "none"): LAYER_TAR["oci"],
    ("oci", "gzip"): "application/vnd.oci.image.layer.v1.tar+gzip",
    ("oci", "zstd"): "application/vnd.oci.image.layer.v1.tar+zstd",
}
"""Docker's own media types know no zstd."""
INDEX = "application/vnd.oci.image.index.v1+json"
INDEXES = (INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
"""What an index of several platforms may call itself."""


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Type, digest and size of a piece of content."""

    media_type: str = msgspec.field(name="mediaType")
    digest: str
    size: int
    annotations: dict[str, str] = {}
    artifact_type: str | None = msgspec.field(name="artifactType", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer and where its bytes stand, as they travel."""

    name: str
    """What it holds, for people: `base`, `python`, `numpy`, `onnxruntime`, `dependencies`, `serving`, `can`."""
    content: Content
    """The bytes as they travel (compressed, or the plain tar)."""
    digest: str
    """Of those bytes."""
    size: int
    """Their number."""
    diff_id: str
    """Digest of the uncompressed tar."""
    unpacked: int
    """Bytes of the uncompressed tar."""
    compression: Compression

    @property
    def path(self) -> Path:
        """The one file that it stands in; raises ValueError for a layer that is put together as it is read."""
        (only,) = self.content.parts
        assert isinstance(only, Path)
        return only

    @property
    def compressed(self) -> bool:
        """Whether the bytes that travel are not the plain tar."""
        return self.compression != "none"

    def media_type(self, media: Media) -> str:
        """Return how a manifest names this kind of layer."""
        return LAYER_TYPES[media, self.compression]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """Config, layers and manifest of one platform."""

    config: bytes
    manifest: bytes
    layers: tuple[Layer, ...]
    media: Media
    architecture: Architecture = "amd64"

    @property
    def digest(self) -> str:
        """Digest of the manifest: the image's name in a registry."""
        return digest_bytes(self.manifest)

    @property
    def descriptor(self) -> Descriptor:
        """Type, digest and size of the manifest."""
        kind = MANIFEST[self.media]
        return Descriptor(media_type=kind, digest=self.digest, size=len(self.manifest))

    @property
    def id(self) -> str:
        """Digest of the config: the image's id in Docker and Podman."""
        return digest_bytes(self.config)

    @property
    def size(self) -> int:
        """Bytes of all layers as they travel."""
        return sum(layer.size for layer in self.layers)

    @property
    def unpacked(self) -> int:
        """Bytes of all layers uncompressed."""
        return sum(layer.unpacked for layer in self.layers)

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the config."""
        document: dict[str, Any] = msgspec.json.decode(self.config)
        labels: dict[str, str] = document.get("config", {}).get("Labels") or {}
        return labels


def manifest_of(config: bytes, layers: tuple[Layer, ...], media: Media) -> bytes:
    """Return the manifest document of these layers, the same bytes every time."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST[media],
        "config": {
            "mediaType": CONFIG[media],
            "digest": digest_bytes(config),
            "size": len(config),
        },
        "layers": [
            {
                "mediaType": layer.media_type(media),
                "digest": layer.digest,
                "size": layer.size,
            }
            for layer in layers
        ],
    }
    return msgspec.json.encode(document)
