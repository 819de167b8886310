"""Push a whole image to a registry, and look at one that is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from cannery.blobs import digest_bytes
from cannery.errors import ImageError, UsageError
from cannery.oci.artifacts import Attached
from cannery.oci.auth import find_login
from cannery.oci.descriptors import (
    CONFIG,
    INDEX,
    MANIFEST,
    Descriptor,
    Image,
)
from cannery.oci.documents import Manifest, decode, is_index
from cannery.oci.layout import choose_platform, platforms_of
from cannery.oci.references import Reference
from cannery.oci.referrers import attach
from cannery.oci.registry import Registry, Source
from cannery.parallel import each

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


def open_registry(reference: Reference) -> Registry:
    """Return a client for the registry of `reference`, logged in as the user is; raises UsageError."""
    if reference.registry is None:
        raise UsageError(
            f"'{reference}' names no registry",
            hint=f"put its address first, such as localhost:5000/{reference}",
        )
    login = find_login(reference.registry, repository=reference.repository)
    return Registry(reference.registry, credentials=login)


def push_image(
    image: Image | Sequence[Image],
    reference: Reference,
    *,
    attached: Attached = MappingProxyType({}),
    registry: Registry | None = None,
    known: MutableMapping[str, str] | None = None,
    note: Note = silent,
) -> Pushed:
    """Push `image` under the tag of `reference` (or by its digest alone); the tag comes last.

    Several are one image for several platforms, behind an index. `attached` is what refers to them.
    `known` says in which repository of the registry a blob was seen last: there it is mounted from,
    and what is in this one now is added. Raises UsageError when the reference
    names no registry or another digest, RegistryError and UnreachableError when the registry fails:
    then there is no tag.
    """
    images = (image,) if isinstance(image, Image) else tuple(image)
    document, media_type = images[0].manifest, MANIFEST[images[0].media]
    if len(images) > 1:
        document, media_type = platforms_of(images), INDEX
    digest = digest_bytes(document)
    if reference.digest not in (None, digest):
        raise UsageError(f"'{reference}' is not the image {digest}")
    if registry is None:
        with open_registry(reference) as own:
            return push_image(
                images, reference, attached=attached, registry=own, known=known, note=note
            )
    blobs = {d.digest: (d, content) for each in images for d, content in _blobs_of(each)}
    repository = reference.repository
    sent = push_blobs(registry, repository, list(blobs.values()), note, known)
    for one in images if len(images) > 1 else ():
        registry.push_manifest(repository, one.digest, one.manifest, MANIFEST[one.media])
    for one in images:
        for artifact in attached.get(one.digest, ()):
            attach(registry, repository, one.descriptor, artifact)
    registry.push_manifest(repository, reference.tag or digest, document, media_type)
    return Pushed(reference=reference.at(digest), sent=sent)


def _blobs_of(image: Image) -> Iterator[tuple[Descriptor, Source]]:
    for layer in image.layers:
        kind = layer.media_type(image.media)
        yield Descriptor(media_type=kind, digest=layer.digest, size=layer.size), layer.content
    kind = CONFIG[image.media]
    yield Descriptor(media_type=kind, digest=image.id, size=len(image.config)), image.config


def push_blobs(
    registry: Registry,
    repository: str,
    blobs: list[tuple[Descriptor, Source]],
    note: Note = silent,
    known: MutableMapping[str, str] | None = None,
) -> int:
    """Upload what the registry lacks, several at a time; return the bytes that travelled."""
    seen = {} if known is None else known

    def push(blob: tuple[Descriptor, Source]) -> int:
        descriptor, content = blob
        other = seen.get(descriptor.digest, "")
        mount = other if other != repository else ""
        travelled = registry.push_blob(repository, descriptor, content, mount=mount)
        seen[descriptor.digest] = repository
        return descriptor.size if travelled else 0

    sent = 0
    for done, size in enumerate(each(push, blobs, at_once=_UPLOADS), 1):
        sent += size
        note(f"{done} of {len(blobs)} blobs, {sent / 1e6:.1f} MB sent")
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


def fixed(reference: Reference, registry: Registry) -> Reference:
    """Return the reference with the digest that stands under it now: its tag may move between two requests."""
    data, _ = registry.manifest(reference.repository, reference.target)
    return replace(reference, digest=digest_bytes(data))


def pinned(reference: Reference) -> Reference:
    """Return the reference by the digest that its registry has under it now; an index stays an index."""
    if reference.digest is not None:
        return reference.at(reference.digest)
    with open_registry(reference) as registry:
        return replace(fixed(reference, registry), tag=None)


def pull_image_manifest(registry: Registry, reference: Reference, architecture: str) -> bytes:
    """Return the manifest of an image for one architecture; from an index, the one that it names.

    Raises ImageError where an index has none for it.
    """
    data, _ = registry.manifest(reference.repository, reference.target)
    return manifest_in(data, registry, reference, architecture)


def manifest_in(data: bytes, registry: Registry, reference: Reference, architecture: str) -> bytes:
    """Return the manifest of an image for one architecture: what was found at `reference`, or what that names.

    Raises ImageError where an index has none for it, and for what is no image.
    """
    if not is_index(data):
        kind = decode(data, Manifest, f"'{reference}'").artifact_type
        if kind is not None:
            raise ImageError(f"'{reference}' is no image, but of type '{kind}'")
        return data
    entry = choose_platform(data, architecture, f"'{reference}'")
    return registry.manifest(reference.repository, entry.digest)[0]
