"""A proof says what an image showed: every fault that a platform would meet is found."""

from __future__ import annotations

import pytest
from toys import CANARY, DIGEST, TOY

from cannery.errors import EngineError, ProofError
from cannery.proofs.nouns import Check, Proof, require
from cannery.proofs.prove import prove


def names(proof: Proof) -> list[str]:
    """Return the names of the checks that failed."""
    return [check.name for check in proof.failed]


def test_a_good_image_passes(toy) -> None:
    """Everything is tried and timed, and the proof is of this can."""
    proof = require(toy.prove("good"))
    assert [check.name for check in proof.checks] == [
        "user",
        "starts",
        "canary",
        "wrong records",
        "version",
        "health program",
        "shell",
        "SIGTERM",
        "any user",
        "smoke",
    ]
    assert proof.can == DIGEST
    assert 0 < proof.cold_start <= proof.first_prediction < 10
    assert proof.memory > 1_000_000


def test_one_start_does_where_the_foundation_is_proven(toy) -> None:
    """Only what does not depend on the model is left out: the two further starts."""
    proof = require(toy.prove("good", whole=False))
    left_out = {"any user", "smoke"}
    every = [check.name for check in toy.prove("good").checks]
    assert [check.name for check in proof.checks] == [n for n in every if n not in left_out]


@pytest.mark.parametrize(
    ("behaviour", "check", "detail"),
    [
        ("crash", "starts", "ended with status 4"),
        ("sick", "starts", "/health answered 503"),
        ("wrong", "canary", "'score' in row 0 is 0.75, not 0.25"),
        ("lenient", "wrong records", "is answered 200, not 422"),
        ("rude", "SIGTERM", "status 9, not 0"),
    ],
)
def test_a_bad_image_fails_where_it_is_bad(toy, behaviour, check, detail) -> None:
    """The check that failed says what was seen."""
    failed = {c.name: c.detail for c in toy.prove(behaviour).failed}
    assert detail in failed[check]


def test_another_can_is_noticed(toy) -> None:
    """An image that serves another model than it should fails by its version."""
    proof = toy.prove("good", digest="sha256:" + "1" * 64)
    assert names(proof) == ["version"]


@pytest.mark.parametrize("user", ["", "0", "root", "toy", "0:10001"])
def test_root_and_names_are_refused(toy, user) -> None:
    """The user must be a number other than 0, which a platform can check before it starts anything."""
    assert "user" in names(toy.prove("good", User=user))


def test_an_image_without_health_check_fails(toy) -> None:
    """Docker would never call it unhealthy."""
    assert names(toy.prove("good", Healthcheck=None)) == ["health program"]


def test_a_failed_proof_is_an_error_that_names_its_checks(toy) -> None:
    """Whoever asked for a proof gets no image but the reasons."""
    with pytest.raises(ProofError, match=r"failed 1 of 10 checks: version: /version says"):
        require(toy.prove("good", digest="other"))


def test_a_proof_of_nothing_is_none() -> None:
    """No check at all is no proof."""
    proof = Proof(image="x", engine="sandbox", can="y", checks=())
    assert not proof.passed
    with pytest.raises(ProofError):
        require(proof)


def test_one_failed_check_fails_the_proof() -> None:
    """All must pass."""
    checks = tuple(Check(name=str(i), passed=i != 1, detail="", seconds=0.0) for i in range(3))
    assert not Proof(image="x", engine="sandbox", can="y", checks=checks).passed


def test_an_unknown_image_is_the_engine_s_error() -> None:
    """What is not there can't be tried."""
    from cannery.engines.sandbox import Sandbox

    with pytest.raises(EngineError, match="has no image"):
        prove(Sandbox(), "cannery-test/none:v1", CANARY, TOY, digest=DIGEST)
