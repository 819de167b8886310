"""The signature of a can's files in OpenSSF's format for models: a bundle beside the can.

https://github.com/ossf/model-signing-spec/blob/main/spec/v1.0.md
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cannery.attestations.envelopes import Envelope, enclose, is_enclosed_by
from cannery.attestations.signatures import pem_of
from cannery.attestations.statements import STATEMENT
from cannery.blobs import canonical_json, hex_of
from cannery.cans.open import MANIFEST, Can
from cannery.errors import SignatureError, UsageError

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PREDICATE = "https://model_signing/signature/v1.0"
CURVES = ("secp256r1", "secp384r1", "secp521r1")
SUFFIX = ".sig"
_LIMIT = 16 << 20

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )


def signature_place(folder: Path) -> Path:
    """Return where the signature of a can lies: beside it, since a can holds nothing but itself."""
    return folder.resolve().with_name(folder.resolve().name + SUFFIX)


def sign_can(can: Can, key: EllipticCurvePrivateKey) -> bytes:
    """Return a bundle that vouches for every file of a can; raises UsageError for a curve that the format has not."""
    if key.curve.name not in CURVES:
        raise UsageError(
            f"a key on '{key.curve.name}' can't sign a model",
            hint="make one on P-256: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        )
    files = _files(can)
    root = hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in files.values()))
    serialization: dict[str, Any] = {"method": "files", "hash_type": "sha256"}
    serialization |= {"allow_symlinks": False, "ignore_paths": []}
    statement = canonical_json(
        {
            "_type": STATEMENT,
            "subject": [{"name": can.manifest.name, "digest": {"sha256": root.hexdigest()}}],
            "predicateType": PREDICATE,
            "predicate": {
                "serialization": serialization,
                "resources": [
                    {"name": name, "algorithm": "sha256", "digest": digest}
                    for name, digest in files.items()
                ],
            },
        }
    )
    hint = hashlib.sha256(pem_of(key.public_key())).hexdigest()
    bundle = {
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
        "dsseEnvelope": msgspec.to_builtins(enclose(statement, key, by_curve=True)),
    }
    return canonical_json(bundle)


def verify_can(can: Can, place: Path, key: EllipticCurvePublicKey) -> None:
    """Raise SignatureError unless the bundle at `place` vouches for exactly the files of an opened can.

    Raises UsageError where there is no bundle.
    """
    try:
        with place.open("rb") as stream:
            data = stream.read(_LIMIT)
        bundle = msgspec.json.decode(data, type=_Bundle)
        statement = msgspec.json.decode(bundle.envelope.statement, type=_Statement)
    except OSError as error:
        raise UsageError(
            f"can't read the signature '{place}': {error.strerror}",
            hint="cannery sign CAN --key KEY",
        ) from error
    except msgspec.MsgspecError as error:
        raise UsageError(f"'{place}' is no signature of a model: {error}") from error
    if not is_enclosed_by(bundle.envelope, key, by_curve=True):
        raise SignatureError(f"'{place}' is not signed by this key")
    if statement.predicate_type != PREDICATE:
        raise SignatureError(f"'{place}' speaks of '{statement.predicate_type}', not of files")
    signed = {r.name: r.digest for r in statement.predicate.resources if r.algorithm == "sha256"}
    own = _files(can)
    other = sorted(name for name in signed | own if signed.get(name) != own.get(name))
    if other:
        raise SignatureError(f"'{place}' was made of another '{other[0]}' than the can's")


def _files(can: Can) -> dict[str, str]:
    """Return name and SHA-256 of every file, sorted by name."""
    files = {name: hex_of(file.digest) for name, file in can.manifest.files.items()}
    return dict(sorted({**files, MANIFEST: hex_of(can.digest)}.items()))


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
