"""Seal a can: write every file and the `can.json` that names them all, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from cannery.blobs import canonical_json, digest_bytes, refuse_foreign, write_folder
from cannery.cans.card import card
from cannery.cans.manifest import CanManifest, File, read_manifest
from cannery.cans.open import MANIFEST, Can, check_names, open_can
from cannery.errors import CanError

CARD = "README.md"


def seal(
    manifest: CanManifest, files: Mapping[str, bytes], folder: Path, *, force: bool = False
) -> Can:
    """Write a can and open it again.

    `manifest.files` is ignored: it is made from `files`, which must hold the model file and
    `canary.json`; the model card is added where `files` has none. Raises OutputError when the
    folder exists (with `force`: when it is not a can), CanError when a file is missing.
    """
    if MANIFEST in files:
        raise CanError(f"'{MANIFEST}' is made by sealing and can't be given")
    content = {CARD: card(manifest).encode(), **files}
    sealed = _normal(manifest, content)
    check_names(sealed)
    refuse_foreign(folder, MANIFEST, "a can", force=force)
    with write_folder(folder, force=force) as temporary:
        for name, data in content.items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (temporary / MANIFEST).write_bytes(canonical_json(sealed))
    return open_can(folder)


def _normal(manifest: CanManifest, content: Mapping[str, bytes]) -> CanManifest:
    """Return the manifest with its files, as it will be read: a whole float given as int is a float."""
    files = {
        name: File(digest=digest_bytes(data), size=len(data))
        for name, data in sorted(content.items())
    }
    try:
        return read_manifest(canonical_json(msgspec.structs.replace(manifest, files=files)))
    except msgspec.ValidationError as error:
        raise CanError(f"the manifest of '{manifest.name}' can't be sealed: {error}") from error
