"""In-toto statements of an image: its bill of materials, its provenance, parity and proof.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md · https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

import importlib.metadata
from typing import Any

import msgspec

from cannery.attestations.sbom import CYCLONEDX, sbom_of
from cannery.blobs import canonical_json, hex_of, parse_json
from cannery.cans.open import Can
from cannery.cans.vouchers import IN_TOTO
from cannery.images.lock import Lock
from cannery.oci.artifacts import Artifact
from cannery.oci.descriptors import Architecture, Image

STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
PARITY = "https://cannery.dev/attestations/parity/v1"
PROOF = "https://cannery.dev/attestations/proof/v1"
BUILD = "https://cannery.dev/builds/compose/v1"
PREDICATE = "in-toto.io/predicate-type"


def attestations_of(
    image: Image,
    lock: Lock,
    can: Can | None,
    *,
    name: str,
    parity: dict[str, Any] | None,
    proof: dict[str, Any] | None,
) -> tuple[Artifact, ...]:
    """Return all that is said of an image, each as a document to attach to it.

    `can`: what is baked in. `parity` and `proof` are those documents as JSON values; None: there is none.
    """
    version = importlib.metadata.version("cannery")
    bill = canonical_json(sbom_of(image, lock, can, version))
    said = [(PROVENANCE, provenance(image, lock, can, version))]
    said += [(PARITY, parity)] if parity is not None else []
    said += [(PROOF, proof)] if proof is not None else []
    return (
        Artifact(kind=CYCLONEDX, payload=bill, media_type=CYCLONEDX),
        *(attestation(image, name, kind, predicate) for kind, predicate in said),
    )


def attestation(image: Image, name: str, kind: str, predicate: dict[str, Any]) -> Artifact:
    """Return an in-toto statement about an image as a document to attach to it."""
    return Artifact(
        kind=IN_TOTO,
        payload=statement(image.digest, name, kind, predicate),
        media_type=IN_TOTO,
        annotations={PREDICATE: kind},
    )


def statement(digest: str, name: str, kind: str, predicate: dict[str, Any]) -> bytes:
    """Return an in-toto statement about an image, in canonical JSON."""
    subject = {"name": name, "digest": {"sha256": hex_of(digest)}}
    return canonical_json(
        {"_type": STATEMENT, "subject": [subject], "predicateType": kind, "predicate": predicate}
    )


def provenance(image: Image, lock: Lock, can: Can | None, version: str) -> dict[str, Any]:
    """Return from what an image was built and how, in SLSA's words; nothing of when and by whom, so it can be rebuilt."""
    return {
        "buildDefinition": {
            "buildType": BUILD,
            "externalParameters": {
                "base": lock.base,
                "runtime": lock.runtime,
                "platform": f"linux/{image.architecture}",
                "model": None if can is None else can.manifest.source.given,
            },
            "internalParameters": {"recipe": lock.recipe, "lock": lock.digest},
            "resolvedDependencies": [*_model(can), *_packages(lock, image.architecture)],
        },
        "runDetails": {
            "builder": {
                "id": "https://cannery.dev/builders/local",
                "version": {"cannery": version},
            },
        },
    }


def _model(can: Can | None) -> list[dict[str, Any]]:
    if can is None:
        return []
    source = can.manifest.source
    run = {"annotations": {"run": source.run_id}} if source.run_id else {}
    return [
        {"name": "model", **_uri(source.resolved), **_digest(source.digest), **run},
        {"name": "can", **_digest(can.digest)},
    ]


def _uri(text: str) -> dict[str, str]:
    """Return an address for what has one: a plain path is none."""
    return {"uri": text} if ":" in text else {}


def _packages(lock: Lock, architecture: Architecture) -> list[dict[str, Any]]:
    platform = lock.platforms[architecture]
    base = [] if platform.image is None else [("base", platform.image.digest)]
    debian = [(package.path.rpartition("/")[2], package.sha256) for package in platform.debian]
    wheels = [(wheel.filename, wheel.sha256) for wheel in platform.wheels]
    return [{"name": name, **_digest(digest)} for name, digest in (*base, *debian, *wheels)]


def _digest(digest: str) -> dict[str, Any]:
    return {"digest": {"sha256": hex_of(digest)}}


def check_statement(payload: bytes, digest: str, kind: str | None = None) -> str | None:
    """Return why a statement does not speak of an image, or not in the `kind` that it is kept under; None when it does."""
    try:
        document = parse_json(payload, _Statement)
    except msgspec.MsgspecError as error:
        return f"it is no in-toto statement: {error}"
    if document.type_ != STATEMENT:
        return f"it is of type '{document.type_}'"
    if kind is not None and document.predicate_type != kind:
        return f"it says '{document.predicate_type}'"
    if hex_of(digest) not in {subject.digest.get("sha256") for subject in document.subject}:
        return "it speaks of another image"
    return None


class _Subject(msgspec.Struct, frozen=True):
    digest: dict[str, str]


class _Statement(msgspec.Struct, frozen=True):
    type_: str = msgspec.field(name="_type")
    subject: tuple[_Subject, ...]
    predicate_type: str = msgspec.field(name="predicateType", default="")
