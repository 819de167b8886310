"""What is attached to an image in a registry: put there, and found again by the image's digest.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
"""

from __future__ import annotations

from typing import Any

import msgspec

from cannery.blobs import digest_bytes
from cannery.oci.artifacts import EMPTY, EMPTY_TYPE, Artifact, artifact_entry
from cannery.oci.descriptors import INDEX, MANIFEST, Descriptor
from cannery.oci.documents import Index, Manifest, decode
from cannery.oci.registry import Registry


def attach(registry: Registry, repository: str, subject: Descriptor, artifact: Artifact) -> str:
    """Push an artifact that refers to `subject`; return its digest.

    Where the registry does not keep referrers itself, they are listed under the tag that the
    specification names for that. Raises RegistryError, UnreachableError.
    """
    for media_type, data in ((EMPTY_TYPE, EMPTY), (artifact.media_type, artifact.payload)):
        blob = Descriptor(media_type=media_type, digest=digest_bytes(data), size=len(data))
        registry.push_blob(repository, blob, data)
    manifest = artifact.manifest(subject)
    digest = digest_bytes(manifest)
    kept = registry.push_manifest(repository, digest, manifest, MANIFEST["oci"])
    if not kept:
        list_referrer(registry, repository, subject.digest, artifact_entry(artifact, subject))
    return digest


def referrers(registry: Registry, repository: str, digest: str) -> tuple[Descriptor, ...]:
    """Return the artifacts that refer to a digest, each with its type in `artifact_type`."""
    pages = registry.referrers(repository, digest)
    if not pages:
        listed = registry.find_manifest(repository, _tag(digest))
        pages = () if listed is None else (listed,)
    return tuple(
        Descriptor(
            media_type=entry.media_type,
            digest=entry.digest,
            size=entry.size,
            annotations=entry.annotations,
            artifact_type=entry.artifact_type,
        )
        for data in pages
        for entry in decode(data, Index, f"the referrers of {digest}").manifests
    )


def payload_of(registry: Registry, repository: str, artifact: Descriptor) -> bytes:
    """Return the document of an attached artifact, checked by digest."""
    data, _ = registry.manifest(repository, artifact.digest)
    manifest = decode(data, Manifest, f"the artifact {artifact.digest}")
    return registry.blob(repository, manifest.layers[0]) if manifest.layers else b""


def list_referrer(registry: Registry, repository: str, digest: str, entry: dict[str, Any]) -> None:
    """List an artifact under the tag of what it refers to, for a registry that keeps no such lists."""
    known = registry.find_manifest(repository, _tag(digest))
    index = decode(known, Index, f"the referrers of {digest}") if known else Index(schema_version=2)
    entries = [msgspec.to_builtins(e) for e in index.manifests if e.digest != entry["digest"]]
    listed = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*entries, entry]}
    registry.push_manifest(repository, _tag(digest), msgspec.json.encode(listed), INDEX)


def _tag(digest: str) -> str:
    return digest.replace(":", "-")
