"""What a word names is told without pulling it, wherever it lies; and two of them are compared."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest
from fake_registries import State, fake_registry
from image_parts import file, folder, link, make_image, make_layer
from small_cans import make_can

from cannery.blobs import Blob
from cannery.cans.open import Can
from cannery.comparisons import compare
from cannery.engines.choose import detect
from cannery.errors import CanError, ImageError, RegistryError, SourceError, UsageError
from cannery.images.layers import layer_of_files
from cannery.images.recipe import CAN
from cannery.oci.archive import write_archive
from cannery.oci.artifacts import Artifact
from cannery.oci.descriptors import Image, manifest_of
from cannery.oci.layout import write_layout
from cannery.oci.modelpack import push_can
from cannery.oci.references import parse
from cannery.oci.transfer import push_image
from cannery.reports.subjects import comparison_text, subject_document, subject_text
from cannery.subjects import Looking, can_of, look


def image_with(can: Can, place: Path, *, system: bytes = b"one") -> Image:
    """Return an image of one layer and a can."""
    files = {path.name: Blob.of(path) for path in can.folder.iterdir()}
    layer = layer_of_files("can", CAN, files)
    image = make_image(make_layer(place, folder("opt"), file("usr/bin/x", system)), layer)
    document = json.loads(image.config)
    document["dev.cannery.contents"] = [
        {
            "packages": [
                {
                    "name": "libc6",
                    "version": "2.41",
                    "reason": "the C library",
                    "files": 1,
                    "bytes": 3,
                }
            ],
            "left_out": [{"pattern": "*.h", "reason": "headers", "files": 2, "bytes": 9}],
        },
        {},
    ]
    config = json.dumps(document).encode()
    return Image(
        config=config,
        manifest=manifest_of(config, image.layers, "docker"),
        layers=image.layers,
        media="docker",
    )


@pytest.fixture
def can(tmp_path: Path) -> Can:
    """Return a small can."""
    return make_can(tmp_path / "small.can")


@pytest.fixture
def image(can: Can, tmp_path: Path) -> Image:
    """Return an image with that can."""
    return image_with(can, tmp_path / "store")


def test_a_layout_and_an_archive_tell_the_same(can: Can, image: Image, tmp_path: Path) -> None:
    """The same image has the same facts and the same can in either form."""
    write_layout(image, tmp_path / "x.oci")
    write_archive(image, tmp_path / "x.tar")
    for word in (f"oci:{tmp_path}/x.oci", f"{tmp_path}/x.oci", f"archive:{tmp_path}/x.tar"):
        found = look(word)
        assert found.can == can.manifest
        assert found.image is not None
        assert found.image.id == image.id
        assert [layer.diff_id for layer in found.image.layers] == [x.diff_id for x in image.layers]
        assert found.image.packages["libc6"].version == "2.41"
        carried = can_of(word, tmp_path / word.replace("/", "_"))
        assert (carried.digest, carried.model()) == (can.digest, can.model())


def test_a_registry_is_asked_for_documents_and_the_can_alone(can: Can, image: Image) -> None:
    """No layer below the can's is pulled, and everything is told."""
    state = State()
    with fake_registry(state) as host:
        reference = parse(f"{host}/team/churn:v1")
        said = Artifact(kind="application/vnd.cyclonedx+json", payload=b"{}", media_type="x/y")
        push_image(image, reference, attached={image.digest: [said]})
        state.requests.clear()
        found = look(str(reference))
    assert found.can == can.manifest
    assert found.image is not None
    assert found.image.digest == image.digest
    assert found.image.attached == ("application/vnd.cyclonedx+json",)
    assert "attached  application/vnd.cyclonedx+json" in subject_text(found)
    asked = " ".join(path for _, path, _ in state.requests)
    assert image.layers[0].digest not in asked
    assert image.layers[1].digest in asked


@pytest.mark.parametrize("where", ["", "./"], ids=["as skopeo writes it", "as tar writes it"])
def test_a_packed_layout_is_told(can: Can, image: Image, tmp_path: Path, where: str) -> None:
    """An archive of a layout has no manifest.json: its index is read; a damaged document is named."""
    folder = write_layout(image, tmp_path / "x.oci")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for path in sorted(folder.rglob("*")):
            tar.add(path, f"{where}{path.relative_to(folder)}", recursive=False)
    found = look(str(tmp_path / "x.tar"))
    assert found.image is not None
    assert (found.image.digest, found.digest) == (image.digest, can.digest)
    (folder / "blobs" / "sha256" / image.id.removeprefix("sha256:")).write_bytes(b"{}")
    with tarfile.open(tmp_path / "y.tar", "w") as tar:
        tar.add(folder, where or ".")
    with pytest.raises(ImageError, match=f"lacks the document {image.id}, or it is damaged"):
        look(str(tmp_path / "y.tar"))


