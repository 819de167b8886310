"""A can travels as a ModelPack artifact, and comes back file by file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cannery.blobs import digest_bytes
from cannery.errors import CanError, RegistryError
from cannery.oci.documents import Manifest, decode
from cannery.oci.modelpack import ARTIFACT, compose_artifact, files_of, push_can
from cannery.oci.references import parse
from cannery.oci.transfer import open_registry, pull_manifest

FILES = {"model.onnx": b"graph", "canary.json": b"{}", "README.md": b"# card"}


@pytest.fixture
def can(tmp_path) -> Path:
    """Return a folder that is a can as far as transport can tell."""
    folder = tmp_path / "churn.can"
    folder.mkdir()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    listed = {n: {"digest": digest_bytes(d), "size": len(d)} for n, d in FILES.items()}
    document = {"name": "churn", "version": "3", "runtime": "onnx", "model": "model.onnx"}
    (folder / "can.json").write_text(json.dumps({**document, "files": listed}))
    return folder


def test_each_file_has_the_type_of_what_it_is(can) -> None:
    """Weights, settings and documents are told apart as the specification asks."""
    manifest = decode(compose_artifact(can).manifest, Manifest, "the artifact")
    kinds = {name: d.media_type.split(".model.")[1] for name, d in files_of(manifest, "x").items()}
    assert kinds == {
        "README.md": "doc.v1.raw",
        "can.json": "weight.config.v1.raw",
        "canary.json": "weight.config.v1.raw",
        "model.onnx": "weight.v1.raw",
    }
    assert manifest.artifact_type == ARTIFACT
    assert manifest.config.media_type == "application/vnd.cncf.model.config.v1+json"


def test_the_config_describes_the_model(can) -> None:
    """The config holds the three parts that the specification requires."""
    config = json.loads(compose_artifact(can).config)
    assert config["descriptor"] == {"name": "churn", "version": "3"}
    assert config["config"] == {"format": "onnx"}
    assert config["modelfs"]["type"] == "layers"
    assert len(config["modelfs"]["diffIds"]) == 4


def test_the_manifest_says_what_it_is(can) -> None:
    """Schema version and media type are written out, as registries demand."""
    document = json.loads(compose_artifact(can).manifest)
    assert document["schemaVersion"] == 2
    assert document["mediaType"] == "application/vnd.oci.image.manifest.v1+json"


def test_the_same_can_is_the_same_artifact(can) -> None:
    """Composing twice gives one digest."""
    assert compose_artifact(can).digest == compose_artifact(can).digest


@pytest.mark.parametrize("damage", ["changed", "missing", "no can", "escaping"])
def test_a_damaged_can_is_not_sent(can, damage) -> None:
    """What `can.json` does not vouch for never leaves the machine."""
    if damage == "changed":
        (can / "model.onnx").write_bytes(b"other")
    elif damage == "missing":
        (can / "canary.json").unlink()
    elif damage == "no can":
        (can / "can.json").write_text("[]")
    else:
        text = (can / "can.json").read_text().replace("canary.json", "../canary.json")
        (can / "can.json").write_text(text)
    with pytest.raises(CanError):
        compose_artifact(can)


@pytest.mark.registry
def test_a_can_goes_to_a_registry_and_back(can, registry, tmp_path) -> None:
    """Every file comes back with its bytes, found by its path."""
    reference = push_can(can, parse(f"{registry}/models/churn:v3"))
    digest, manifest = pull_manifest(parse(f"{registry}/models/churn:v3"))
    assert reference.digest == digest == compose_artifact(can).digest
    with open_registry(reference) as client:
        for name, descriptor in files_of(manifest, str(reference)).items():
            client.fetch("models/churn", descriptor, tmp_path / "back" / name)
    for path in can.iterdir():
        assert (tmp_path / "back" / path.name).read_bytes() == path.read_bytes()


def test_an_image_is_no_can(image) -> None:
    """Asking for the files of something else is an error that names it."""
    with pytest.raises(RegistryError, match="'x' is no can"):
        files_of(decode(image.manifest, Manifest, "the image"), "x")
