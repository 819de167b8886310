"""Cans and layouts go to a registry and come back as the same bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fake_registries import Handler, State, fake_registry
from image_parts import file, make_image, make_layer
from small_cans import make_can

from cannery.cans.open import open_can
from cannery.errors import CanError, ImageError, OutputError, RegistryError, SourceError
from cannery.oci.artifacts import Artifact
from cannery.oci.copies import is_can, pull_can_files, pull_image, push_layout
from cannery.oci.descriptors import Image, manifest_of
from cannery.oci.layout import read_layout, write_layout
from cannery.oci.modelpack import push_can
from cannery.oci.references import parse
from cannery.oci.referrers import referrers
from cannery.oci.transfer import open_registry


def two(store: Path) -> tuple[Image, Image]:
    """Return an image for two processors."""
    first = make_image(make_layer(store, file("a", b"1")), media="oci")
    config = first.config.replace(b'"amd64"', b'"arm64"')
    manifest = manifest_of(config, first.layers, "oci")
    return first, replace(first, config=config, manifest=manifest, architecture="arm64")


@pytest.mark.registry
def test_a_layout_goes_there_and_back(registry: str, tmp_path: Path) -> None:
    """With both platforms and what is attached; every digest stays."""
    images = two(tmp_path / "s")
    said = Artifact(kind="x/y", payload=b"said", media_type="x/y")
    write_layout(images, tmp_path / "a.oci", parse("c:1"), attached={images[0].digest: [said]})
    reference = parse(f"{registry}/copies/there:1")
    with open_registry(reference) as client:
        pushed = push_layout(tmp_path / "a.oci", reference, client)
        assert not is_can(reference, client)
        pull_image(reference, tmp_path / "b.oci", client)
        assert pushed.digest is not None
        assert [a.artifact_type for a in referrers(client, "copies/there", images[0].digest)] == [
            "x/y"
        ]
    for image in images:
        assert (
            read_layout(tmp_path / "b.oci", architecture=image.architecture).digest == image.digest
        )
    index = json.loads((tmp_path / "b.oci/index.json").read_text())
    assert index["manifests"][0]["digest"] == pushed.digest


@pytest.mark.registry
def test_a_can_goes_there_and_back(registry: str, tmp_path: Path) -> None:
    """The same can by digest, opened before its folder gets its name."""
    can = make_can(tmp_path / "a.can")
    reference = parse(f"{registry}/copies/can:1")
    with open_registry(reference) as client:
        push_can(can.folder, reference, registry=client)
        assert is_can(reference, client)
        pull_can_files(reference, tmp_path / "b.can", client, open_can)
        with pytest.raises(OutputError, match="exists already"):
            pull_can_files(reference, tmp_path / "b.can", client, open_can)
    assert open_can(tmp_path / "b.can").digest == can.digest


def test_a_can_that_is_damaged_on_the_way_leaves_nothing(tmp_path: Path) -> None:
    """What does not open never gets its name."""
    can = make_can(tmp_path / "a.can")
    state = State()
    with fake_registry(state) as host:
        reference = parse(f"{host}/team/can:1")
        with open_registry(reference) as client:
            push_can(can.folder, reference, registry=client)

            def refuse(folder: Path) -> None:
                raise CanError(f"'{folder.name}' is damaged")

            with pytest.raises(CanError, match="damaged"):
                pull_can_files(reference, tmp_path / "b.can", client, refuse)
            layer = can.manifest.files["model.onnx"].digest
            state.blobs[layer] = b"other bytes"
            with pytest.raises(RegistryError, match="other bytes"):
                pull_can_files(reference, tmp_path / "b.can", client, open_can)
    assert not (tmp_path / "b.can").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["a.can"]


def test_a_file_that_leads_out_of_the_can_is_refused(tmp_path: Path) -> None:
    """Whatever a manifest calls its files, they land inside the folder or nowhere."""
    can = make_can(tmp_path / "a.can")
    state = State()
    with fake_registry(state) as host:
        reference = parse(f"{host}/team/can:1")
        with open_registry(reference) as client:
            push_can(can.folder, reference, registry=client)
            document = json.loads(state.manifests["1"])
            document["layers"][0]["annotations"]["org.cncf.model.filepath"] = "../../out"
            state.manifests["1"] = json.dumps(document).encode()
            with pytest.raises(ImageError, match="leads out of the can"):
                pull_can_files(reference, tmp_path / "b.can", client, open_can)
    assert not (tmp_path.parent / "out").exists()


def test_a_layout_that_is_not_whole_gets_no_tag(tmp_path: Path) -> None:
    """A missing blob is named; nothing stands under the tag afterwards."""
    image = two(tmp_path / "s")[0]
    write_layout(image, tmp_path / "a.oci", parse("c:1"))
    (tmp_path / "a.oci/blobs/sha256" / image.layers[0].digest[7:]).unlink()
    state = State()
    with fake_registry(state) as host:
        reference = parse(f"{host}/team/x:1")
        with open_registry(reference) as client:
            with pytest.raises(ImageError, match=f"lacks the blob {image.layers[0].digest}"):
                push_layout(tmp_path / "a.oci", reference, client)
            with pytest.raises(SourceError, match="no OCI layout"):
                push_layout(tmp_path, reference, client)
    assert state.manifests == {}


def test_a_pull_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    """The layout appears whole or not at all."""

    def trouble(handler: Handler) -> bool:
        if handler.command == "GET" and "/blobs/" in handler.path:
            handler.answer(403)
            return True
        return False

    image, state = two(tmp_path / "s")[0], State()
    with fake_registry(state) as host:
        reference = parse(f"{host}/team/x:1")
        write_layout(image, tmp_path / "a.oci", parse("c:1"))
        with open_registry(reference) as client:
            push_layout(tmp_path / "a.oci", reference, client)
            state.trouble = trouble
            with pytest.raises(RegistryError, match="refused access"):
                pull_image(reference, tmp_path / "b.oci", client)
    assert not (tmp_path / "b.oci").exists()
