"""Push a whole image to a registry, and look at one that is there."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cannery.blobs import digest_bytes
from cannery.errors import ImageError, UsageError
from cannery.oci.auth import find_credentials
from cannery.oci.channel import RegistryOptions
from cannery.oci.descriptors import (
    CONFIG,
    INDEXES,
    LAYER_GZIP,
    LAYER_TAR,
    MANIFEST,
    Descriptor,
    Image,
)
from cannery.oci.documents import Index, Manifest, decode
from cannery.oci.references import Reference
from cannery.oci.registry import Registry

_UPLOADS = 4
"""Blobs under way at a time."""

Note = Callable[[str], None]


def silent(_: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What a push did."""

    reference: Reference
    """The image by digest, where it now stands."""
    sent: int
    """Bytes that travelled; what the registry had already did not."""


def open_registry(reference: Reference, options: RegistryOptions | None = None) -> Registry:
    """Return a client for the registry of `reference`, logged in as the user is; raises UsageError."""
    if reference.registry is None:
        raise UsageError(
            f"'{reference}' names no registry",
            hint=f"put its address first, such as localhost:5000/{reference}",
        )
    return Registry(
        reference.registry, credentials=find_credentials(reference.registry), options=options
    )


def push_image(
    image: Image,
    reference: Reference,
    *,
    registry: Registry | None = None,
    note: Note = silent,
) -> Pushed:
    """Push `image` under the tag of `reference` (or by its digest alone); the tag comes last.

    Raises UsageError when the reference names no registry or another digest, RegistryError and
    UnreachableError when the registry fails: then there is no tag.
    """
    if reference.digest not in (None, image.digest):
        raise UsageError(f"'{reference}' is not the image {image.digest}")
    if registry is None:
        with open_registry(reference) as own:
            return push_image(image, reference, registry=own, note=note)
    blobs: dict[str, tuple[Descriptor, bytes | Path]] = {
        layer.digest: (
            Descriptor(
                media_type=(LAYER_GZIP if layer.compressed else LAYER_TAR)[image.media],
                digest=layer.digest,
                size=layer.size,
            ),
            layer.path,
        )
        for layer in image.layers
    }
    config = Descriptor(media_type=CONFIG[image.media], digest=image.id, size=len(image.config))
    blobs[config.digest] = (config, image.config)
    sent = push_blobs(registry, reference.repository, list(blobs.values()), note)
    target = reference.tag or image.digest
    registry.push_manifest(reference.repository, target, image.manifest, MANIFEST[image.media])
    return Pushed(reference=reference.at(image.digest), sent=sent)


def push_blobs(
    registry: Registry,
    repository: str,
    blobs: list[tuple[Descriptor, bytes | Path]],
    note: Note = silent,
) -> int:
    """Upload what the registry lacks, several at a time; return the bytes that travelled."""

    def push(blob: tuple[Descriptor, bytes | Path]) -> int:
        descriptor, content = blob
        return descriptor.size if registry.push_blob(repository, descriptor, content) else 0

    sent = 0
    with ThreadPoolExecutor(_UPLOADS) as pool:
        tasks = [pool.submit(push, blob) for blob in blobs]
        try:
            for done, task in enumerate(tasks, 1):
                sent += task.result()
                note(f"{done} of {len(tasks)} blobs, {sent / 1e6:.1f} MB sent")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return sent


def pull_manifest(
    reference: Reference, *, registry: Registry | None = None
) -> tuple[str, Manifest]:
    """Return digest and manifest of an image or artifact in a registry, without its layers.

    Raises ImageError when what stands there is an index or anything else.
    """
    if registry is None:
        with open_registry(reference) as own:
            return pull_manifest(reference, registry=own)
    data, _ = registry.manifest(reference.repository, reference.target)
    return digest_bytes(data), decode(data, Manifest, f"'{reference}'")


def pull_image_manifest(registry: Registry, reference: Reference, architecture: str) -> bytes:
    """Return the manifest of an image for one architecture; from an index, the one that it names.

    Raises ImageError where an index has none for it.
    """
    data, media_type = registry.manifest(reference.repository, reference.target)
    if media_type not in INDEXES:
        return data
    index = decode(data, Index, f"'{reference}'")
    for entry in index.manifests:
        if (
            entry.platform.get("architecture") == architecture
            and entry.platform.get("os") == "linux"
        ):
            found, _ = registry.manifest(reference.repository, entry.digest)
            return found
    offered = sorted(
        {str(e.platform.get("architecture")) for e in index.manifests} - {"unknown", "None"}
    )
    raise ImageError(
        f"'{reference}' has no image for '{architecture}'", hint=f"it has: {', '.join(offered)}"
    )
