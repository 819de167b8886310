"""What is said of an image: by published schemas, attached to it, signed, and checked."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from fake_registries import State, fake_registry
from foreign_bases import foreign_base
from image_parts import file, make_image, make_layer
from registries import running_registry
from small_cans import make_can

from cannery.attestations.envelopes import attach_envelope, enclose, envelopes_of
from cannery.attestations.sbom import CYCLONEDX, sbom_of
from cannery.attestations.signatures import (
    SIGNATURE,
    Signature,
    attach_signature,
    payload_of,
    read_private_key,
    read_public_key,
    sign,
    signatures_of,
    trouble_with,
)
from cannery.attestations.statements import (
    PARITY,
    PROOF,
    PROVENANCE,
    attestations_of,
    check_statement,
    statement,
)
from cannery.attestations.vouching import require_vouched, sign_image, verify_image
from cannery.cans.open import Can
from cannery.cans.vouchers import IN_TOTO
from cannery.errors import RegistryError, SignatureError, UsageError
from cannery.images.lock import Lock
from cannery.images.packages import DebianPackage, Platform, Wheel
from cannery.oci.descriptors import Descriptor, Image
from cannery.oci.layout import read_layout, write_layout
from cannery.oci.references import Reference, parse
from cannery.oci.referrers import payload_of as document_of
from cannery.oci.referrers import referrers
from cannery.oci.transfer import open_registry, push_image
from cannery.processes import run

LOCK = Lock(
    created="2026-11-21T02:10:46Z",
    runtime="onnx",
    platforms={
        "amd64": Platform(
            debian=(
                DebianPackage(
                    name="libc6",
                    version="2.41-12+deb13u5",
                    architecture="amd64",
                    path="pool/main/g/glibc/libc6_2.41.deb",
                    sha256="a" * 64,
                    size=1,
                ),
            ),
            wheels=(Wheel(name="numpy", version="2.5", filename="numpy-2.5.whl", sha256="b" * 64),),
        )
    },
)


@pytest.fixture
def can(tmp_path: Path) -> Can:
    """Return a small can."""
    return make_can(tmp_path / "small.can")


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """Return a small image with OCI's media types."""
    return make_image(make_layer(tmp_path / "s", file("a", b"1")), media="oci")


@pytest.fixture
def attached(image: Image, can: Can) -> dict[str, Any]:
    """Return what is attached to the image."""
    said = attestations_of(image, LOCK, can, name="r/x", parity={"rows": 1}, proof={"checks": []})
    return {image.digest: said}


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    """Return a key to sign with."""
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return host and port of a real registry, which keeps no lists of referrers."""
    with running_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


def pem(key: ec.EllipticCurvePrivateKey) -> tuple[bytes, bytes]:
    """Return both halves of a key in PEM."""
    encoding = serialization.Encoding.PEM
    return (
        key.private_bytes(
            encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo),
    )


def test_the_bill_of_materials_is_valid_cyclonedx(image: Image, can: Can) -> None:
    """The library of the format finds nothing wrong; every package is there by hash, the model too."""
    document = sbom_of(image, LOCK, can, "1.0")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is None
    kinds = {c["name"]: c["type"] for c in document["components"]}
    assert kinds["churn"] == "machine-learning-model"
    libc = next(c for c in document["components"] if c["name"] == "libc6")
    purl = "pkg:deb/debian/libc6@2.41-12%2Bdeb13u5?arch=amd64&distro=trixie&upstream=glibc"
    assert libc["purl"] == purl
    assert libc["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert sbom_of(image, LOCK, can, "1.0") == document


def test_a_foreign_base_is_a_component(image: Image) -> None:
    """Its name and digest stand in the bill, and what dpkg installed in it; the bill is valid without a model too."""
    base = foreign_base("14.2.0-19")
    import msgspec

    lock = msgspec.structs.replace(LOCK, platforms={"amd64": Platform(image=base, wheels=())})
    document = sbom_of(image, lock, None, "1.0")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is None
    assert document["components"][0]["name"] == "r/python:1"
    purl = "pkg:deb/debian/libgcc-s1@14.2.0-19%2Bb1?arch=amd64&distro=trixie&upstream=gcc-14%4014.2.0-19"
    assert document["components"][1]["purl"] == purl
    assert "hashes" not in document["components"][1]


def test_provenance_names_all_that_went_in(image: Image, attached: dict[str, Any]) -> None:
    """The statement speaks of the image by digest, and resolves packages, model and can by hash."""
    bill, provenance, parity, proof = attached[image.digest]
    assert bill.kind == CYCLONEDX
    document = json.loads(provenance.payload)
    assert document["subject"][0]["digest"]["sha256"] == image.digest.removeprefix("sha256:")
    inputs = document["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert [d["name"] for d in inputs] == ["model", "can", "libc6_2.41.deb", "numpy-2.5.whl"]
    assert json.loads(parity.payload)["predicate"] == {"rows": 1}
    assert json.loads(proof.payload)["predicateType"].endswith("/proof/v1")
    assert check_statement(provenance.payload, image.digest) is None
    assert check_statement(provenance.payload, "sha256:" + "0" * 64) == "it speaks of another image"
    assert "no in-toto statement" in str(check_statement(b"{}", image.digest))


def test_statements_follow_the_schema_of_in_toto(image: Image, attached: dict[str, Any]) -> None:
    """Type, subjects with digests, a predicate's type as an address, and an object as predicate."""
    schema = {
        "type": "object",
        "required": ["_type", "subject", "predicateType", "predicate"],
        "additionalProperties": False,
        "properties": {
            "_type": {"const": "https://in-toto.io/Statement/v1"},
            "subject": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "required": ["digest"],
                    "properties": {
                        "digest": {
                            "properties": {"sha256": {"pattern": "^[0-9a-f]{64}$"}},
                            "required": ["sha256"],
                        }
                    },
                },
            },
            "predicateType": {"pattern": "^https://"},
            "predicate": {"type": "object"},
        },
    }
    for artifact in attached[image.digest][1:]:
        assert artifact.kind == IN_TOTO
        jsonschema.validate(json.loads(artifact.payload), schema)


