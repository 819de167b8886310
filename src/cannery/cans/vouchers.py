"""What signatures say: of the files of a can (OpenSSF's bundles), and of a manifest (cosign's payloads).

https://github.com/ossf/model-signing-spec/blob/main/spec/v1.0.md · https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from pathlib import Path

import msgspec

from cannery.blobs import hex_of, parse_json
from cannery.cans.manifest import CanManifest
from cannery.cans.open import MANIFEST
from cannery.errors import SignatureError, UsageError

IN_TOTO = "application/vnd.in-toto+json"
PREDICATE = "https://model_signing/signature/v1.0"
IMAGE = "cosign container image signature"
SUFFIX = ".sig"

IsSigned = Callable[[bytes, bytes], bool]
"""Tells whether a key signed these bytes, by this signature."""


def signature_place(folder: Path) -> Path:
    """Return where the signature of a can lies: beside it, since a can holds nothing but itself."""
    return folder.resolve().with_name(folder.resolve().name + SUFFIX)


def files_of(manifest: CanManifest, digest: str) -> dict[str, str]:
    """Return name and SHA-256 of every file of the can with this digest, sorted by name."""
    files = {name: hex_of(file.digest) for name, file in manifest.files.items()}
    return dict(sorted({**files, MANIFEST: hex_of(digest)}.items()))


class Signed(msgspec.Struct, frozen=True):
    """A signature in an envelope."""

    sig: str
    keyid: str = ""


class Envelope(msgspec.Struct, frozen=True, rename="camel"):
    """A statement and who signed it, each in base64."""

    payload_type: str
    payload: str
    signatures: tuple[Signed, ...]

    @property
    def statement(self) -> bytes:
        """The statement, unchecked; empty where it is no base64."""
        return _bytes(self.payload)

    def holds(self, is_signed: IsSigned) -> bool:
        """Tell whether the key signed this as an in-toto statement."""
        signed = encoded(self.statement)
        return self.payload_type == IN_TOTO and any(
            is_signed(signed, _bytes(one.sig)) for one in self.signatures
        )


def encoded(statement: bytes) -> bytes:
    """Return what is signed: type and statement, each preceded by its length."""
    return b"DSSEv1 %d %s %d %s" % (len(IN_TOTO), IN_TOTO.encode(), len(statement), statement)


def check_bundle(data: bytes, files: dict[str, str], place: str, is_signed: IsSigned) -> None:
    """Raise SignatureError unless the bundle at `place` vouches for exactly these files, UsageError for no bundle."""
    try:
        envelope = parse_json(data, _Bundle).envelope
        statement = parse_json(envelope.statement, _Statement)
    except msgspec.MsgspecError as error:
        raise UsageError(f"'{place}' is no signature of a model: {error}") from error
    if not envelope.holds(is_signed):
        raise SignatureError(f"'{place}' is not signed by this key")
    if statement.predicate_type != PREDICATE:
        raise SignatureError(f"'{place}' speaks of '{statement.predicate_type}', not of files")
    signed = {r.name: r.digest for r in statement.predicate.resources if r.algorithm == "sha256"}
    other = sorted(name for name in signed | files if signed.get(name) != files.get(name))
    if other:
        raise SignatureError(f"'{place}' was made of another '{other[0]}' than the can's")


def payload_trouble(
    payload: bytes, signature: bytes, digest: str, is_signed: IsSigned
) -> str | None:
    """Return why a signed payload does not vouch for the manifest of this digest, or None when it does."""
    if not is_signed(payload, signature):
        return "another key signed it"
    try:
        critical = parse_json(payload, _Payload).critical
    except msgspec.MsgspecError:
        return "what was signed is no payload of an image"
    if critical.type_ != IMAGE or critical.image.digest != digest:
        return f"it was signed for {critical.image.digest}"
    return None


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # ValueError: not even ASCII
        return b""


class _Bundle(msgspec.Struct, frozen=True):
    envelope: Envelope = msgspec.field(name="dsseEnvelope")


class _Resource(msgspec.Struct, frozen=True):
    name: str
    algorithm: str
    digest: str


class _Predicate(msgspec.Struct, frozen=True):
    resources: tuple[_Resource, ...]


class _Statement(msgspec.Struct, frozen=True, rename="camel"):
    predicate_type: str
    predicate: _Predicate


class _Image(msgspec.Struct, frozen=True):
    digest: str = msgspec.field(name="docker-manifest-digest")


class _Critical(msgspec.Struct, frozen=True):
    image: _Image
    type_: str = msgspec.field(name="type")


class _Payload(msgspec.Struct, frozen=True):
    critical: _Critical
