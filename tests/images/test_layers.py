"""Layers are the same bytes for the same tree."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

import pytest
from layers import tar_of

from cannery.blobs import Blob, digest_bytes
from cannery.errors import ImageError
from cannery.images.contents import Included, measured
from cannery.images.layers import Recipe, find_layer, layer_of_files, make_layer, pack, pieces_of
from cannery.images.store import Store
from cannery.images.trees import Entry, Parts, Tree, with_parents

TREE: Tree = with_parents(
    {
        "usr/bin/x": Entry(mode=0o755, data=b"run" * 400_000),
        "bin": Entry(mode=0o777, target="usr/bin"),
        "opt/" + "long" * 40 + "/é": Entry(data=b""),
    }
)


def test_a_layer_holds_the_tree_with_owner_and_time_zero(store: Store) -> None:
    """Every entry belongs to root, has time 0 and the mode that was asked for."""
    layer = pack("base", pieces_of(TREE), store)
    with tar_of(layer) as tar:
        members = {member.name: member for member in tar}
    assert set(members) == set(TREE)
    assert {(m.uid, m.gid, m.mtime, m.uname, m.gname) for m in members.values()} == {
        (0, 0, 0, "", "")
    }
    assert members["usr/bin/x"].mode == 0o755
    assert members["bin"].linkname == "usr/bin"
    assert members["opt"].isdir()


def test_folders_stand_before_their_files(store: Store) -> None:
    """A reader that unpacks in order always has the folder first."""
    with tar_of(pack("base", pieces_of(TREE), store)) as tar:
        names = tar.getnames()
    assert names == sorted(names)


def test_the_digests_are_those_of_the_bytes(store: Store) -> None:
    """`digest` is of the compressed bytes, `diff_id` of the tar; sizes agree."""
    layer = pack("base", pieces_of(TREE), store)
    data = layer.path.read_bytes()
    plain = gzip.decompress(data)
    assert (layer.digest, layer.size) == (digest_bytes(data), len(data))
    assert (layer.diff_id, layer.unpacked) == (digest_bytes(plain), len(plain))
    assert data[4:10] == b"\0\0\0\0\0\xff"


def test_the_cut_of_the_input_does_not_matter(store: Store) -> None:
    """The same tar in other pieces compresses to the same bytes."""
    whole = b"".join(pieces_of(TREE))
    crumbs = [whole[at : at + 7777] for at in range(0, len(whole), 7777)]
    assert pack("a", [whole], store).digest == pack("b", crumbs, store).digest


def test_files_on_disk_become_read_only_files(tmp_path: Path) -> None:
    """The can's files are readable by anyone and writable by nobody, whatever they were."""
    (tmp_path / "model.onnx").write_bytes(b"weights")
    (tmp_path / "model.onnx").chmod(0o600)
    layer = layer_of_files("can", "opt/can", {"model.onnx": Blob.of(tmp_path / "model.onnx")})
    with tar_of(layer) as tar:
        assert {m.name: oct(m.mode) for m in tar} == {
            "opt": "0o755",
            "opt/can": "0o755",
            "opt/can/model.onnx": "0o444",
        }
        stream = tar.extractfile("opt/can/model.onnx")
        assert stream is not None
        assert stream.read() == b"weights"


def test_a_layer_of_files_is_not_copied(tmp_path: Path) -> None:
    """Its bytes are read from where the files are, from any place on; digest and size are theirs."""
    data = {name: bytes([i]) * (700 * i) for i, name in enumerate("abc", 1)}
    for name, content in data.items():
        (tmp_path / name).write_bytes(content)
    layer = layer_of_files("can", "opt/can", {n: Blob.of(tmp_path / n) for n in data})
    whole = b"".join(layer.content.pieces())
    assert (digest_bytes(whole), len(whole)) == (layer.digest, layer.size)
    assert [p for p in layer.content.parts if isinstance(p, Path)] == [tmp_path / n for n in data]
    for start, end in ((0, 1), (511, 513), (600, 4000), (len(whole) - 1, len(whole)), (9, 9)):
        assert b"".join(layer.content.pieces(start, end)) == whole[start:end]
    with layer.content.open() as stream:
        assert stream.read() == whole


def test_a_file_that_changed_is_noticed(tmp_path: Path) -> None:
    """Before: it is not what its blob says. Afterwards: it no longer adds up when it is read."""
    (tmp_path / "m").write_bytes(b"weights")
    blob = Blob.of(tmp_path / "m")
    layer = layer_of_files("can", "opt/can", {"m": blob})
    (tmp_path / "m").write_bytes(b"more weights")
    with pytest.raises(ImageError, match="the can says"):
        layer_of_files("can", "opt/can", {"m": blob})
    with pytest.raises(ImageError, match="changed while being read"):
        b"".join(layer.content.pieces())


def test_files_that_nobody_touched_are_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second layer of them is known by their times and places; any change of a file is seen."""
    store = Store(root=tmp_path / "store")
    path = tmp_path / "m"
    path.write_bytes(b"weights" * 200_000)
    files = {"m": Blob.of(path)}
    time.sleep(0.25)
    first = layer_of_files("can", "opt/can", files, store)
    assert len(list((store.root / "memo").iterdir())) == 1
    with monkeypatch.context() as patched:
        patched.setattr("cannery.images.layers._hashed", lambda _: pytest.fail("read again"))
        assert layer_of_files("can", "opt/can", files, store) == first
    status = path.stat()
    path.write_bytes(b"strange" * 200_000)  # as long as before
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(ImageError, match="the can says"):
        layer_of_files("can", "opt/can", files, store)


def test_files_that_changed_just_now_are_read_again(tmp_path: Path) -> None:
    """A further change could bear the same time, so nothing is remembered of them."""
    store = Store(root=tmp_path / "store")
    (tmp_path / "m").write_bytes(b"weights" * 200_000)
    layer_of_files("can", "opt/can", {"m": Blob.of(tmp_path / "m")}, store)
    assert not (store.root / "memo").exists()


def test_a_layer_is_made_once(store: Store) -> None:
    """Equal inputs find the layer; a damaged layer is made again; other inputs make another."""
    made = []

    def build() -> Parts:
        made.append(1)
        return Parts(tree=dict(TREE), owners={"usr/bin/x": "x"})

    package = Included(name="x", version="1", reason="runs")
    recipe = Recipe(name="base", inputs=["a"], packages=(package,), build=build)
    first, _ = make_layer(recipe, store)
    found = find_layer(recipe, store)
    assert found is not None
    assert found[0] == first
    assert [(p.name, p.files, p.bytes) for p in found[1].packages] == [("x", 1, 1_200_000)]
    first.path.write_bytes(b"rotten")
    assert find_layer(recipe, store) is None
    other = Recipe(name="base", inputs=["b"], build=build)
    assert find_layer(other, store) is None
    assert made == [1]


def test_bytecode_counts_for_the_package_of_its_source() -> None:
    """Wherever the bytecode stands, beside the source, in its cache or in its place."""
    tree = {
        "lib/a/m.py": Entry(data=b"1"),
        "lib/a/__pycache__/m.cpython-313.pyc": Entry(data=b"22"),
        "lib/n.pyc": Entry(data=b"333"),
        "etc/made": Entry(data=b"4444"),
    }
    owners = {"lib/a/m.py": "a", "lib/n.py": "n"}
    packages = [Included(name=name, version="1", reason="") for name in ("a", "n")]
    found = measured(packages, tree, owners)
    assert [(p.name, p.files, p.bytes) for p in found] == [("a", 2, 3), ("n", 1, 3)]
