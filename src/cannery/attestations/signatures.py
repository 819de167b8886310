"""Signatures that cosign reads, by its documented format: a small payload that names an image by digest, signed with a key.

https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from cannery.blobs import digest_bytes
from cannery.cans.vouchers import IMAGE, payload_trouble
from cannery.errors import UsageError
from cannery.oci.descriptors import MANIFEST, Descriptor
from cannery.oci.documents import Manifest, decode
from cannery.oci.registry import Registry

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )

PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MAKE = "make one: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A payload and who signed it."""

    payload: bytes
    signature: bytes


def payload_of(name: str, digest: str) -> bytes:
    """Return what is signed: that `name` has an image with this digest."""
    critical = {
        "identity": {"docker-reference": name},
        "image": {"docker-manifest-digest": digest},
        "type": IMAGE,
    }
    return msgspec.json.encode({"critical": critical, "optional": None})


def read_private_key(data: bytes, password: str | None = None) -> EllipticCurvePrivateKey:
    """Read a private key on an elliptic curve from PEM; raises UsageError."""
    _, serialization, ec = _library()
    try:
        key: Any = serialization.load_pem_private_key(data, password.encode() if password else None)
    except (ValueError, TypeError) as error:
        hint = _MAKE
        if b"SIGSTORE" in data:
            hint = "cosign's own encryption is not read here: give it as PKCS#8 in PEM"
        elif b"ENCRYPTED" in data:
            hint = "its password is taken from CANNERY_KEY_PASSWORD"
        raise UsageError(f"the private key can't be read: {error}", hint=hint) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UsageError(f"a {type(key).__name__} is no key on an elliptic curve", hint=_MAKE)
    found: EllipticCurvePrivateKey = key
    return found


def read_public_key(data: bytes) -> EllipticCurvePublicKey:
    """Read a public key on an elliptic curve from PEM; raises UsageError."""
    _, serialization, ec = _library()
    try:
        key: Any = serialization.load_pem_public_key(data)
    except ValueError as error:
        hint = "it is the half to give away: openssl pkey -in KEY -pubout"
        raise UsageError(f"the public key can't be read: {error}", hint=hint) from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise UsageError(
            f"a {type(key).__name__} is no key on an elliptic curve",
            hint="give the public half of the key that signed",
        )
    found: EllipticCurvePublicKey = key
    return found


def pem_of(key: EllipticCurvePublicKey) -> bytes:
    """Return a public key in PEM."""
    _, serialization, _ = _library()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(key.public_bytes(serialization.Encoding.PEM, form))


def sign(payload: bytes, key: EllipticCurvePrivateKey, *, by_curve: bool = False) -> bytes:
    """Return the signature (ECDSA, DER) over SHA-256, or `by_curve` over the hash that fits the curve."""
    return bytes(key.sign(payload, _algorithm(key.curve.key_size if by_curve else 256)))


def is_signed(
    payload: bytes, signature: bytes, key: EllipticCurvePublicKey, *, by_curve: bool = False
) -> bool:
    """Tell whether a key made a signature."""
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, payload, _algorithm(key.curve.key_size if by_curve else 256))
    except InvalidSignature:
        return False
    return True


def _algorithm(bits: int) -> Any:
    hashes, _, ec = _library()
    return ec.ECDSA({384: hashes.SHA384(), 521: hashes.SHA512()}.get(bits, hashes.SHA256()))


def trouble_with(signature: Signature, key: EllipticCurvePublicKey, digest: str) -> str | None:
    """Return why a signature does not vouch for an image by this key, or None when it does."""
    return payload_trouble(
        signature.payload, signature.signature, digest, lambda data, sig: is_signed(data, sig, key)
    )


def attach_signature(
    registry: Registry, repository: str, digest: str, signature: Signature
) -> None:
    """Add a signature to those of an image, under the tag where cosign looks; an equal one is replaced.

    Raises RegistryError, UnreachableError.
    """
    text = base64.b64encode(signature.signature).decode()
    layer = Descriptor(
        media_type=PAYLOAD,
        digest=digest_bytes(signature.payload),
        size=len(signature.payload),
        annotations={SIGNATURE: text},
    )
    known = layers_under(registry, repository, _tag(digest))
    kept = [x for x in known if x.annotations.get(SIGNATURE) != text]
    push_layers(registry, repository, _tag(digest), [*kept, layer], signature.payload)


def layers_under(registry: Registry, repository: str, tag: str) -> tuple[Descriptor, ...]:
    """Return what stands under a tag of cosign's; nothing where there is no such tag."""
    known = registry.find_manifest(repository, tag)
    return decode(known, Manifest, f"'{tag}'").layers if known else ()


def push_layers(
    registry: Registry, repository: str, tag: str, layers: Sequence[Descriptor], last: bytes
) -> None:
    """Write layers under a tag of cosign's; all but the `last` one are there already."""
    rootfs = {"type": "layers", "diff_ids": [x.digest for x in layers]}
    config = msgspec.json.encode(
        {"architecture": "", "os": "", "config": {}, "history": [], "rootfs": rootfs}
    )
    registry.push_blob(repository, layers[-1], last)
    of_config = Descriptor(media_type=_CONFIG, digest=digest_bytes(config), size=len(config))
    registry.push_blob(repository, of_config, config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST["oci"],
        "config": msgspec.to_builtins(of_config),
        "layers": [msgspec.to_builtins(x) for x in layers],
    }
    registry.push_manifest(repository, tag, msgspec.json.encode(manifest), MANIFEST["oci"])


def signatures_of(registry: Registry, repository: str, digest: str) -> tuple[Signature, ...]:
    """Return the signatures of an image, unchecked; what has not the form of one is passed over."""
    found = []
    for layer in layers_under(registry, repository, _tag(digest)):
        try:
            text = base64.b64decode(layer.annotations.get(SIGNATURE, ""), validate=True)
        except binascii.Error:
            continue
        if layer.media_type == PAYLOAD and text:
            payload = registry.blob(repository, layer)
            found.append(Signature(payload=payload, signature=text))
    return tuple(found)


def _tag(digest: str) -> str:
    return digest.replace(":", "-") + ".sig"


def _library() -> tuple[Any, Any, Any]:
    try:
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise UsageError(
            "signing needs the package 'cryptography'", hint="pip install 'cannery[sign]'"
        ) from error
    return hashes, serialization, ec
