"""Copy images and cans as they are between a registry and this machine: the same bytes, the same digests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from cannery.blobs import digest_bytes, hex_of, parse_json, refuse_foreign, write_folder
from cannery.errors import ImageError, SourceError
from cannery.oci.descriptors import INDEX, MANIFEST, Descriptor
from cannery.oci.documents import Entry, Index, Manifest, decode, is_index
from cannery.oci.layout import LAYOUT, MARK, NAME, blob_path, read_document, read_json
from cannery.oci.modelpack import CAN, files_of
from cannery.oci.references import Reference
from cannery.oci.referrers import list_referrer
from cannery.oci.registry import Registry, Source
from cannery.oci.transfer import Note, push_blobs, silent

_DEPTH = 4


def push_layout(
    folder: Path, reference: Reference, registry: Registry, *, note: Note = silent
) -> Reference:
    """Push the one image of a layout, and all that is attached to it there; return it by digest. The tag comes last.

    Raises SourceError, ImageError, RegistryError, UnreachableError.
    """
    if not (folder / MARK).is_file():
        raise SourceError(f"'{folder}' is no OCI layout: it has no file '{MARK}'")
    index = decode(read_json(folder / "index.json"), Index, f"'{folder / 'index.json'}'")
    images = [entry for entry in index.manifests if entry.artifact_type is None]
    if len(images) != 1:
        raise SourceError(f"'{folder}' holds {len(images)} images", hint="give a layout of one")
    for entry in (e for e in index.manifests if e.artifact_type is not None):
        _push_attached(folder, entry, reference.repository, registry, note)
    digest = images[0].digest
    data = _push_parts(folder, digest, reference.repository, registry, note)
    registry.push_manifest(reference.repository, reference.tag or digest, data, type_of(data))
    return reference.at(digest)


def _push_attached(
    folder: Path, entry: Entry, repository: str, registry: Registry, note: Note
) -> None:
    data = _push_parts(folder, entry.digest, repository, registry, note)
    kept = registry.push_manifest(repository, entry.digest, data, type_of(data))
    subject = decode(data, Manifest, f"the artifact {entry.digest}").subject
    if subject is not None and not kept:
        list_referrer(registry, repository, subject.digest, msgspec.to_builtins(entry))


def _push_parts(
    folder: Path, digest: str, repository: str, registry: Registry, note: Note
) -> bytes:
    """Push all that a manifest or index names, and return its own bytes."""
    top = read_document(folder, digest)
    for data in documents_below(top, digest, lambda below: read_document(folder, below)):
        if not is_index(data):
            _push_blobs(folder, decode(data, Manifest, digest), repository, registry, note)
        if data is not top:
            registry.push_manifest(repository, digest_bytes(data), data, type_of(data))
    return top


def _push_blobs(
    folder: Path, manifest: Manifest, repository: str, registry: Registry, note: Note
) -> None:
    parts: dict[str, tuple[Descriptor, Source]] = {
        d.digest: (d, blob_path(folder, d.digest)) for d in (manifest.config, *manifest.layers)
    }
    missing = [digest for digest, (_, path) in parts.items() if not Path(str(path)).is_file()]
    if missing:
        raise ImageError(f"'{folder}' lacks the blob {missing[0]}")
    push_blobs(registry, repository, list(parts.values()), note)


def pull_image(
    reference: Reference,
    folder: Path,
    registry: Registry,
    *,
    force: bool = False,
    note: Note = silent,
) -> Path:
    """Write an image, with all of its platforms, as a layout that appears whole or not at all.

    Raises OutputError, RegistryError, UnreachableError, ImageError.
    """
    refuse_foreign(folder, MARK, "an OCI layout", force=force)
    data, _ = registry.manifest(reference.repository, reference.target)
    with write_folder(folder, force=force) as target:
        (target / "blobs" / "sha256").mkdir(parents=True)
        for document in documents_below(
            data,
            f"'{reference}'",
            lambda digest: registry.manifest(reference.repository, digest)[0],
        ):
            blob_path(target, digest_bytes(document)).write_bytes(document)
            if not is_index(document):
                manifest = decode(document, Manifest, f"'{reference}'")
                _pull_blobs(manifest, reference.repository, registry, target, note)
        entry = {"mediaType": type_of(data), "digest": digest_bytes(data), "size": len(data)}
        if reference.tag:
            entry["annotations"] = {NAME: reference.tag}
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
        (target / "index.json").write_bytes(msgspec.json.encode(index))
        (target / MARK).write_bytes(LAYOUT)
    return folder


def _pull_blobs(
    manifest: Manifest, repository: str, registry: Registry, target: Path, note: Note
) -> None:
    for descriptor in (manifest.config, *manifest.layers):
        place = blob_path(target, descriptor.digest)
        if not place.exists():
            note(f"pulling {hex_of(descriptor.digest)[:12]}, {descriptor.size / 1e6:.1f} MB")
            registry.fetch(repository, descriptor, place)


def pull_can_files(
    reference: Reference,
    folder: Path,
    registry: Registry,
    check: Callable[[Path], object],
    *,
    force: bool = False,
) -> Path:
    """Write the files of a can; `check` looks at them before the folder gets its name.

    Raises OutputError, RegistryError, UnreachableError, and what `check` raises.
    """
    data, _ = registry.manifest(reference.repository, reference.target)
    files = files_of(decode(data, Manifest, f"'{reference}'"), str(reference))
    refuse_foreign(folder, CAN, "a can", force=force)
    with write_folder(folder, force=force) as target:
        for name, descriptor in files.items():
            place = (target / name).resolve()
            if not place.is_relative_to(target.resolve()) or place == target.resolve():
                raise ImageError(f"the file '{name}' of '{reference}' leads out of the can")
            place.parent.mkdir(parents=True, exist_ok=True)
            registry.fetch(reference.repository, descriptor, place)
        check(target)
    return folder


def is_can(reference: Reference, registry: Registry) -> bool:
    """Tell whether what stands under a name is a can, and no image."""
    data, _ = registry.manifest(reference.repository, reference.target)
    if is_index(data):
        return False
    return decode(data, Manifest, f"'{reference}'").artifact_type is not None


def documents_below(data: bytes, place: str, read: Callable[[str], bytes]) -> Iterator[bytes]:
    """Yield each manifest and index below a document once, and after all that it names itself.

    `read` gives one by digest. Raises ImageError for indexes within indexes that no tool would write.
    """
    seen: set[str] = set()

    def below(document: bytes, depth: int) -> Iterator[bytes]:
        if depth > _DEPTH:
            raise ImageError(f"{place} holds indexes within indexes, more than {_DEPTH} deep")
        for entry in decode(document, Index, place).manifests if is_index(document) else ():
            if entry.digest not in seen:
                seen.add(entry.digest)
                yield from below(read(entry.digest), depth + 1)
        yield document

    yield from below(data, 1)


def type_of(data: bytes) -> str:
    """Return the media type that a document gives itself."""
    document = parse_json(data, dict[str, object])
    return str(document.get("mediaType") or (INDEX if is_index(data) else MANIFEST["oci"]))