def test_an_archive_of_too_many_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What unpacks to more than an image's documents could be is not held in memory."""
    monkeypatch.setattr("cannery.subjects._HELD", 1000)
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tar:
        for name in "abc":
            member, data = file(name, b"0" * 400)
            tar.addfile(member, io.BytesIO(data))
    with pytest.raises(ImageError, match="small files of more than 1000 bytes"):
        look(str(tmp_path / "x.tar.gz"))


def test_a_layout_without_its_can_names_the_blob(image: Image, tmp_path: Path) -> None:
    """What the manifest names and the folder lacks is an error that says which."""
    folder = write_layout(image, tmp_path / "x.oci")
    digest = image.layers[-1].digest
    (folder / "blobs" / "sha256" / digest.removeprefix("sha256:")).unlink()
    with pytest.raises(ImageError, match=f"lacks the blob {digest}"):
        look(str(folder))


def test_an_image_for_several_platforms_says_so(image: Image) -> None:
    """The digest that its name stands for, and for what it is there."""
    other = image.config.replace(b'"amd64"', b'"arm64"')
    second = Image(
        config=other,
        manifest=manifest_of(other, image.layers, "docker"),
        layers=image.layers,
        media="docker",
        architecture="arm64",
    )
    with fake_registry(State()) as host:
        reference = parse(f"{host}/team/churn:v1")
        pushed = push_image((image, second), reference).reference
        found = look(str(reference), Looking(architecture="arm64"))
    assert found.image is not None
    assert (found.image.digest, found.image.platform) == (second.digest, "linux/arm64")
    line = f"index     {pushed.digest} (linux/amd64, linux/arm64)"
    assert line in subject_text(found).splitlines()
    assert subject_document(found)["image"]["index"]["digest"] == pushed.digest


def test_a_can_in_a_registry_is_told(can: Can, tmp_path: Path) -> None:
    """Its manifest alone is fetched to tell of it, all of it to compare; another artifact is no can."""
    state = State()
    with fake_registry(state) as host:
        reference = parse(f"{host}/cans/churn:v1")
        push_can(can.folder, reference)
        state.requests.clear()
        found = look(str(reference))
        asked = [path for _, path, _ in state.requests if "/blobs/" in path]
        assert asked == [f"/v2/cans/churn/blobs/{can.digest}"]
        assert can_of(str(reference), tmp_path / "pulled").digest == can.digest
        with pytest.raises(RegistryError, match="does not hold") as caught:
            look(f"{host}/cans/churn:v2")
    assert (found.can, found.digest, found.image) == (can.manifest, can.digest, None)
    assert caught.value.hint == "check the name and the tag or digest"


@pytest.mark.docker
def test_docker_tells_of_its_own_images(can: Can, image: Image) -> None:
    """A name without registry is Docker's; sizes are those of what it keeps."""
    docker = detect("docker")
    docker.load(image, parse("cannery-looked-at:v1"))
    try:
        found = look("cannery-looked-at:v1", Looking(engine="docker"))
    finally:
        docker.remove_image("cannery-looked-at:v1")
    assert found.can == can.manifest
    assert found.image is not None
    assert [x.diff_id for x in found.image.layers] == [x.diff_id for x in image.layers]
    assert found.image.packages["libc6"].reason == "the C library"


def test_somebody_else_s_image_is_told_by_its_commands(tmp_path: Path) -> None:
    """Without a can and without our contents: layers, sizes, and who it runs as."""
    image = make_image(make_layer(tmp_path / "s", file("a", b"1")))
    write_layout(image, tmp_path / "x.oci")
    found = look(f"oci:{tmp_path}/x.oci")
    assert found.can is None
    text = subject_text(found)
    assert "no can inside" in text
    assert "(as root)" in text
    with pytest.raises(UsageError, match="has no can inside"):
        can_of(f"oci:{tmp_path}/x.oci", tmp_path / "out")


