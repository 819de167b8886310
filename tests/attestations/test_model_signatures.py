"""A can's files are signed in OpenSSF's format for models; the reference tool and ours agree."""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path

import pytest
import uv
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from small_cans import make_can

from cannery.attestations.models import sign_can, verify_can
from cannery.cans.open import Can
from cannery.cans.vouchers import signature_place
from cannery.errors import SignatureError, UsageError
from cannery.indexes import index_environment
from cannery.processes import run

TOOL = [
    *(uv.find_uv_bin(), "run", "--quiet", "--isolated", "--no-project"),
    *("--python", sys.executable, "--with", "model-signing==1.1.1", "--with", "pyopenssl"),
]


@pytest.fixture
def can(tmp_path: Path) -> Can:
    """Return a small can."""
    return make_can(tmp_path / "churn.can")


def write_key(folder: Path, curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
    """Make a key and write both halves into a folder."""
    key = ec.generate_private_key(curve)
    encoding = serialization.Encoding.PEM
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(encoding, form, none))
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    (folder / "key.pub").write_bytes(key.public_key().public_bytes(encoding, public))
    return key


CURVES = pytest.mark.parametrize(
    "curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name
)


@CURVES
def test_a_signed_can_is_vouched_for(can: Can, tmp_path: Path, curve: ec.EllipticCurve) -> None:
    """By that key and no other; openssl, which never saw our code, agrees."""
    key = write_key(tmp_path, curve)
    place = signature_place(can.folder)
    place.write_bytes(sign_can(can, key))
    verify_can(can, place, key.public_key())
    with pytest.raises(SignatureError, match="not signed by this key"):
        verify_can(can, place, ec.generate_private_key(curve).public_key())
    envelope = json.loads(place.read_bytes())["dsseEnvelope"]
    statement = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"].encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(statement), statement)
    (tmp_path / "signed").write_bytes(signed)
    (tmp_path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    sha = {256: "-sha256", 384: "-sha384", 521: "-sha512"}[curve.key_size]
    words = ["openssl", "dgst", sha, "-verify", tmp_path / "key.pub", "-signature"]
    assert run([*words, tmp_path / "sig", tmp_path / "signed"]).stdout == b"Verified OK\n"


def test_every_file_is_named(can: Can, tmp_path: Path) -> None:
    """The manifest too, which no digest in the can covers."""
    bundle = json.loads(sign_can(can, write_key(tmp_path, ec.SECP256R1())))
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    named = [resource["name"] for resource in statement["predicate"]["resources"]]
    assert named == sorted(path.name for path in can.folder.iterdir())


def test_another_can_is_not_vouched_for(can: Can, tmp_path: Path) -> None:
    """The same name, other files: the first that differs is named."""
    key = write_key(tmp_path, ec.SECP256R1())
    place = tmp_path / "x.sig"
    place.write_bytes(sign_can(can, key))
    other = make_can(tmp_path / "other.can", version="99")
    with pytest.raises(SignatureError, match=r"another 'README\.md' than the can's"):
        verify_can(other, place, key.public_key())


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"\xff", b'{"dsseEnvelope": {"payloadType": "x"}}'], ids=range(4)
)
def test_what_is_no_signature_is_an_error(can: Can, tmp_path: Path, data: bytes) -> None:
    """Neither yes nor no; where there is none at all, nobody signed."""
    key = write_key(tmp_path, ec.SECP256R1())
    place = tmp_path / "x.sig"
    with pytest.raises(SignatureError, match="nobody signed the can"):
        verify_can(can, place, key.public_key())
    place.write_bytes(data)
    with pytest.raises(UsageError, match="is no signature of a model"):
        verify_can(can, place, key.public_key())


def test_a_signed_statement_of_another_kind_says_nothing_of_files(can: Can, tmp_path: Path) -> None:
    """A key may have signed many things."""
    from cannery.attestations.envelopes import enclose

    key = write_key(tmp_path, ec.SECP256R1())
    bundle = json.loads(sign_can(can, key))
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    statement["predicateType"] = "https://example.com/other"
    signed = enclose(json.dumps(statement).encode(), key, by_curve=True)
    bundle["dsseEnvelope"] |= {"payload": signed.payload, "signatures": [{"sig": signed.signatures[0].sig}]}  # fmt: skip
    (tmp_path / "x.sig").write_text(json.dumps(bundle))
    with pytest.raises(SignatureError, match="not of files"):
        verify_can(can, tmp_path / "x.sig", key.public_key())


def test_a_curve_that_the_format_has_not_is_refused(can: Can, tmp_path: Path) -> None:
    """Before anything is written that nobody could check."""
    with pytest.raises(UsageError, match="secp256k1"):
        sign_can(can, write_key(tmp_path, ec.SECP256K1()))


@pytest.mark.network
def test_the_reference_tool_reads_ours_and_we_read_its(can: Can, tmp_path: Path) -> None:
    """Signed here, verified there, and the other way; a changed file is found there too."""
    key = write_key(tmp_path, ec.SECP384R1())
    ours, theirs = tmp_path / "ours.sig", tmp_path / "theirs.sig"
    ours.write_bytes(sign_can(can, key))
    tool = [*TOOL, "python", "-m", "model_signing"]
    env = {**os.environ, **index_environment()}
    check = ["verify", "key", can.folder, "--public_key", tmp_path / "key.pub", "--signature"]
    done = run([*tool, *check, ours], env=env, timeout=300)
    assert done.ok, done.complaint
    make = ["sign", "key", can.folder, "--private_key", tmp_path / "key.pem", "--signature"]
    done = run([*tool, *make, theirs], env=env, timeout=60)
    assert done.ok, done.complaint
    verify_can(can, theirs, key.public_key())
    (can.folder / "README.md").write_text("another model")
    assert not run([*tool, *check, ours], env=env, timeout=60).ok
