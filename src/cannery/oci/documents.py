"""The JSON documents of an image, decoded and checked: manifest, index and the part of the config that counts."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

import msgspec

from cannery.blobs import parse_json
from cannery.errors import ImageError
from cannery.oci.descriptors import MANIFEST, Descriptor

LIMIT = 4 << 20
"""Bytes of the largest document that is read: what registries accept at least, and most at most."""

Digest = Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Manifest(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An image manifest, Docker's or the OCI's, or an artifact in the form of one."""

    schema_version: int
    media_type: str = MANIFEST["oci"]
    artifact_type: str | None = None
    config: Descriptor
    layers: tuple[Descriptor, ...] = ()
    annotations: dict[str, str] = {}
    subject: Descriptor | None = None
    """What an artifact refers to."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One manifest in an index."""

    media_type: str
    digest: Digest
    size: int
    annotations: dict[str, str] = {}
    platform: dict[str, Any] = {}
    artifact_type: str | None = None


class Index(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An index: `index.json` of a layout, or an image for several platforms."""

    schema_version: int
    manifests: tuple[Entry, ...] = ()


class RootFilesystem(msgspec.Struct, frozen=True, kw_only=True):
    """The layers of a config."""

    diff_ids: tuple[Digest, ...]


class History(msgspec.Struct, frozen=True, kw_only=True):
    """Where a layer comes from."""

    created_by: str = ""
    comment: str = ""
    empty_layer: bool = False


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How an image wants to be started."""

    user: str = msgspec.field(name="User", default="")
    environment: tuple[str, ...] | None = msgspec.field(name="Env", default=None)
    entrypoint: tuple[str, ...] | None = msgspec.field(name="Entrypoint", default=None)
    command: tuple[str, ...] | None = msgspec.field(name="Cmd", default=None)
    folder: str = msgspec.field(name="WorkingDir", default="")
    healthcheck: dict[str, Any] | None = msgspec.field(name="Healthcheck", default=None)
    labels: dict[str, str] | None = msgspec.field(name="Labels", default=None)
    stop_signal: str = msgspec.field(name="StopSignal", default="")

    @property
    def argv(self) -> tuple[str, ...]:
        """Entrypoint and command."""
        return (self.entrypoint or ()) + (self.command or ())

    @property
    def probe(self) -> tuple[str, ...]:
        """The program of an exec-form health check; empty where there is none."""
        test = (self.healthcheck or {}).get("Test") or []
        return tuple(str(word) for word in test[1:]) if test[:1] == ["CMD"] else ()


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The config of an image, as far as Cannery reads it."""

    architecture: str = "amd64"
    os: str = "linux"
    created: str | None = None
    config: Settings = Settings()
    rootfs: RootFilesystem
    history: tuple[History, ...] = ()


Document = TypeVar("Document")


def decode(data: bytes, kind: type[Document], place: str) -> Document:
    """Decode a document found at `place`; raises ImageError naming both."""
    if len(data) > LIMIT:
        raise ImageError(f"{place} has {len(data)} bytes; at most {LIMIT} are read")
    try:
        document: Document = parse_json(data, kind)
    except msgspec.MsgspecError as error:
        words = str(error)
        message = words[:1].lower() + words[1:]
        raise ImageError(f"{place} is no {kind.__name__.lower()}: {message}") from error
    if isinstance(document, Manifest):
        _check(document, place)
    return document


def is_index(data: bytes) -> bool:
    """Tell whether a document is an index of several manifests, by what it says, not by how it was announced."""
    try:
        return "manifests" in parse_json(data, dict[str, Any])
    except msgspec.MsgspecError:
        return False


def _check(manifest: Manifest, place: str) -> None:
    for i, descriptor in enumerate((manifest.config, *manifest.layers)):
        if not _DIGEST.fullmatch(descriptor.digest) or descriptor.size < 0:
            field = f"layers[{i - 1}]" if i else "config"
            raise ImageError(f"'{descriptor.digest}' is no digest in '{field}' of {place}")
