"""The composed image passes the proof in every engine."""

from __future__ import annotations

import json

import pytest

from cannery.engines.docker import docker
from cannery.engines.engine import StartOptions
from cannery.engines.podman import podman
from cannery.engines.sandbox import Sandbox
from cannery.oci.layout import read_layout, write_layout
from cannery.oci.references import parse
from cannery.proofs.contracts import CONTRACTS
from cannery.proofs.nouns import require
from cannery.proofs.prove import ProofOptions, prove

pytestmark = pytest.mark.network
ENGINES = [
    pytest.param(docker, marks=pytest.mark.docker, id="docker"),
    pytest.param(podman, marks=pytest.mark.podman, id="podman"),
    pytest.param(lambda: Sandbox(bubblewrap=True), marks=pytest.mark.bubblewrap, id="bubblewrap"),
    pytest.param(lambda: Sandbox(bubblewrap=False), id="jail"),
]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_image_is_proven(image, can, engine) -> None:
    """Everything that is tried passes, in Docker the platforms' contracts too, and nothing is left of it."""
    engine = engine()
    subject = engine.load(image)
    options = ProofOptions(contracts=CONTRACTS if engine.name == "docker" else ())
    try:
        proof = require(
            prove(engine, subject, can.canary(), can.manifest, options, digest=can.digest)
        )
    finally:
        engine.remove_image(subject)
    assert proof.can == can.digest
    assert 0 < proof.memory < 300e6


def test_the_can_comes_out_of_the_image(image, can, tmp_path) -> None:
    """An image gives back the can that is in it, byte for byte."""
    engine = Sandbox()
    out = engine.extract(engine.load(image), "/opt/cannery/can", tmp_path / "can")
    for path in can.folder.iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes()


def test_a_mounted_can_is_served(image, can, tmp_path) -> None:
    """The same image serves a can from a folder that is lent to it."""
    from cannery.engines.asking import ask
    from cannery.engines.engine import Mount

    options = StartOptions(
        mounts=(Mount(source=can.folder, target="/models/churn"),),
        environment={"CANNERY_CAN": "/models/churn"},
    )
    engine = Sandbox()
    with engine.start(engine.load(image), options) as container:
        container.wait_healthy()
        assert ask(container.url, "/version").json()["digest"] == can.digest


def test_a_layout_is_proven_as_it_is_read(image, can, tmp_path) -> None:
    """What was written to a folder is the image that was composed."""
    found = read_layout(write_layout(image, tmp_path / "layout", parse("churn:v1")))
    assert (found.digest, found.id) == (image.digest, image.id)
    assert [layer.name for layer in found.layers] == [layer.name for layer in image.layers]
    config = json.loads(found.config)
    assert config["config"]["Labels"]["dev.cannery.can.digest"] == can.digest
