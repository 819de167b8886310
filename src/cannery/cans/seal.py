"""Seal a can: write every file and the `can.json` that names them all, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from cannery.blobs import canonical_json, digest_bytes, write_folder
from cannery.cans.card import card
from cannery.cans.manifest import CanManifest, File, read_manifest
from cannery.cans.open import MANIFEST, Can, check_names, open_can
from cannery.errors import CanError, OutputError

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
    _spare(folder)
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


def _spare(folder: Path) -> None:
    """Raise OutputError where replacing `folder` would destroy something that is not a can."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise OutputError(f"'{folder}' exists and is not a folder", hint="choose another name")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise OutputError(f"'{folder}' exists and is not a can", hint="choose another name")