def test_a_layer_that_only_begins_like_a_can_writes_nothing_outside(tmp_path: Path) -> None:
    """A name that leads out of the can's folder is refused."""
    folders = [folder("opt"), folder("opt/cannery"), folder(CAN)]
    layer = make_layer(
        tmp_path / "s", *folders, file(f"{CAN}/../../../../out", b"x"), compressed=False
    )
    write_layout(make_image(layer), tmp_path / "x.oci")
    with pytest.raises(ImageError, match="not a path inside"):
        can_of(f"oci:{tmp_path}/x.oci", tmp_path / "taken")
    linked = make_layer(tmp_path / "s", *folders, link(f"{CAN}/a", "/etc/passwd"), compressed=False)
    write_layout(make_image(linked), tmp_path / "y.oci")
    with pytest.raises(ImageError, match="no part of a can"):
        can_of(f"oci:{tmp_path}/y.oci", tmp_path / "taken")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "data",
    [b"", b"not a tar at all" * 100, gzip.compress(b"x" * 9000, mtime=0)],
    ids=["empty", "text", "gzip"],
)
def test_what_is_no_archive_is_said_so(data: bytes, tmp_path: Path) -> None:
    """Anything but an archive of one image is a clear error."""
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ImageError, match=r"no archive|no single image"):
        look(f"archive:{tmp_path}/x")


def test_an_archive_whose_documents_disagree_is_refused(image: Image, tmp_path: Path) -> None:
    """Another number of layers than the config has is no image."""
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        said = json.dumps([{"Config": "c", "Layers": ["l"]}]).encode()
        for name, data in {"manifest.json": said, "c": image.config, "l": b""}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    with pytest.raises(ImageError, match="disagree on its layers"):
        look(f"archive:{path}")


def test_what_is_not_there_is_said_so(tmp_path: Path) -> None:
    """A missing layout, archive or can names the path."""
    with pytest.raises(SourceError, match="no OCI layout"):
        look(f"oci:{tmp_path}/none")
    with pytest.raises(SourceError, match="can't read"):
        look(f"archive:{tmp_path}/none")


def test_equal_cans_are_the_same(can: Can, tmp_path: Path) -> None:
    """A can and its copy differ in nothing."""
    make_can(tmp_path / "again.can")
    found = compare(str(can.folder), str(tmp_path / "again.can"))
    assert found.same
    assert comparison_text(found) == "they are the same"
    assert [a.changed for a in found.answers] == [0, 0]


def test_an_image_and_the_can_in_it_are_the_same(can: Can, image: Image, tmp_path: Path) -> None:
    """What a can has no like of, packages and layers, is no difference."""
    write_layout(image, tmp_path / "1.oci")
    assert compare(f"oci:{tmp_path}/1.oci", str(can.folder)).same


def test_two_versions_differ_in_model_layer_and_answers(
    can: Can, image: Image, tmp_path: Path
) -> None:
    """What differs is named with both values; the layers that are shared are not named."""
    other = make_can(tmp_path / "other.can", version="2", weight=-0.06)
    write_layout(image, tmp_path / "1.oci")
    write_layout(image_with(other, tmp_path / "store"), tmp_path / "2.oci")
    found = compare(f"oci:{tmp_path}/1.oci", f"oci:{tmp_path}/2.oci")
    assert not found.same
    assert found.model["version"] == ("1", "2")
    assert list(found.layers) == ["can"]
    label, churn = found.answers
    assert (label.changed, churn.changed, churn.rows) == (0, 2, 2)
    assert churn.largest == pytest.approx(0.005, abs=0.003)
    text = comparison_text(found)
    assert "version                      1 → 2" in text
    assert "churn: 2 differ, by" in text


def test_given_rows_are_scored_by_both(can: Can, tmp_path: Path) -> None:
    """`rows` take the place of the canaries."""
    other = make_can(tmp_path / "other.can", version="2", weight=-0.06)
    rows = tmp_path / "rows.csv"
    rows.write_text("tenure,charges,contract\n0,10,month\n9,20,year\n1,5,month\n")
    found = compare(str(can.folder), str(other.folder), rows=rows)
    churn = found.answers[1]
    assert (churn.rows, churn.changed, churn.row) == (3, 2, 1)


def test_a_damaged_can_is_an_error(can: Can) -> None:
    """Looking at a can opens it: what does not hold is said."""
    (can.folder / "model.onnx").write_bytes(b"other")
    with pytest.raises(CanError, match="damaged"):
        look(str(can.folder))


def test_the_document_is_json(can: Can, image: Image, tmp_path: Path) -> None:
    """What programs read has the can's digest and every package."""
    write_layout(image, tmp_path / "x.oci")
    document = json.loads(json.dumps(subject_document(look(f"oci:{tmp_path}/x.oci"))))
    assert document["can"]["digest"] == can.digest
    assert document["image"]["layers"][0]["packages"][0]["name"] == "libc6"
    assert document["image"]["layers"][0]["left_out"][0]["reason"] == "headers"
