"""Signed statements: DSSE envelopes, and where cosign keeps those of an image.

https://github.com/secure-systems-lab/dsse/blob/master/protocol.md · https://github.com/sigstore/cosign/blob/main/specs/ATTESTATION_SPEC.md
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import msgspec

from cannery.attestations.signatures import SIGNATURE, is_signed, layers_under, push_layers, sign
from cannery.blobs import digest_bytes, parse_json
from cannery.cans.vouchers import IN_TOTO, Envelope, Signed, encoded
from cannery.oci.descriptors import Descriptor
from cannery.oci.registry import Registry

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )

ENVELOPE = "application/vnd.dsse.envelope.v1+json"
PREDICATE_TYPE = "predicateType"
"""Annotation by which cosign tells envelopes apart."""


def enclose(statement: bytes, key: EllipticCurvePrivateKey, *, by_curve: bool = False) -> Envelope:
    """Sign an in-toto statement; `by_curve`: with the hash that fits the curve, not always SHA-256."""
    signature = sign(encoded(statement), key, by_curve=by_curve)
    return Envelope(
        payload_type=IN_TOTO, payload=_text(statement), signatures=(Signed(sig=_text(signature)),)
    )


def is_enclosed_by(envelope: Envelope, key: EllipticCurvePublicKey) -> bool:
    """Tell whether a key signed the in-toto statement in an envelope."""
    return envelope.holds(lambda data, sig: is_signed(data, sig, key))


def attach_envelope(
    registry: Registry, repository: str, digest: str, kind: str, envelope: Envelope
) -> None:
    """Add an envelope to those of an image; raises RegistryError, UnreachableError."""
    data = msgspec.json.encode(envelope)
    layer = Descriptor(
        media_type=ENVELOPE,
        digest=digest_bytes(data),
        size=len(data),
        annotations={SIGNATURE: "", PREDICATE_TYPE: kind},
    )
    known = layers_under(registry, repository, _tag(digest))
    push_layers(registry, repository, _tag(digest), [*known, layer], data)


def envelopes_of(
    registry: Registry, repository: str, digest: str
) -> tuple[tuple[str, Envelope], ...]:
    """Return the predicate types and envelopes of an image, unchecked; what is none is passed over."""
    found = []
    for layer in layers_under(registry, repository, _tag(digest)):
        if layer.media_type != ENVELOPE:
            continue
        try:
            envelope = parse_json(registry.blob(repository, layer), Envelope)
        except msgspec.MsgspecError:
            continue
        found.append((layer.annotations.get(PREDICATE_TYPE, ""), envelope))
    return tuple(found)


def _tag(digest: str) -> str:
    return digest.replace(":", "-") + ".att"


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
