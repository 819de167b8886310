"""A composed image is small, safe, and runs."""

from __future__ import annotations

import json
import re
import tarfile
import time
from pathlib import Path

import pytest
from image_runs import MakeCan, Run
from layers import tar_of

from cannery.errors import ImageError
from cannery.images.compose import Composition, compose
from cannery.images.elf import missing_libraries, read_elf
from cannery.images.lock import Lock
from cannery.images.plan import Plan
from cannery.images.recipe import TRIPLETS
from cannery.images.store import Store
from cannery.images.trees import Entry, Tree
from cannery.oci.descriptors import Image

pytestmark = pytest.mark.network

PYTHON = ("/usr/bin/python3.13", "-S", "-s", "-P", "-c")
Members = dict[str, tarfile.TarInfo]


def test_the_image_is_small(image: Image) -> None:
    """Without the model, at most 140 MB unpacked and 45 MB as it travels."""
    can = image.layers[-1]
    assert image.unpacked - can.unpacked <= 140e6
    assert image.size - can.size <= 45e6


def test_the_layers_stand_in_the_order_of_change(image: Image) -> None:
    """What changes least comes first; the can is last and not compressed."""
    names = [layer.name for layer in image.layers]
    assert names == ["base", "python", "numpy", "onnxruntime", "dependencies", "serving", "can"]
    assert [layer.compressed for layer in image.layers] == [True] * 6 + [False]


def test_everything_belongs_to_root_and_nothing_is_setuid(members: Members) -> None:
    """Owner 0:0, time 0, no setuid or setgid, nothing writable by all but the folders for that."""
    assert {(m.uid, m.gid, m.mtime) for m in members.values()} == {(0, 0, 0)}
    assert [name for name, m in members.items() if m.mode & 0o6000] == []
    writable = {n for n, m in members.items() if m.mode & 0o002 and not m.issym()}
    assert {n for n in writable if members[n].mode != 0o1777} == set()
    assert members["tmp"].mode == 0o1777


def test_the_links_of_a_merged_usr_are_there(members: Members) -> None:
    """/bin, /lib, /lib64 and /sbin are links, and nothing stands behind their names."""
    links = {name: members[name].linkname for name in ("bin", "lib", "lib64", "sbin")}
    assert links == {name: f"usr/{name}" for name in links}
    assert [n for n in members if n.startswith(("bin/", "lib/", "lib64/", "sbin/"))] == []


def test_no_shell_and_no_package_manager_is_inside(members: Members) -> None:
    """Python is the only program."""
    programs = {n for n in members if n.startswith(("usr/bin/", "usr/sbin/"))}
    assert programs == {"usr/bin/python3.13"}


@pytest.mark.parametrize("name", ["sklearn", "pandas", "mlflow", "scipy", "onnx", "pip", "skops"])
def test_what_does_not_serve_is_absent(name: str, members: Members) -> None:
    """The libraries of training are not in an ONNX image."""
    assert [n for n in members if f"/{name}/" in n or f"/{name}-" in n] == []


def test_every_library_that_is_needed_is_inside(image: Image, members: Members) -> None:
    """Each DT_NEEDED of each ELF file resolves within the image, for the image's machine."""
    tree: Tree = {}
    for layer in image.layers:
        with tar_of(layer) as tar:
            for member in tar:
                stream = tar.extractfile(member) if member.isfile() else None
                tree[member.name] = Entry(data=stream.read() if stream else b"")
    folders = (f"usr/lib/{TRIPLETS[image.architecture]}", "usr/lib64", "usr/lib")
    assert missing_libraries(tree, folders) == {}
    elves = [read_elf(e.data) for e in tree.values() if e.data]
    machines = {elf.machine for elf in elves if elf is not None}
    assert machines == {image.architecture}


def test_licences_and_records_of_packages_are_kept(members: Members) -> None:
    """Copyright files, licence texts and the records that scanners read are inside."""
    assert "var/lib/dpkg/status.d/libc6" in members
    assert "usr/share/doc/libc6/copyright" in members
    assert "usr/share/common-licenses/GPL-3" in members
    assert any(n.endswith(".dist-info/METADATA") and "/numpy-" in n for n in members)
    assert "etc/os-release" in members


def test_every_module_has_its_bytecode(members: Members) -> None:
    """A `.pyc` stands beside each source of a library, and in place of each of the standard library."""
    sources = [n for n in members if n.endswith(".py") and members[n].isfile()]
    assert len(sources) > 200
    lacking = [
        name
        for name in sources
        if f"{Path(name).parent}/__pycache__/{Path(name).stem}.cpython-313.pyc" not in members
    ]
    assert lacking == []
    assert "usr/lib/python3.13/json/__init__.pyc" in members


def test_what_was_left_out_is_told(composition: Composition) -> None:
    """Each cut has a reason and its bytes; the largest is the C library of ONNX Runtime."""
    cuts = [cut for contents in composition.contents.values() for cut in contents.left_out]
    assert all(cut.reason for cut in cuts)
    largest = max(cuts, key=lambda cut: cut.bytes)
    assert largest.pattern == "onnxruntime/capi/libonnxruntime.so*"
    (numpy,) = composition.contents["numpy"].packages
    assert numpy.name == "numpy"
    assert numpy.bytes > 10e6


