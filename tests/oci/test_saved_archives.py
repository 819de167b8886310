"""Archives of images are read back as they were, whoever wrote them, and whatever is in them stays inside."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest
from image_parts import file, folder, link, make_image, make_layer

from cannery.errors import CanneryError, ImageError, SourceError
from cannery.oci.archive import write_archive
from cannery.oci.descriptors import Image
from cannery.oci.references import parse
from cannery.oci.saved import read_archive
from cannery.oci.unpack import unpack

Entries = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture(name="image")
def _image(tmp_path: Path) -> Image:
    store = tmp_path / "store"
    one = make_layer(store, file("a", b"one"))
    return make_image(one, make_layer(store, file("b", b"two"), compressed=False), User="10001")


def write_tar(path: Path, entries: Entries) -> Path:
    """Write an archive of these entries."""
    with tarfile.open(path, "w") as tar:
        for member, data in entries:
            tar.addfile(member, io.BytesIO(data))
    return path


def as_docker_saves(image: Image, **changes: object) -> Entries:
    """Return an archive as older Dockers write it: plain layers, a folder for each, one of them a link."""
    first, second = image.layers
    listed = {"Config": "c.json", "RepoTags": None, "Layers": ["1/layer.tar", "2/layer.tar"]}
    return [
        file("manifest.json", json.dumps([{**listed, **changes}]).encode()),
        file("c.json", image.config),
        folder("1"),
        file("3/layer.tar", gzip.decompress(first.path.read_bytes())),
        link("1/layer.tar", "../3/layer.tar"),
        file("2/layer.tar", second.path.read_bytes()),
    ]


def test_our_own_archive_is_the_same_image(image: Image, tmp_path: Path) -> None:
    """Digest, id and layers stay."""
    write_archive(image, tmp_path / "x.tar", parse("churn:v1"))
    found = read_archive(tmp_path / "x.tar", tmp_path / "read", "amd64")
    assert (found.digest, found.id) == (image.digest, image.id)
    assert [layer.digest for layer in found.layers] == [layer.digest for layer in image.layers]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_what_docker_saves_is_read(image: Image, tmp_path: Path, packed: bool) -> None:
    """Without a manifest of its own the image has the same id, and holds the same files."""
    path = write_tar(tmp_path / "x.tar", as_docker_saves(image))
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    found = read_archive(path, tmp_path / "read", "amd64")
    assert (found.id, found.media) == (image.id, "docker")
    unpack(found, tmp_path / "root")
    assert [(tmp_path / "root" / name).read_text() for name in "ab"] == ["one", "two"]


LIES: dict[str, tuple[dict[str, object], str]] = {
    "a layer that is not there": ({"Layers": ["1/layer.tar", "9/layer.tar"]}, r"lacks '9/layer"),
    "a layer from outside": ({"Layers": ["../../etc/passwd", "2/layer.tar"]}, r"lacks '\.\./"),
    "a config from the root": ({"Config": "/etc/passwd"}, "lacks '/etc/passwd'"),
    "a folder as a layer": ({"Layers": ["1", "2/layer.tar"]}, "lacks '1'"),
    "too few layers": ({"Layers": ["1/layer.tar"]}, "names 1 layers, the config 2"),
    "another layer": ({"Layers": ["2/layer.tar", "1/layer.tar"]}, "unpacks to sha256:"),
    "no names": ({"Layers": 7}, "manifest.json"),
}


@pytest.mark.parametrize("lie", sorted(LIES))
def test_an_archive_that_lies_is_refused(image: Image, tmp_path: Path, lie: str) -> None:
    """What it names must lie in it, and be what the config says."""
    changes, message = LIES[lie]
    path = write_tar(tmp_path / "x.tar", as_docker_saves(image, **changes))
    with pytest.raises(ImageError, match=message):
        read_archive(path, tmp_path / "read", "amd64")


def test_nothing_is_written_outside(image: Image, tmp_path: Path) -> None:
    """Names that lead out, links and sparse files make nothing."""
    sparse = tarfile.TarInfo("huge")
    sparse.pax_headers = {"GNU.sparse.size": str(1 << 40), "GNU.sparse.map": "0,0"}
    hostile = [
        file("../out", b"x"),
        file(str(tmp_path / "absolute"), b"x"),
        link("way", str(tmp_path)),
        link("hard", str(tmp_path / "store"), hard=True),
        file("way/out", b"x"),
        (sparse, b""),
    ]
    path = tmp_path / "x.tar"
    write_tar(path, [*hostile, *as_docker_saves(image)])
    assert read_archive(path, tmp_path / "read", "amd64").id == image.id
    assert {p.name for p in tmp_path.iterdir()} == {"store", "x.tar", "read"}
    assert not (tmp_path / "read" / "huge").exists()
    assert not any(p.is_symlink() for p in (tmp_path / "read").rglob("*"))


@pytest.mark.parametrize("data", [b"", b"no archive at all" * 99, b"\x1f\x8b\x08 cut"])
def test_what_is_no_archive_is_an_error(data: bytes, tmp_path: Path) -> None:
    """Empty, foreign and cut files are named."""
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(CanneryError, match=r"'.*x' is no archive"):
        read_archive(tmp_path / "x", tmp_path / "read", "amd64")


def test_a_missing_archive_is_an_error(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(SourceError, match=r"can't unpack '.*none': No such file"):
        read_archive(tmp_path / "none", tmp_path / "read", "amd64")
