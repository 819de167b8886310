"""What a user's word names: a can, or an image in a layout, an archive, a registry or an engine; looked at, not pulled."""

from __future__ import annotations

import contextlib
import posixpath
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

import msgspec

from cannery.attestations.statements import PREDICATE
from cannery.blobs import digest_bytes, hex_of
from cannery.cans.manifest import CanManifest, read_manifest
from cannery.cans.open import MANIFEST, Can, open_can
from cannery.engines.choose import detect
from cannery.errors import ImageError, SourceError, UsageError
from cannery.images.carried import carried_manifest, carry_out, holds_can
from cannery.images.describe import ImageFacts, IndexFacts, describe, described
from cannery.images.lock import host_architecture
from cannery.oci.descriptors import LAYER_TAR
from cannery.oci.documents import LIMIT, Config, Index, Manifest, decode, is_index
from cannery.oci.layout import MARK, blob_path, choose_platform, read_documents
from cannery.oci.references import Reference, parse
from cannery.oci.saved import DAMAGES, only_saved
from cannery.oci.streams import as_file

if TYPE_CHECKING:
    from cannery.oci.registry import Registry

T = TypeVar("T")
_HELD = 127 * LIMIT
"""Bytes of an archive that are held to be read: what an image with the most layers could have."""
Take = Callable[[IO[bytes]], T]
"""Makes something of the layer with a can, as a stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What was found."""

    name: str
    """As it was given."""
    can: CanManifest | None
    """Of the can that it is, or that is baked into it."""
    digest: str | None
    """SHA-256 of that can's `can.json`."""
    image: ImageFacts | None
    """None: it is a can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking:
    """Where to look."""

    engine: str | None = None
    """An engine by name: the word names one of its images, whatever else it might name."""
    architecture: str | None = None
    """Of several in an index; None: this machine's."""


def look(word: str, looking: Looking | None = None) -> Subject:
    """Return what `word` names, without reading layers further than the first pages of a baked can.

    A folder that is a can or a layout, `oci:FOLDER`, `archive:FILE`, a name with a registry, or an
    image of an engine here. Raises SourceError, ImageError, CanError, RegistryError, EngineError.
    """
    looking = looking or Looking()
    if looking.engine is None and (Path(word) / MANIFEST).is_file():
        can = open_can(Path(word))
        return Subject(name=word, can=can.manifest, digest=can.digest, image=None)
    stored = _stored_can(word, looking, _read_manifest)
    if stored is not None:
        return Subject(
            name=word, can=_manifest(stored, word), digest=digest_bytes(stored), image=None
        )
    facts, data = _opened(word, looking, carried_manifest)
    if data is None:
        return Subject(name=word, can=None, digest=None, image=facts)
    digest = digest_bytes(data)
    return Subject(name=word, can=_manifest(data, word), digest=digest, image=facts)


def can_of(word: str, folder: Path, looking: Looking | None = None) -> Can:
    """Return the can that `word` names or carries; one in an image is written to `folder`.

    Raises what `look` raises, and UsageError where the image carries no can.
    """
    looking = looking or Looking()
    if looking.engine is None and (Path(word) / MANIFEST).is_file():
        return open_can(Path(word))

    def pull(registry: Registry, reference: Reference) -> Path:
        from cannery.oci.copies import pull_can_files

        return pull_can_files(reference, folder, registry, open_can)

    stored = _stored_can(word, looking, pull)
    if stored is not None:
        return open_can(stored)
    _, found = _opened(word, looking, lambda layer: carry_out(layer, folder))
    if found is None:
        raise UsageError(
            f"'{word}' has no can inside",
            hint="it pulls one at start, or a can is mounted: name that",
        )
    return open_can(found)


def _manifest(data: bytes, word: str) -> CanManifest:
    try:
        return read_manifest(data)
    except msgspec.DecodeError as error:
        raise ImageError(f"'{MANIFEST}' in '{word}' can't be read: {error}") from error


def _opened(word: str, looking: Looking, take: Take[T]) -> tuple[ImageFacts, T | None]:
    """Return what an image's documents tell, and what `take` makes of the layer with its can, if it has one."""
    kind, _, rest = word.partition(":")
    if looking.engine is None:
        if kind == "oci" and rest:
            return _in_layout(Path(rest), looking, take)
        if (Path(word) / MARK).is_file():
            return _in_layout(Path(word), looking, take)
        archive = archive_of(word)
        if archive is not None:
            try:
                with archive.open("rb") as stream:
                    return _in_archive(stream, word, looking, take)
            except OSError as error:
                raise SourceError(f"can't read '{archive}': {error.strerror}") from error
        if (reference := _remote(word, looking)) is not None:
            return _in_registry(reference, looking.architecture, take)
    with detect(looking.engine).save(word) as stream:
        return _in_archive(stream, word, looking, take)


def archive_of(word: str) -> Path | None:
    """Return the archive that `word` names, with `archive:` before it or without; None: it names none.

    Raises UsageError for a file that is no archive.
    """
    kind, _, rest = word.partition(":")
    if kind == "archive" and rest:
        return Path(rest)
    if not Path(word).is_file():
        return None
    if not tarfile.is_tarfile(word):
        raise UsageError(
            f"'{word}' is neither a can nor an image",
            hint=f"cannery audit {word} says what opening it would do",
        )
    return Path(word)