@pytest.mark.registry
def test_what_is_attached_is_found_by_digest(
    image: Image, attached: dict[str, Any], registry: str
) -> None:
    """A registry that keeps no lists has them under the tag of the specification; each document is whole."""
    reference = parse(f"{registry}/attached/churn:v1")
    push_image(image, reference, attached=attached)
    push_image(image, reference, attached=attached)
    with open_registry(reference) as client:
        assert client.referrers("attached/churn", image.digest) == ()
        found = referrers(client, "attached/churn", image.digest)
        documents = [document_of(client, "attached/churn", a) for a in found]
        assert set(client.tags("attached/churn")) == {"v1", image.digest.replace(":", "-")}
    assert documents == [a.payload for a in attached[image.digest]]
    assert [a.artifact_type for a in found] == [CYCLONEDX, IN_TOTO, IN_TOTO, IN_TOTO]


def test_a_registry_that_keeps_lists_is_asked_for_them(
    image: Image, attached: dict[str, Any]
) -> None:
    """Where the answer to the push names the subject, no tag is written."""
    state = State(keeps_referrers=True)
    with fake_registry(state) as host:
        reference = parse(f"{host}/team/churn:v1")
        push_image(image, reference, attached=attached)
        with open_registry(reference) as client:
            found = referrers(client, "team/churn", image.digest)
    assert len(found) == 4
    assert image.digest.replace(":", "-") not in state.manifests
    assert list(state.manifests)[-1] == "v1"


def test_a_layout_holds_what_is_attached(
    image: Image, attached: dict[str, Any], tmp_path: Path
) -> None:
    """Its index lists the documents after the image, which is still the one that is read."""
    write_layout(image, tmp_path / "x.oci", parse("churn:v1"), attached=attached)
    index = json.loads((tmp_path / "x.oci/index.json").read_text())
    assert [e.get("artifactType") for e in index["manifests"]] == [
        None,
        CYCLONEDX,
        IN_TOTO,
        IN_TOTO,
        IN_TOTO,
    ]
    assert read_layout(tmp_path / "x.oci").digest == image.digest


@pytest.mark.registry
def test_skopeo_still_finds_the_image_in_it(
    image: Image, attached: dict[str, Any], tmp_path: Path
) -> None:
    """By its tag, a tool that is not ours takes the image."""
    write_layout(image, tmp_path / "x.oci", parse("churn:v1"), attached=attached)
    done = run(["skopeo", "inspect", f"oci:{tmp_path}/x.oci:v1"])
    assert json.loads(done.stdout)["Digest"] == image.digest


