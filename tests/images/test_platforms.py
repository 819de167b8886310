"""Images for another processor, for several behind one index, and in zstd."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from fake_registries import State, fake_registry
from image_parts import file, folder, make_image, make_layer
from image_runs import EMULATOR, run_in
from layers import tar_of
from small_cans import make_can

from cannery.cli.verify import _found
from cannery.engines.sandbox import Sandbox
from cannery.errors import ImageError
from cannery.images.compose import compose
from cannery.images.elf import check_machine, missing_libraries, read_elf
from cannery.images.lock import LockRequest, host_architecture, resolve
from cannery.images.plan import Plan
from cannery.images.recipe import TRIPLETS
from cannery.images.store import Store
from cannery.images.trees import Entry, Tree
from cannery.images.zstd import in_zstd
from cannery.oci.descriptors import Image
from cannery.oci.layout import read_layout, write_layout
from cannery.oci.references import parse
from cannery.oci.transfer import open_registry, pull_image_manifest, push_image
from cannery.oci.unpack import unpack


@pytest.fixture(scope="module")
def both(user_store: Store) -> dict[str, Image]:
    """Return the image for pull mode for either processor."""
    lock = resolve(LockRequest(architectures=("amd64", "arm64")), user_store)
    return {
        name: compose(Plan(lock=lock, mode="pull", architecture=name), user_store)
        for name in ("amd64", "arm64")
    }


@pytest.mark.network
def test_all_compiled_code_is_for_the_other_processor(both: dict[str, Image]) -> None:
    """Every ELF file of the arm64 image is for arm64, and every library that it needs is inside."""
    image, tree = both["arm64"], Tree()
    for layer in image.layers:
        with tar_of(layer) as tar:
            for member in tar:
                stream = tar.extractfile(member) if member.isfile() else None
                tree[member.name] = Entry(data=stream.read() if stream else b"")
    elves = [elf for entry in tree.values() if (elf := read_elf(entry.data or b""))]
    assert len(elves) > 30
    assert {elf.machine for elf in elves} == {"arm64"}
    assert missing_libraries(tree, (f"usr/lib/{TRIPLETS['arm64']}", "usr/lib")) == {}


@pytest.mark.network
def test_bytecode_does_not_depend_on_the_processor(both: dict[str, Image]) -> None:
    """Our own modules and their bytecode are the same layer on both; the configs differ."""
    assert both["amd64"].layers[-1].digest == both["arm64"].layers[-1].digest
    config = json.loads(both["arm64"].config)
    assert (config["architecture"], config["variant"]) == ("arm64", "v8")


@pytest.mark.network
@pytest.mark.bubblewrap
@pytest.mark.emulator
def test_an_image_for_the_other_processor_scores(user_store: Store, tmp_path: Path) -> None:
    """Run by an emulator of arm64, locked up as ever, the image loads its can and answers the canary's record."""
    can = make_can(tmp_path / "can")
    lock = resolve(LockRequest(architectures=("amd64", "arm64")), user_store)
    plan = Plan(lock=lock, can=can.folder, manifest=can.manifest, architecture="arm64")
    image = compose(plan, user_store)
    root = tmp_path / "root"
    unpack(image, root)
    for name in ("proc", "dev", "tmp"):
        (root / name).mkdir(exist_ok=True)
    shutil.copy(str(shutil.which(EMULATOR)), root / "emulator")
    entrypoint = json.loads(image.config)["config"]["Entrypoint"]
    done = run_in(root, image, "/emulator", *entrypoint, "smoke")
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == pytest.approx(can.canary().outputs[0])


def test_code_for_another_machine_is_refused() -> None:
    """The error names file, layer and both machines."""
    elf = b"\x7fELF\x02\x01" + bytes(12) + (62).to_bytes(2, "little") + bytes(44)
    with pytest.raises(ImageError, match=r"'/lib/x.so' in layer numpy is compiled for amd64"):
        check_machine({"lib/x.so": Entry(data=elf)}, "arm64", "layer numpy")


def two(store: Path) -> tuple[Image, Image]:
    """Return a small image for two processors that share a layer."""
    shared = make_layer(store, folder("app"), file("app/code", b"same" * 500))
    first = make_image(shared, make_layer(store, file("app/lib", b"x86")))
    second = make_image(shared, make_layer(store, file("app/lib", b"arm")))
    config = second.config.replace(b'"amd64"', b'"arm64"')
    from cannery.oci.descriptors import manifest_of

    manifest = manifest_of(config, second.layers, "docker")
    return first, replace(second, config=config, manifest=manifest, architecture="arm64")