def test_the_config_says_how_to_run(image: Image, lock: Lock) -> None:
    """Numeric user, exec forms, port, signal, date of the lock, one history entry for each layer."""
    document = json.loads(image.config)
    config = document["config"]
    assert document["created"] == lock.created
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"][0] == "/usr/bin/python3.13"
    assert config["Cmd"] == ["serve"]
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert config["StopSignal"] == "SIGTERM"
    assert "CANNERY_CAN=/opt/cannery/can" in config["Env"]
    assert [h["created_by"] for h in document["history"]] == [
        f"cannery: {layer.name}" for layer in image.layers
    ]
    assert document["rootfs"]["diff_ids"] == [layer.diff_id for layer in image.layers]


@pytest.mark.bubblewrap
def test_what_serves_imports_inside(run_inside: Run) -> None:
    """All that serving needs is there, from bytecode, for any user, on a read-only root."""
    done = run_inside(
        *PYTHON,
        "import numpy, onnxruntime, msgspec, uvicorn, uvloop, httptools\n"
        "import cannery.serving.main, cannery.serving.server, cannery.serving.http\n"
        "import ssl, os, numpy.linalg\n"
        "assert numpy.linalg.svd(numpy.eye(2))[1].tolist() == [1, 1]\n"
        "assert len(ssl.create_default_context().get_ca_certs()) > 100\n"
        "print(os.getuid(), onnxruntime.get_available_providers())",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("12345 ")
    assert "CPUExecutionProvider" in done.stdout


@pytest.mark.bubblewrap
def test_the_entrypoint_starts(image: Image, run_inside: Run) -> None:
    """The image's own command line answers."""
    done = run_inside(*json.loads(image.config)["config"]["Entrypoint"], "--help")
    assert done.returncode == 0, done.stderr
    assert "smoke" in done.stdout


@pytest.mark.bubblewrap
def test_modules_are_loaded_from_the_bytecode(run_inside: Run) -> None:
    """No source is compiled when the image starts."""
    done = run_inside(
        *PYTHON[:-1],
        "-v",
        "-c",
        "import uvicorn, numpy, cannery.serving.http",
    )
    assert done.returncode == 0
    assert re.findall(r"# code object from /\S+\.py$", done.stderr, re.MULTILINE) == []
    assert len(re.findall(r"# code object from '\S+\.pyc'", done.stderr)) > 200


def test_another_can_changes_one_layer(
    image: Image, lock: Lock, user_store: Store, make_can: MakeCan
) -> None:
    """The next version of a model shares every layer but the last, and is there at once."""
    folder, manifest = make_can("a better model")
    began = time.perf_counter()
    other = compose(Plan(lock=lock, can=folder, manifest=manifest), user_store)
    assert time.perf_counter() - began < 5  # far above what it takes; making layers anew takes more
    assert other.layers[:-1] == image.layers[:-1]
    assert other.layers[-1].digest != image.layers[-1].digest
    assert other.digest != image.digest


def test_pull_mode_leaves_the_can_out(image: Image, lock: Lock, user_store: Store) -> None:
    """Without a can the image ends with the serving code and names no can."""
    pulled = compose(Plan(lock=lock, mode="pull"), user_store)
    assert pulled.layers == image.layers[:-1]
    assert "CANNERY_CAN" not in pulled.config.decode()


def test_media_types_follow_the_plan(lock: Lock, user_store: Store) -> None:
    """The same layers stand behind Docker's and OCI's media types."""
    docker = compose(Plan(lock=lock, mode="pull"), user_store)
    oci = compose(Plan(lock=lock, mode="pull", media="oci"), user_store)
    assert docker.layers == oci.layers
    assert "vnd.oci.image.manifest" in oci.manifest.decode()
    assert docker.digest != oci.digest


def test_a_damaged_can_is_refused(lock: Lock, user_store: Store, make_can: MakeCan) -> None:
    """A file of the can that changed since it was sealed is named."""
    folder, manifest = make_can("a model to be damaged")
    (folder / "model.onnx").write_bytes(b"another model")
    with pytest.raises(ImageError, match=r"model\.onnx' has digest .* but the can says"):
        compose(Plan(lock=lock, can=folder, manifest=manifest), user_store)


def test_bake_mode_without_a_can_is_refused(lock: Lock, user_store: Store) -> None:
    """Baking needs something to bake."""
    with pytest.raises(ImageError, match="bake mode needs a can"):
        compose(Plan(lock=lock), user_store)


def test_an_architecture_that_is_not_in_the_lock_is_refused(lock: Lock, user_store: Store) -> None:
    """The lock says which platforms it has."""
    other = "arm64" if "amd64" in lock.platforms else "amd64"
    with pytest.raises(ImageError, match=f"no packages for '{other}'"):
        compose(Plan(lock=lock, mode="pull", architecture=other), user_store)


def test_a_can_of_an_older_version_is_taken_as_it_is(
    lock: Lock, user_store: Store, make_can: MakeCan
) -> None:
    """A `can.json` that lacks fields which have been added since goes in byte for byte."""
    folder, manifest = make_can("an old model")
    document = json.loads((folder / "can.json").read_bytes())
    del document["notes"]
    old = json.dumps(document).encode()
    (folder / "can.json").write_bytes(old)
    image = compose(Plan(lock=lock, can=folder, manifest=manifest), user_store)
    with tar_of(image.layers[-1]) as tar:
        stream = tar.extractfile("opt/cannery/can/can.json")
        assert stream is not None
        assert stream.read() == old