@pytest.mark.registry
def test_what_was_signed_is_vouched_for(
    image: Image,
    attached: dict[str, Any],
    key: ec.EllipticCurvePrivateKey,
    registry: str,
) -> None:
    """The image and every document: before, nobody vouches; after, the key does, and no other key."""
    reference = parse(f"{registry}/signed/churn:v1")
    push_image(image, reference, attached=attached)
    with open_registry(reference) as client:
        before = verify_image(client, reference, key.public_key())
        with pytest.raises(SignatureError, match="image: nobody signed it"):
            require_vouched(before, "x")
        assert len(sign_image(client, reference, key)) == 5
        found = verify_image(client, reference, key.public_key())
        require_vouched(found, "x")
        assert found[0].what == "image"
        other = ec.generate_private_key(ec.SECP256R1())
        strange = verify_image(client, reference, other.public_key())
        assert {f.trouble for f in strange} == {"another key signed it"}
        sign_image(client, reference, key)
        assert len(signatures_of(client, "signed/churn", image.digest)) == 1
        sign_image(client, reference, other)
        assert len(signatures_of(client, "signed/churn", image.digest)) == 2
        require_vouched(verify_image(client, reference, key.public_key()), "x")


@pytest.mark.registry
def test_what_is_attached_is_enclosed_as_cosign_keeps_attestations(
    image: Image,
    attached: dict[str, Any],
    key: ec.EllipticCurvePrivateKey,
    registry: str,
    tmp_path: Path,
) -> None:
    """One envelope a document under the tag of attestations, each with its kind; openssl finds them good."""
    reference = parse(f"{registry}/enclosed/churn:v1")
    push_image(image, reference, attached=attached)
    (tmp_path / "pub.pem").write_bytes(pem(key)[1])
    with open_registry(reference) as client:
        sign_image(client, reference, key)
        sign_image(client, reference, key)
        tag = image.digest.replace(":", "-") + ".att"
        layers = json.loads(client.manifest("enclosed/churn", tag)[0])["layers"]
        found = dict(envelopes_of(client, "enclosed/churn", image.digest))
    assert {layer["mediaType"] for layer in layers} == {"application/vnd.dsse.envelope.v1+json"}
    kinds = [layer["annotations"]["predicateType"] for layer in layers]
    assert sorted(kinds) == sorted({PARITY, PROOF, PROVENANCE, "https://cyclonedx.org/bom"})
    for kind, envelope in found.items():
        statement = json.loads(envelope.statement)
        assert statement["predicateType"] == kind
        assert statement["subject"][0]["digest"] == {"sha256": image.digest[7:]}
        kind, size = envelope.payload_type.encode(), len(envelope.statement)
        signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, size, envelope.statement)
        (tmp_path / "signed").write_bytes(signed)
        (tmp_path / "sig").write_bytes(base64.b64decode(envelope.signatures[0].sig))
        words = ["openssl", "dgst", "-sha256", "-verify", tmp_path / "pub.pem", "-signature"]
        assert run([*words, tmp_path / "sig", tmp_path / "signed"]).ok


@pytest.mark.registry
def test_envelopes_that_lie_are_found(
    image: Image, key: ec.EllipticCurvePrivateKey, registry: str
) -> None:
    """Of another image, under another kind, of another key: each has its reason; a good one beside it helps."""
    reference = parse(f"{registry}/lying/churn:v1")
    push_image(image, reference)
    other = ec.generate_private_key(ec.SECP256R1())
    good = statement(image.digest, "x", PARITY, {})
    cases = [
        ("moved", statement("sha256:" + "1" * 64, "x", "moved", {}), key),
        ("kind", good, key),
        ("key", statement(image.digest, "x", "key", {}), other),
        ("none", b"hello", key),
        (PARITY, good, other),
        (PARITY, good, key),
    ]
    with open_registry(reference) as client:
        sign_image(client, reference, key)
        for kind, said, signer in cases:
            attach_envelope(client, "lying/churn", image.digest, kind, enclose(said, signer))
        found = verify_image(client, reference, key.public_key())
    troubles = {f.what.split()[2]: f.trouble for f in found if f.what.startswith("envelope")}
    assert troubles[PARITY] is None
    assert troubles["moved"] == "it speaks of another image"
    assert troubles["kind"] == f"it says '{PARITY}'"
    assert troubles["key"] == "another key signed it"
    assert "no in-toto statement" in str(troubles["none"])


