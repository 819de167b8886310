"""Artifacts that refer to an image: a document each, tied to it by its digest.

https://github.com/opencontainers/image-spec/blob/main/manifest.md#guidelines-for-artifact-usage
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from cannery.blobs import digest_bytes
from cannery.oci.descriptors import MANIFEST, Descriptor

EMPTY = b"{}"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A document that says something of an image."""

    kind: str
    """Its artifact type, by which it is asked for."""
    payload: bytes
    media_type: str
    annotations: dict[str, str] = field(default_factory=dict)

    def manifest(self, subject: Descriptor) -> bytes:
        """Return the manifest that ties the document to its subject, the same bytes every time."""
        return msgspec.json.encode(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST["oci"],
                "artifactType": self.kind,
                "config": _descriptor(EMPTY_TYPE, EMPTY),
                "layers": [_descriptor(self.media_type, self.payload)],
                "subject": msgspec.to_builtins(subject),
                "annotations": dict(sorted(self.annotations.items())),
            }
        )


Attached = Mapping[str, Sequence[Artifact]]
"""Digest of an image → what is attached to it."""


def artifact_entry(artifact: Artifact, subject: Descriptor) -> dict[str, Any]:
    """Return what an index says of an attached artifact."""
    return {
        **_descriptor(MANIFEST["oci"], artifact.manifest(subject)),
        "artifactType": artifact.kind,
        "annotations": artifact.annotations,
    }


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_bytes(data), "size": len(data)}
