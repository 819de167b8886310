"""Each platform's contract is kept by the service, and one that is broken is noticed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from churn_cans import RECORDS, Running, expected, make_manifest, running, sealed
from toy_images import toy_image

from cannery.cans.open import Can
from cannery.engines.docker import docker
from cannery.errors import ProofError
from cannery.processes import run
from cannery.proofs import questions
from cannery.proofs.contracts import CONTRACTS, Contract
from cannery.proofs.questions import Golden
from cannery.signatures import Canary

GOLDEN = Golden(
    canary=Canary(records=RECORDS, outputs=tuple(expected(record) for record in RECORDS)),
    manifest=make_manifest(),
)
EVERY = pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.platform)


@pytest.fixture(scope="module")
def service(can: Can) -> Iterator[Running]:
    """Return the service with the routes that Vertex AI asks for."""
    routes = {
        name: value
        for contract in CONTRACTS
        for name, value in contract.environment.items()
        if name.endswith("_ROUTE")
    }
    with running(can.folder, **routes) as service:
        yield service


@EVERY
def test_the_service_keeps_the_contract(service: Running, contract: Contract) -> None:
    """All that the platform asks is answered, and the report says what that was."""
    assert contract.demand(service, GOLDEN)


def test_a_model_of_any_name_is_asked_for(tmp_path: Path) -> None:
    """Blanks, slashes and letters beyond ASCII stand encoded in KServe's paths."""
    manifest = make_manifest(name="vêlo / churn")
    can = sealed(tmp_path / "odd.can", canary=GOLDEN.canary, name=manifest.name)
    (contract,) = (each for each in CONTRACTS if each.platform == "KServe")
    with running(can.folder) as service:
        assert contract.demand(service, replace(GOLDEN, manifest=manifest))


def test_csv_is_among_what_sagemaker_asks(service: Running) -> None:
    """Where CSV can say what the records say, it is tried."""
    assert questions.csv(service, GOLDEN, "/invocations")


@EVERY
def test_other_answers_break_the_contract(service: Running, contract: Contract) -> None:
    """Whatever the protocol, the answers are held against the original's."""
    outputs = ({**GOLDEN.canary.outputs[0], "churn_probability": 0.5}, GOLDEN.canary.outputs[1])
    other = replace(GOLDEN, canary=msgspec.structs.replace(GOLDEN.canary, outputs=outputs))
    with pytest.raises(ProofError, match="canary is off: 'churn_probability' in row 0"):
        contract.demand(service, other)


@pytest.mark.parametrize(
    "ask",
    [
        lambda container, golden: questions.csv(container, golden, "/invocations"),
        lambda container, golden: questions.tensors(container, golden),
        lambda container, golden: questions.input_data(container, golden, "/score"),
    ],
    ids=["csv", "tensors", "input_data"],
)
def test_each_form_is_held_against_the_original(service: Running, ask) -> None:
    """A difference in the second row is found in every form."""
    outputs = (GOLDEN.canary.outputs[0], {**GOLDEN.canary.outputs[1], "label": "Yes"})
    other = replace(GOLDEN, canary=msgspec.structs.replace(GOLDEN.canary, outputs=outputs))
    with pytest.raises(ProofError, match="'label' in row 1 is 'No'"):
        ask(service, other)


def test_an_empty_text_is_not_asked_by_csv(service: Running) -> None:
    """CSV can't tell it from null, so nothing is claimed of it."""
    records = ({**RECORDS[0], "contract": ""},)
    canary = Canary(records=records, outputs=(expected(records[0]),))
    assert not questions.csv(service, replace(GOLDEN, canary=canary), "/invocations")


def test_nobody_there_breaks_every_contract() -> None:
    """A refused connection is a failed check, not a failed program."""
    nobody = SimpleNamespace(url="http://127.0.0.1:9")
    for contract in CONTRACTS:
        with pytest.raises(ProofError, match="does not answer"):
            contract.demand(nobody, GOLDEN)


def test_an_image_that_knows_no_platform_fails_by_name(toy) -> None:
    """Each platform is a check of its own; the toy answers /predict, so Cloud Run is content."""
    proof = toy.prove("good", whole=False, contracts=CONTRACTS)
    failed = {check.name: check.detail for check in proof.failed}
    assert set(failed) == {contract.platform for contract in CONTRACTS} - {"Cloud Run"}
    assert failed["SageMaker"] == "GET /ping answers 404, not 200"
    assert "/v1/models/toy answers 404" in failed["KServe"]


@pytest.mark.docker
def test_an_image_that_was_there_before_stays(toy_store: Path) -> None:
    """Verified by its id, without a name: it is the user's, whatever comes out."""
    engine = docker()
    subject = engine.load(toy_image(toy_store, Labels={"only": "verified"}))
    try:
        words = [sys.executable, "-m", "cannery", "verify", subject, "--engine", "docker"]
        done = run(words, timeout=120)
        assert (done.status, "has no can inside" in done.complaint) == (2, True)
        assert engine.settings(subject).labels == {"only": "verified"}
    finally:
        engine.remove_image(subject)
    done = run(words, timeout=120)
    assert (done.status, f"docker has no image '{subject}'" in done.complaint) == (2, True)
