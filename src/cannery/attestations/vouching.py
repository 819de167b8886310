"""Sign an image and all that is attached to it; check both with a key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from cannery.attestations.envelopes import (
    attach_envelope,
    enclose,
    envelopes_of,
    is_enclosed_by,
)
from cannery.attestations.sbom import CYCLONEDX
from cannery.attestations.signatures import (
    Signature,
    attach_signature,
    payload_of,
    sign,
    signatures_of,
    trouble_with,
)
from cannery.attestations.statements import PREDICATE, check_statement, statement
from cannery.blobs import digest_bytes
from cannery.cans.vouchers import IN_TOTO
from cannery.errors import SignatureError
from cannery.oci.descriptors import Descriptor
from cannery.oci.documents import Index, decode, is_index
from cannery.oci.references import Reference
from cannery.oci.referrers import payload_of as document_of
from cannery.oci.referrers import referrers
from cannery.oci.registry import Registry

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )


BILL = "https://cyclonedx.org/bom"
"""Type of a bill of materials within a statement."""


class Vouched(msgspec.Struct, frozen=True, kw_only=True):
    """A digest and what a key says of it."""

    what: str
    """`image`, `linux/arm64`, or the type of what is attached."""
    digest: str
    trouble: str | None = None
    """Why the key does not vouch for it; None when it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    what: str
    digest: str
    about: str | None = None
    """The image that an attached document must speak of; None for an image."""
    artifact: Descriptor | None = None


def sign_image(
    registry: Registry, reference: Reference, key: EllipticCurvePrivateKey
) -> tuple[Vouched, ...]:
    """Sign an image, each of its platforms, and what is attached to them; that once more in envelopes, as cosign has it.

    What this key has signed before is left as it is. Raises RegistryError, UnreachableError.
    """
    repository = reference.repository
    parts = list(_parts(registry, reference))
    enclosed: dict[str, set[bytes]] = {}
    for part in parts:
        if _trouble(registry, repository, part.digest, key.public_key()) is not None:
            payload = payload_of(reference.name, part.digest)
            signature = Signature(payload=payload, signature=sign(payload, key))
            attach_signature(registry, repository, part.digest, signature)
        if part.artifact is not None and part.about is not None:
            if part.about not in enclosed:
                known = envelopes_of(registry, repository, part.about)
                public = key.public_key()
                enclosed[part.about] = {e.statement for _, e in known if is_enclosed_by(e, public)}
            kind, said = _statement(registry, reference, part.artifact, part.about)
            if kind and said not in enclosed[part.about]:
                attach_envelope(registry, repository, part.about, kind, enclose(said, key))
    return tuple(Vouched(what=part.what, digest=part.digest) for part in parts)


def verify_image(
    registry: Registry, reference: Reference, key: EllipticCurvePublicKey
) -> tuple[Vouched, ...]:
    """Check the signatures of an image, of its platforms and of what is attached, and that this speaks of them.

    Raises RegistryError, UnreachableError.
    """
    found: list[Vouched] = []
    for part in _parts(registry, reference):
        trouble = _trouble(registry, reference.repository, part.digest, key)
        if trouble is None and part.artifact is not None and part.about is not None:
            document = document_of(registry, reference.repository, part.artifact)
            if part.artifact.artifact_type == IN_TOTO:
                trouble = check_statement(document, part.about)
        found.append(Vouched(what=part.what, digest=part.digest, trouble=trouble))
        if part.artifact is None:
            found += _enclosed(registry, reference.repository, part, key)
    return tuple(found)


def _statement(
    registry: Registry, reference: Reference, artifact: Descriptor, about: str
) -> tuple[str, bytes]:
    """Return kind and bytes of the statement in a document, or that it makes; no kind where it is neither."""
    document = document_of(registry, reference.repository, artifact)
    if artifact.artifact_type == CYCLONEDX:
        return BILL, statement(about, reference.name, BILL, msgspec.json.decode(document))
    if artifact.artifact_type == IN_TOTO:
        return artifact.annotations.get(PREDICATE, ""), document
    return "", document


def _enclosed(
    registry: Registry, repository: str, part: _Part, key: EllipticCurvePublicKey
) -> Iterator[Vouched]:
    """Yield what is said in envelopes, once for each kind: one that this key signed, or the trouble with the last."""
    troubles: dict[str, str | None] = {}
    for kind, envelope in envelopes_of(registry, repository, part.digest):
        trouble: str | None = "another key signed it"
        if is_enclosed_by(envelope, key):
            trouble = check_statement(envelope.statement, part.digest, kind)
        if troubles.get(kind, "none yet") is not None:
            troubles[kind] = trouble
    for kind, trouble in troubles.items():
        what = f"envelope with {kind} of {part.what}"
        yield Vouched(what=what, digest=part.digest, trouble=trouble)


def require_vouched(found: Sequence[Vouched], name: str) -> None:
    """Raise SignatureError unless the key vouches for everything."""
    troubles = [f"{part.what}: {part.trouble}" for part in found if part.trouble]
    if troubles:
        raise SignatureError(
            f"'{name}' is not vouched for by this key: {'; '.join(troubles)}",
            hint="sign it with `cannery sign`, or check with the key of whoever did",
        )


def _parts(registry: Registry, reference: Reference) -> Iterator[_Part]:
    """Yield the image, its platforms, and after each what is attached to it."""
    data, _ = registry.manifest(reference.repository, reference.target)
    digest = digest_bytes(data)
    yield from _with_attached(registry, reference.repository, _Part(what="image", digest=digest))
    if is_index(data):
        for entry in decode(data, Index, f"'{reference}'").manifests:
            name = f"{entry.platform.get('os')}/{entry.platform.get('architecture')}"
            part = _Part(what=name, digest=entry.digest)
            yield from _with_attached(registry, reference.repository, part)


def _with_attached(registry: Registry, repository: str, part: _Part) -> Iterator[_Part]:
    yield part
    for artifact in referrers(registry, repository, part.digest):
        kind = artifact.annotations.get(PREDICATE) or artifact.artifact_type
        yield _Part(
            what=f"{kind} of {part.what}",
            digest=artifact.digest,
            about=part.digest,
            artifact=artifact,
        )


def _trouble(
    registry: Registry, repository: str, digest: str, key: EllipticCurvePublicKey
) -> str | None:
    """Return why the key does not vouch for a digest: what is wrong with the last signature, or that there is none."""
    trouble: str | None = "nobody signed it"
    for signature in signatures_of(registry, repository, digest):
        trouble = trouble_with(signature, key, digest)
        if trouble is None:
            return None
    return trouble
