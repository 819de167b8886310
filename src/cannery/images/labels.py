"""What an image says of itself: its name, and the labels by which a registry, an engine or a person knows it."""

from __future__ import annotations

import re

from cannery.cans.manifest import CanManifest


def tag_of(manifest: CanManifest) -> str:
    """Return `name:version`, as far as an image can be called so."""
    name, version = (
        re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "model"
        for text in (manifest.name, manifest.version)
    )
    return f"{name}:{version[:128]}"


def labels_of(
    manifest: CanManifest,
    digest: str,
    *,
    created: str | None = None,
    revision: str | None = None,
) -> dict[str, str]:
    """Return the labels of an image of this can: `org.opencontainers.image.*` and `dev.cannery.*`.

    `digest` is the can's; `created` is the lock's date; `revision` is the revision of the user's own code, where known.
    """
    source = manifest.source
    parity = manifest.parity
    labels = {
        "org.opencontainers.image.title": manifest.name,
        "org.opencontainers.image.version": manifest.version,
        "org.opencontainers.image.created": created,
        "org.opencontainers.image.revision": revision,
        "dev.cannery.model.name": manifest.name,
        "dev.cannery.model.version": manifest.version,
        "dev.cannery.model.stage": source.stage,
        "dev.cannery.model.aliases": ",".join(source.aliases),
        "dev.cannery.model.run": source.run_id,
        "dev.cannery.source": source.resolved,
        "dev.cannery.source.digest": source.digest,
        "dev.cannery.can.digest": digest,
        "dev.cannery.runtime": manifest.runtime,
        "dev.cannery.task": manifest.task,
        "dev.cannery.audit": manifest.audit.verdict,
        "dev.cannery.parity": parity
        and f"{parity.rows} rows, worst difference {parity.maximum:.1e}, {parity.flips} flips",
    }
    return {name: value for name, value in sorted(labels.items()) if value}