@pytest.mark.registry
def test_a_signature_is_laid_out_as_cosign_documents(
    image: Image, key: ec.EllipticCurvePrivateKey, registry: str, tmp_path: Path
) -> None:
    """Tag, media types, payload; and openssl finds the signature good, which never saw our code."""
    reference = parse(f"{registry}/cosign/churn:v1")
    push_image(image, reference)
    with open_registry(reference) as client:
        sign_image(client, reference, key)
        tag = image.digest.replace(":", "-") + ".sig"
        manifest = json.loads(client.manifest("cosign/churn", tag)[0])
        (layer,) = manifest["layers"]
        payload = client.blob(
            "cosign/churn", Descriptor(media_type="", digest=layer["digest"], size=layer["size"])
        )
    assert layer["mediaType"] == "application/vnd.dev.cosign.simplesigning.v1+json"
    assert manifest["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    assert json.loads(payload) == {
        "critical": {
            "identity": {"docker-reference": f"{registry}/cosign/churn"},
            "image": {"docker-manifest-digest": image.digest},
            "type": "cosign container image signature",
        },
        "optional": None,
    }
    (tmp_path / "payload").write_bytes(payload)
    (tmp_path / "signature").write_bytes(base64.b64decode(layer["annotations"][SIGNATURE]))
    (tmp_path / "pub.pem").write_bytes(pem(key)[1])
    words = ["openssl", "dgst", "-sha256", "-verify", tmp_path / "pub.pem"]
    done = run([*words, "-signature", tmp_path / "signature", tmp_path / "payload"])
    assert done.stdout == b"Verified OK\n"


def test_a_signature_for_another_image_vouches_for_nothing(
    key: ec.EllipticCurvePrivateKey,
) -> None:
    """Moved to another digest, cut, or of other words: each has its reason."""
    one, two = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    good = Signature(payload=payload_of("r/x", one), signature=sign(payload_of("r/x", one), key))
    assert trouble_with(good, key.public_key(), one) is None
    assert trouble_with(good, key.public_key(), two) == f"it was signed for {one}"
    bent = Signature(payload=good.payload + b" ", signature=good.signature)
    assert trouble_with(bent, key.public_key(), one) == "another key signed it"
    words = Signature(payload=b"hello", signature=sign(b"hello", key))
    assert "no payload" in str(trouble_with(words, key.public_key(), one))


def test_keys_that_can_t_be_used_are_told(key: ec.EllipticCurvePrivateKey) -> None:
    """No PEM, the wrong half, another kind, or locked: each is an error with a hint."""
    private, public = pem(key)
    assert read_private_key(private).key_size == 256
    assert read_public_key(public).key_size == 256
    for data in (b"", b"no key", public):
        with pytest.raises(UsageError, match="can't be read"):
            read_private_key(data)
    with pytest.raises(UsageError, match="can't be read"):
        read_public_key(private)
    other = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with pytest.raises(UsageError, match="no key on an elliptic curve"):
        read_private_key(other)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    with pytest.raises(UsageError) as caught:
        read_private_key(locked)
    assert "CANNERY_KEY_PASSWORD" in str(caught.value.hint)
    assert read_private_key(locked, "secret").key_size == 256


def test_a_registry_that_fails_leaves_no_tag(image: Image, attached: dict[str, Any]) -> None:
    """When a document can't be attached, the image gets no tag."""

    def trouble(handler: Any) -> bool:
        if "/manifests/sha256" in handler.path and handler.command == "PUT":
            handler.rfile.read(int(handler.headers["Content-Length"]))
            handler.answer(403)
            return True
        return False

    state = State(trouble=trouble)
    with fake_registry(state) as host, pytest.raises(RegistryError):
        push_image(image, parse(f"{host}/team/churn:v1"), attached=attached)
    assert state.manifests == {}


def reference_to(host: str) -> Reference:
    """Return a reference in a registry."""
    return parse(f"{host}/team/churn:v1")


def test_signatures_that_have_no_form_are_passed_over(
    image: Image, key: ec.EllipticCurvePrivateKey
) -> None:
    """Somebody else's manifest under the tag of signatures vouches for nothing, and breaks nothing."""
    state = State()
    with fake_registry(state) as host:
        push_image(image, reference_to(host))
        state.manifests[image.digest.replace(":", "-") + ".sig"] = image.manifest
        with open_registry(reference_to(host)) as client:
            (found,) = verify_image(client, reference_to(host), key.public_key())
            assert found.trouble == "nobody signed it"
            good = payload_of("x", image.digest)
            signature = Signature(payload=good, signature=sign(good, key))
            attach_signature(client, "team/churn", image.digest, signature)
            (found,) = verify_image(client, reference_to(host), key.public_key())
    assert found.trouble is None
