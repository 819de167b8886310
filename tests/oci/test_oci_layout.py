"""OCI layouts and archives: what is written is read back, by us and by others."""

from __future__ import annotations

import json
import tarfile

import pytest
from image_parts import file, make_image, make_layer

from cannery.blobs import digest_file, hex_of
from cannery.errors import ImageError, OutputError, SourceError
from cannery.oci.archive import write_archive
from cannery.oci.layout import read_layout, write_layout
from cannery.oci.references import parse
from cannery.processes import run

NAME = parse("churn-model:v1")


@pytest.mark.parametrize("media", ["docker", "oci"])
def test_a_layout_is_read_back(image, tmp_path, media) -> None:
    """Reading a layout returns the image that was written."""
    image = make_image(*image.layers, media=media)
    found = read_layout(write_layout(image, tmp_path / "out", NAME))
    assert (found.digest, found.id, found.media) == (image.digest, image.id, media)
    assert [(x.digest, x.diff_id, x.size, x.unpacked) for x in found.layers] == [
        (x.digest, x.diff_id, x.size, x.unpacked) for x in image.layers
    ]


def test_a_layout_that_exists_stays(image, tmp_path) -> None:
    """Nothing is overwritten without force, and force replaces it whole."""
    write_layout(image, tmp_path / "out", NAME)
    other = make_image(image.layers[0])
    with pytest.raises(OutputError):
        write_layout(other, tmp_path / "out", NAME)
    write_layout(other, tmp_path / "out", NAME, force=True)
    assert read_layout(tmp_path / "out").digest == other.digest


def test_a_damaged_layer_is_noticed(image, tmp_path) -> None:
    """A flipped bit in a layer is an error that names the blob."""
    out = write_layout(image, tmp_path / "out", NAME)
    blob = out / "blobs" / "sha256" / hex_of(image.layers[1].digest)
    data = bytearray(blob.read_bytes())
    data[600] ^= 1
    blob.write_bytes(data)
    with pytest.raises(ImageError, match=image.layers[1].digest):
        read_layout(out)


@pytest.mark.parametrize("name", ["index.json", "manifest", "config"])
@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"schemaVersion": 2, "manifests": []}'])
def test_a_damaged_document_is_a_clear_error(image, tmp_path, name, content) -> None:
    """A document that is empty or says something else never ends in a traceback."""
    out = write_layout(image, tmp_path / "out", NAME)
    blobs = out / "blobs" / "sha256"
    path = {
        "index.json": out / "index.json",
        "manifest": blobs / hex_of(image.digest),
        "config": blobs / hex_of(image.id),
    }[name]
    path.write_bytes(content)
    with pytest.raises((ImageError, SourceError)):
        read_layout(out)


def test_a_missing_tag_lists_those_that_are_there(image, tmp_path) -> None:
    """Asking a layout for a tag that it lacks names the tags that it has."""
    out = write_layout(image, tmp_path / "out", NAME)
    with pytest.raises(SourceError) as caught:
        read_layout(out, "v2")
    assert caught.value.hint == "its tags: v1"


def test_a_folder_that_is_no_layout_is_refused(tmp_path) -> None:
    """An ordinary folder is named as what it is not."""
    with pytest.raises(SourceError, match="no OCI layout"):
        read_layout(tmp_path)


def test_a_layer_that_lies_about_its_content_is_refused(image, tmp_path) -> None:
    """The diff id in the config must be that of the unpacked bytes."""
    from dataclasses import replace

    liar = make_image(replace(image.layers[0], diff_id="sha256:" + "0" * 64))
    with pytest.raises(ImageError, match="unpacks to"):
        read_layout(write_layout(liar, tmp_path / "out", NAME))


def test_an_archive_holds_each_blob_once(tmp_path) -> None:
    """Two equal layers are one blob, and every blob has the digest in its name."""
    layer = make_layer(tmp_path / "store", file("a", b"x"))
    path = write_archive(make_image(layer, layer), tmp_path / "a.tar", NAME)
    with tarfile.open(path) as tar:
        names = tar.getnames()
        manifest = json.load(tar.extractfile("manifest.json"))
    assert len(names) == len(set(names)) == 6
    assert manifest[0]["RepoTags"] == ["churn-model:v1"]
    assert manifest[0]["Layers"] == [f"blobs/sha256/{hex_of(layer.digest)}"] * 2


def test_an_archive_is_the_same_each_time(image, tmp_path) -> None:
    """The same image and name give the same bytes."""
    one = write_archive(image, tmp_path / "a.tar", NAME)
    two = write_archive(image, tmp_path / "b.tar", NAME)
    assert digest_file(one) == digest_file(two)


def test_an_archive_without_name_has_none(image, tmp_path) -> None:
    """An image that has not been proven is loaded without a tag."""
    path = write_archive(image, tmp_path / "a.tar")
    with tarfile.open(path) as tar:
        assert json.load(tar.extractfile("manifest.json"))[0]["RepoTags"] is None
        assert "annotations" not in json.load(tar.extractfile("index.json"))["manifests"][0]


@pytest.mark.registry
@pytest.mark.parametrize("media", ["docker", "oci"])
def test_skopeo_reads_layout_and_archive(image, tmp_path, media) -> None:
    """Another implementation finds the same digest in each of our three forms."""
    image = make_image(*image.layers, media=media, User="10001:10001")
    write_layout(image, tmp_path / "out", NAME)
    write_archive(image, tmp_path / "a.tar", NAME)
    # skopeo looks for a tag among manifests of the OCI's own types alone; one image needs no tag.
    tag = ":v1" if media == "oci" else ""
    for address in (f"oci:{tmp_path}/out{tag}", f"oci-archive:{tmp_path}/a.tar{tag}"):
        answer = run(["skopeo", "inspect", address], timeout=60)
        assert answer.ok, answer.complaint
        assert json.loads(answer.stdout)["Digest"] == image.digest
    answer = run(["skopeo", "inspect", "--config", f"docker-archive:{tmp_path}/a.tar"], timeout=60)
    assert answer.ok, answer.complaint
    assert json.loads(answer.stdout)["config"]["User"] == "10001:10001"
