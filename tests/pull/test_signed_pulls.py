"""With a key, only what it vouches for is pulled; OpenSSL's library checks what `cannery sign` made."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from registries import running_registry
from small_cans import make_can

from cannery.attestations.models import sign_can
from cannery.attestations.signatures import pem_of
from cannery.attestations.vouching import sign_image
from cannery.cans.open import Can, open_can
from cannery.cans.vouchers import signature_place
from cannery.errors import CanError, SignatureError, UnreachableError, UsageError
from cannery.oci.modelpack import push_can
from cannery.oci.references import Reference, parse
from cannery.oci.transfer import open_registry
from cannery.serving.keys import KEY, check_can, key_of
from cannery.serving.origins import origin_of
from cannery.serving.pull import fetch, remember
from cannery.serving.settings import settings_of

CURVES = (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())
MINE = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
TRUSTED = {KEY: pem_of(MINE.public_key()).decode()}


def sign(can: Can, key: ec.EllipticCurvePrivateKey = MINE) -> None:
    """Put a signature beside a can."""
    signature_place(can.folder).write_bytes(sign_can(can, key))


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
def test_the_library_agrees_with_the_one_that_signs(curve: ec.EllipticCurve) -> None:
    """On every curve and either hash; a byte changed anywhere is no signature."""
    private = ec.generate_private_key(curve)
    key = key_of({KEY: pem_of(private.public_key()).decode()})
    assert key is not None
    by_curve = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}[curve.key_size]
    for algorithm, check in ((hashes.SHA256(), key.signed), (by_curve, key.signed_by_curve)):
        signature = private.sign(b"what is said", ec.ECDSA(algorithm))
        assert check(b"what is said", signature)
        assert not check(b"what is sad", signature)
        for place in range(0, len(signature), 7):
            bent = bytearray(signature)
            bent[place] ^= 1
            assert not check(b"what is said", bytes(bent))
        assert not check(b"what is said", b"")
        assert not check(b"what is said", OTHER.sign(b"what is said", ec.ECDSA(algorithm)))


ED = ed25519.Ed25519PrivateKey.generate().public_key()
ED_PEM = ED.public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
).decode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/nowhere/key.pub", "PULL_KEY '/nowhere/key.pub' can't be read: no such file"),
        ("/dev/null", "PULL_KEY holds no public key"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "holds no public key"),
        (ED_PEM, "holds no public key on an elliptic curve"),
    ],
    ids=["lost", "empty", "torn", "ed25519"],
)
def test_what_is_no_key_is_named(text: str, said: str) -> None:
    """Before anything is pulled."""
    with pytest.raises(UsageError, match=said):
        key_of({KEY: text})


def test_a_key_in_a_file_is_read(can: Can, tmp_path: Path) -> None:
    """As a secret is mounted; and a can on a path is checked by the signature beside it."""
    (tmp_path / "key.pub").write_bytes(pem_of(MINE.public_key()))
    env = {KEY: str(tmp_path / "key.pub")}
    with pytest.raises(SignatureError, match="nobody signed the can"):
        fetch(str(can.folder), tmp_path, env)
    sign(can, OTHER)
    with pytest.raises(SignatureError, match="not signed by this key"):
        fetch(str(can.folder), tmp_path, env)
    sign(make_can(tmp_path / "churn2.can", version="9"))
    (tmp_path / "churn2.can.sig").rename(signature_place(can.folder))
    with pytest.raises(SignatureError, match="of another 'README"):
        fetch(str(can.folder), tmp_path, env)
    signature_place(can.folder).write_bytes(b"{}")
    with pytest.raises(SignatureError, match="no signature of a model"):
        fetch(str(can.folder), tmp_path, env)
    sign(can)
    assert fetch(str(can.folder), tmp_path, env).digest == can.digest


def test_what_is_served_of_a_signed_path_is_a_copy(can: Can, tmp_path: Path) -> None:
    """Whoever may write there changes nothing of what the key vouched for, however late."""
    sign(can)
    cache = tmp_path / "cache"
    opened = fetch(str(can.folder), cache, TRUSTED)
    assert opened.folder == cache / can.digest.removeprefix("sha256:")
    (can.folder / "model.onnx").write_bytes(b"another model")
    assert open_can(opened.folder) == opened
    with pytest.raises(CanError, match=r"'model\.onnx' is damaged"):
        fetch(str(can.folder), cache, TRUSTED)


def test_a_signed_path_that_changes_while_it_is_copied_is_refused(
    can: Can, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole can that nobody signed, put there after the look at the signature, is another one."""
    sign(can)
    forged = make_can(tmp_path / "forged.can", version="666")

    def check(*words: Any) -> None:
        check_can(*words)
        shutil.rmtree(can.folder)
        forged.folder.rename(can.folder)

    monkeypatch.setattr("cannery.serving.pull.check_can", check)
    with pytest.raises(CanError, match="became another one while it was copied"):
        fetch(str(can.folder), tmp_path / "cache", TRUSTED)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_key_that_would_vouch_for_nothing_is_an_error() -> None:
    """A can in the image, or mounted, is not looked at with it: the service says so and does not start."""
    with pytest.raises(UsageError, match="PULL_KEY is set, but MODEL_URI is not"):
        origin_of(settings_of(TRUSTED), TRUSTED)
    named = {**TRUSTED, "MODEL_URI": "/mnt/models"}
    assert origin_of(settings_of(named), named)


@pytest.fixture
def pushed(can: Can, tmp_path: Path) -> Iterator[Reference]:
    """A can in a registry."""
    with running_registry(tmp_path / "registry") as host:
        yield push_can(can.folder, parse(f"{host}/models/churn:v1"))


@pytest.mark.registry
def test_a_can_in_a_registry_must_be_signed_there(
    pushed: Reference, can: Can, tmp_path: Path
) -> None:
    """As `cannery sign` and cosign do; any one of several signatures is enough."""
    uri, cache = f"oci://{pushed}", tmp_path / "cache"
    with pytest.raises(SignatureError, match="nobody signed it"):
        fetch(uri, cache, TRUSTED)
    with open_registry(pushed) as registry:
        sign_image(registry, pushed, OTHER)
        with pytest.raises(SignatureError, match="another key signed it"):
            fetch(uri, cache, TRUSTED)
        assert not cache.exists()
        sign_image(registry, pushed, MINE)
    assert fetch(uri, cache, TRUSTED).digest == can.digest


@pytest.mark.registry
def test_a_dead_registry_gives_only_what_this_key_vouched_for(can: Can, tmp_path: Path) -> None:
    """The cache remembers by which key a can was good."""
    cache = tmp_path / "cache"
    with running_registry(tmp_path / "registry") as host:
        pushed = push_can(can.folder, parse(f"{host}/models/churn:v1"))
        uri = f"oci://{pushed}"
        remember(uri, fetch(uri, cache, {}), cache, {})
        with open_registry(pushed) as registry:
            sign_image(registry, pushed, MINE)
    with pytest.raises(UnreachableError):
        fetch(uri, cache, TRUSTED)
    remember(uri, fetch(uri, cache, {}), cache, TRUSTED)
    assert fetch(uri, cache, TRUSTED).digest == can.digest
