"""A can as a CNCF ModelPack artifact, so that registries and other tools know it for a model.

https://github.com/modelpack/model-spec

The format, for whoever pulls it: an OCI image manifest whose `artifactType` is `ARTIFACT` and whose
config is a small description. Every file of the can is one layer: its bytes as they are, not packed
and not compressed; its annotation `org.cncf.model.filepath` is its path inside the can (POSIX).
The media type says what it is: `WEIGHT` the model file, `DOC` for `*.md`, `SETTINGS` all else,
`can.json` among them. The digest of the layer of `can.json` is the digest of the can.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from cannery.blobs import Blob, digest_bytes, parse_json
from cannery.errors import CanError, RegistryError
from cannery.oci.descriptors import MANIFEST, Descriptor
from cannery.oci.documents import LIMIT, Manifest
from cannery.oci.references import Reference
from cannery.oci.registry import Registry
from cannery.oci.transfer import Note, open_registry, push_blobs, silent

ARTIFACT = "application/vnd.cncf.model.manifest.v1+json"
CONFIG = "application/vnd.cncf.model.config.v1+json"
WEIGHT = "application/vnd.cncf.model.weight.v1.raw"
SETTINGS = "application/vnd.cncf.model.weight.config.v1.raw"
DOC = "application/vnd.cncf.model.doc.v1.raw"
FILEPATH = "org.cncf.model.filepath"
CAN_DIGEST = "dev.cannery.can.digest"
CAN = "can.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A can on its way to a registry."""

    manifest: bytes
    config: bytes
    files: tuple[tuple[Descriptor, Path], ...]
    can: str
    """Digest of the can."""

    @property
    def digest(self) -> str:
        """Digest of the manifest: the artifact's name in a registry."""
        return digest_bytes(self.manifest)


def compose_artifact(folder: Path) -> Artifact:
    """Make the artifact of the can in `folder`: the same can, the same bytes.

    Raises CanError when the folder is no can, or a file is not what `can.json` says.
    """
    can = _read_can(folder)
    blobs = {name: _blob(folder, name) for name in sorted({CAN, *can.files})}
    for name, file in can.files.items():
        if blobs[name].digest != file.digest:
            raise CanError(f"'{folder / name}' is not the file that {CAN} names")
    files = tuple(
        (
            Descriptor(
                media_type=_media(name, can.model),
                digest=blob.digest,
                size=blob.size,
                annotations={FILEPATH: name},
            ),
            blob.path,
        )
        for name, blob in blobs.items()
    )
    config = msgspec.json.encode(
        {
            "descriptor": {"name": can.name, "version": can.version},
            "config": {"format": can.runtime},
            "modelfs": {"type": "layers", "diffIds": [d.digest for d, _ in files]},
        }
    )
    manifest = Manifest(
        schema_version=2,
        media_type=MANIFEST["oci"],
        artifact_type=ARTIFACT,
        config=Descriptor(media_type=CONFIG, digest=digest_bytes(config), size=len(config)),
        layers=tuple(descriptor for descriptor, _ in files),
        annotations={
            "org.opencontainers.image.title": can.name,
            "org.opencontainers.image.version": can.version,
            CAN_DIGEST: blobs[CAN].digest,
        },
    )
    return Artifact(manifest=_encode(manifest), config=config, files=files, can=blobs[CAN].digest)


def push_can(
    folder: Path, reference: Reference, *, registry: Registry | None = None, note: Note = silent
) -> Reference:
    """Push the can in `folder` under the tag of `reference`; return it by digest.

    Raises CanError, RegistryError, UnreachableError, and UsageError when no registry is named.
    """
    if registry is None:
        with open_registry(reference) as own:
            return push_can(folder, reference, registry=own, note=note)
    artifact = compose_artifact(folder)
    config = Descriptor(
        media_type=CONFIG, digest=digest_bytes(artifact.config), size=len(artifact.config)
    )
    push_blobs(registry, reference.repository, [(config, artifact.config), *artifact.files], note)
    target = reference.tag or artifact.digest
    registry.push_manifest(reference.repository, target, artifact.manifest, MANIFEST["oci"])
    return reference.at(artifact.digest)


def files_of(manifest: Manifest, place: str) -> dict[str, Descriptor]:
    """Return the can's files in an artifact's manifest, by path; raises RegistryError when it holds no can."""
    files = {layer.annotations.get(FILEPATH, ""): layer for layer in manifest.layers}
    if manifest.artifact_type != ARTIFACT or CAN not in files or "" in files:
        raise RegistryError(f"'{place}' is no can", hint="`cannery publish` puts one there")
    return files


def _media(name: str, model: str) -> str:
    if name == model:
        return WEIGHT
    return DOC if name.endswith(".md") else SETTINGS


def _blob(folder: Path, name: str) -> Blob:
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts or not path.is_file():
        raise CanError(f"the can '{folder}' has no file '{name}'")
    return Blob.of(path)


def _read_can(folder: Path) -> _Can:
    path = folder / CAN
    try:
        if path.stat().st_size > LIMIT:
            raise CanError(f"'{path}' has more than {LIMIT} bytes")
        return parse_json(path.read_bytes(), _Can)
    except OSError as error:
        raise CanError(f"can't read '{path}': {error.strerror}", hint="is this a can?") from error
    except msgspec.MsgspecError as error:
        raise CanError(f"'{path}' can't be read: {error}") from error


class _File(msgspec.Struct, frozen=True):
    digest: str


class _Can(msgspec.Struct, frozen=True):
    """The part of `can.json` that counts here; cans themselves stand above this package."""

    name: str
    version: str
    runtime: str
    model: str
    files: dict[str, _File]


def _encode(manifest: Manifest) -> bytes:
    """Encode a manifest with its version and media type written out."""
    document = msgspec.to_builtins(manifest)
    return msgspec.json.encode(
        {"schemaVersion": manifest.schema_version, "mediaType": manifest.media_type, **document}
    )