def test_an_index_is_pushed_with_both_and_the_tag_last(tmp_path: Path) -> None:
    """The shared layer travels once; each processor finds its own manifest."""
    images, state = two(tmp_path), State()
    with fake_registry(state) as host:
        reference = parse(f"{host}/team/churn:v1")
        pushed = push_image(images, reference)
        with open_registry(reference) as registry:
            found = [pull_image_manifest(registry, reference, n) for n in ("amd64", "arm64")]
            with pytest.raises(ImageError, match="no image for 's390x'") as caught:
                pull_image_manifest(registry, reference, "s390x")
    assert caught.value.hint == "it has: amd64, arm64"
    assert found == [image.manifest for image in images]
    puts = [path for method, path, _ in state.requests if method == "PUT" and "/manifests/" in path]
    assert [p.rpartition("/")[2] for p in puts] == [*(i.digest for i in images), "v1"]
    assert json.loads(state.manifests["v1"])["manifests"][1]["platform"]["variant"] == "v8"
    assert str(pushed.reference.digest).startswith("sha256:")
    uploads = [p for m, p, _ in state.requests if m == "PUT" and "/blobs/" in p]
    assert len(uploads) == 5


def test_a_layout_holds_both(tmp_path: Path) -> None:
    """Read for either processor it is that image; without one, the error names both."""
    images = two(tmp_path / "s")
    write_layout(images, tmp_path / "x.oci", parse("churn:v1"))
    for image in images:
        found = read_layout(tmp_path / "x.oci", architecture=image.architecture)
        assert (found.digest, found.architecture) == (image.digest, image.architecture)
    with pytest.raises(ImageError, match="2 platforms") as caught:
        read_layout(tmp_path / "x.oci")
    assert caught.value.hint == "it has: amd64, arm64"


def test_what_is_verified_is_this_machine_s_platform(tmp_path: Path) -> None:
    """Of a layout for both, and of a registry's index, the image that can be started here."""
    images, state = two(tmp_path / "s"), State()
    write_layout(images, tmp_path / "x.oci", parse("churn:v1"))
    words = [f"oci:{tmp_path}/x.oci"]
    with fake_registry(state) as host:
        push_image(images, parse(f"{host}/team/churn:v1"))
        words.append(f"{host}/team/churn:v1")
        for word in words:
            found = _found(word, Sandbox(), tmp_path, attest=False)
            assert isinstance(found, Image)
            assert found.architecture == host_architecture()


def test_zstd_keeps_the_image_s_id_and_files(tmp_path: Path) -> None:
    """Config and unpacked tars are the same; only what travels is another."""
    image = two(tmp_path / "s")[0]
    store = Store(root=tmp_path / "store")
    squeezed = in_zstd(image, store)
    assert squeezed.id == image.id
    assert [x.diff_id for x in squeezed.layers] == [x.diff_id for x in image.layers]
    assert {x.compression for x in squeezed.layers} == {"zstd"}
    assert b"layer.v1.tar+zstd" in squeezed.manifest
    assert in_zstd(image, store).digest == squeezed.digest
    write_layout(squeezed, tmp_path / "x.oci")
    unpack(read_layout(tmp_path / "x.oci"), tmp_path / "root")
    assert (tmp_path / "root/app/code").read_bytes() == b"same" * 500


@pytest.mark.parametrize("cut", [4, 20, 40])
def test_a_cut_zstd_layer_is_refused(cut: int, tmp_path: Path) -> None:
    """Damage inside a zstd layer is noticed when it is read."""
    squeezed = in_zstd(two(tmp_path / "s")[0], Store(root=tmp_path / "store"))
    write_layout(squeezed, tmp_path / "x.oci")
    layer = squeezed.layers[0]
    layer.path.write_bytes(layer.path.read_bytes()[:cut])
    with pytest.raises(ImageError, match=r"damaged|can't"):
        unpack(replace(squeezed, layers=(layer,)), tmp_path / "root")


@pytest.mark.registry
def test_skopeo_takes_either_platform(tmp_path: Path) -> None:
    """A tool that is not ours copies each image out of our index."""
    from cannery.processes import run

    images = two(tmp_path / "s")
    write_layout(images, tmp_path / "x.oci", parse("churn:v1"))
    for image in images:
        words = ["skopeo", "copy", "-q", "--override-arch", image.architecture]
        target = tmp_path / image.architecture
        done = run([*words, f"oci:{tmp_path}/x.oci:v1", f"dir:{target}"])
        assert done.ok, done.complaint
        assert json.loads((target / "manifest.json").read_text())["config"]["digest"] == image.id