def _in_layout(folder: Path, looking: Looking, take: Take[T]) -> tuple[ImageFacts, T | None]:
    architecture = looking.architecture or host_architecture()
    manifest, config = read_documents(folder, architecture=architecture)
    facts = describe(config, manifest)
    last = decode(manifest, Manifest, "the manifest").layers[-1:]
    if not last or last[0].media_type not in LAYER_TAR.values():
        return facts, None
    try:
        stream = blob_path(folder, last[0].digest).open("rb")
    except OSError as error:
        raise ImageError(f"'{folder}' lacks the blob {last[0].digest}: {error.strerror}") from error
    with stream as layer:
        return facts, take(layer) if holds_can(layer) else None


def _remote(word: str, looking: Looking) -> Reference | None:
    """Return where a registry may have what `word` names; None where it names something here."""
    if looking.engine is not None or word.startswith(("oci:", "archive:")):
        return None
    if Path(word).is_file() or (Path(word) / MARK).is_file():
        return None
    reference = parse(word)
    return reference if reference.registry is not None else None


def _stored_can(word: str, looking: Looking, take: Callable[[Registry, Reference], T]) -> T | None:
    """Return what `take` makes of the can that a registry has under a word; None: there is none, but an image."""
    reference = _remote(word, looking)
    if reference is None:
        return None
    from cannery.oci.copies import is_can  # these need an HTTP client
    from cannery.oci.transfer import open_registry

    with open_registry(reference) as registry:
        return take(registry, reference) if is_can(reference, registry) else None


def _read_manifest(registry: Registry, reference: Reference) -> bytes:
    from cannery.oci.modelpack import files_of

    data, _ = registry.manifest(reference.repository, reference.target)
    files = files_of(decode(data, Manifest, f"'{reference}'"), str(reference))
    return registry.blob(reference.repository, files[MANIFEST])


def _in_registry(
    reference: Reference, architecture: str | None, take: Take[T]
) -> tuple[ImageFacts, T | None]:
    from cannery.oci.referrers import referrers
    from cannery.oci.transfer import manifest_in, open_registry

    with open_registry(reference) as registry:
        top, _ = registry.manifest(reference.repository, reference.target)
        data = manifest_in(top, registry, reference, architecture or host_architecture())
        manifest = decode(data, Manifest, f"'{reference}'")
        facts = describe(registry.blob(reference.repository, manifest.config), data)
        found = referrers(registry, reference.repository, digest_bytes(data))
        kinds = [a.annotations.get(PREDICATE) or a.artifact_type or "unknown" for a in found]
        facts = msgspec.structs.replace(facts, attached=tuple(kinds), index=_index(top, data))
        if manifest.layers[-1:] and manifest.layers[-1].media_type in LAYER_TAR.values():
            pieces = registry.stream(reference.repository, manifest.layers[-1])
            with contextlib.closing(pieces), as_file(pieces) as layer:
                return facts, take(layer) if holds_can(layer) else None
        return facts, None


def _index(top: bytes, manifest: bytes) -> IndexFacts | None:
    """Return what an image for several platforms says of itself; None where there is but the one."""
    if top == manifest:
        return None
    entries = decode(top, Index, "the index").manifests
    names = (f"{e.platform.get('os')}/{e.platform.get('architecture')}" for e in entries)
    return IndexFacts(digest=digest_bytes(top), platforms=tuple(names))


def _in_archive(
    stream: IO[bytes], word: str, looking: Looking, take: Take[T]
) -> tuple[ImageFacts, T | None]:
    """Read an archive once: its documents may stand anywhere in it."""
    documents: dict[str, bytes] = {}
    sizes: dict[str, int] = {}
    held = 0
    taken: T | None = None
    try:
        with tarfile.open(fileobj=stream, mode="r|*") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isreg() else None
                name = posixpath.normpath(member.name)
                sizes[name] = member.size
                if content is not None and taken is None and holds_can(content):
                    taken = take(content)
                elif content is not None and member.size <= LIMIT:
                    documents[name] = content.read()
                    held += member.size
                    if held > _HELD:
                        raise ImageError(f"'{word}' holds small files of more than {_HELD} bytes")
    except DAMAGES as error:
        raise ImageError(f"'{word}' is no archive of an image: {error}") from error
    if "manifest.json" not in documents and "index.json" in documents:
        return describe(*_indexed(documents, word, looking)), taken
    entry = only_saved(documents.get("manifest.json"), word)
    config = documents.get(entry.config)
    if config is None:
        raise ImageError(f"'{word}' lacks '{entry.config}', which it names")
    if len(entry.layers) != len(decode(config, Config, f"the config of '{word}'").rootfs.diff_ids):
        raise ImageError(f"the documents of '{word}' disagree on its layers")
    return described(config, [sizes.get(name, 0) for name in entry.layers]), taken


def _indexed(documents: dict[str, bytes], word: str, looking: Looking) -> tuple[bytes, bytes]:
    """Return config and manifest of the image in a packed layout, as skopeo and Podman write one."""

    def document(digest: str) -> bytes:
        found = documents.get(f"blobs/sha256/{hex_of(digest)}", b"")
        if digest_bytes(found) != digest:
            raise ImageError(f"'{word}' lacks the document {digest}, or it is damaged")
        return found

    index = decode(documents["index.json"], Index, f"index.json of '{word}'")
    images = [entry for entry in index.manifests if entry.artifact_type is None]
    if len(images) != 1:
        raise ImageError(f"'{word}' holds no single image, but {len(images)}")
    manifest = document(images[0].digest)
    if is_index(manifest):
        architecture = looking.architecture or host_architecture()
        manifest = document(choose_platform(manifest, architecture, f"'{word}'").digest)
    config = decode(manifest, Manifest, f"the manifest in '{word}'").config
    return document(config.digest), manifest
