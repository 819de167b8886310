"""The signature of a can's files in OpenSSF's format for models: a bundle beside the can.

https://github.com/ossf/model-signing-spec/blob/main/spec/v1.0.md
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cannery.attestations.envelopes import enclose
from cannery.attestations.signatures import is_signed, pem_of
from cannery.attestations.statements import STATEMENT
from cannery.blobs import canonical_json
from cannery.cans.open import Can
from cannery.cans.vouchers import PREDICATE, check_bundle, files_of
from cannery.errors import SignatureError, UsageError

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
CURVES = ("secp256r1", "secp384r1", "secp521r1")
_LIMIT = 16 << 20

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )


def sign_can(can: Can, key: EllipticCurvePrivateKey) -> bytes:
    """Return a bundle that vouches for every file of a can; raises UsageError for a curve that the format has not."""
    if key.curve.name not in CURVES:
        raise UsageError(
            f"a key on '{key.curve.name}' can't sign a model",
            hint="make one on P-256: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        )
    files = files_of(can.manifest, can.digest)
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

    Raises UsageError for a bundle that can't be read.
    """
    try:
        with place.open("rb") as stream:
            data = stream.read(_LIMIT)
    except FileNotFoundError as error:
        raise SignatureError(
            f"nobody signed the can: there is no '{place}'", hint="cannery sign CAN --key KEY"
        ) from error
    except OSError as error:
        raise UsageError(f"can't read the signature '{place}': {error.strerror}") from error
    check_bundle(
        data,
        files_of(can.manifest, can.digest),
        str(place),
        lambda signed, sig: is_signed(signed, sig, key, by_curve=True),
    )
