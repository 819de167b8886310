"""An image of a registry as the base: pulled, pinned, its Python found, and what is built on it runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from base_images import PYTHON, base_image
from image_parts import file, folder, link, make_image, make_layer
from image_runs import MakeCan, run_in
from registries import running_registry

from cannery.errors import ImageError, RegistryError
from cannery.images.bases.foreign import base_image as fetched
from cannery.images.bases.foreign import fetch_base, resolve_base
from cannery.images.bases.pythons import find_python
from cannery.images.bytecode import Compiler, base_interpreter
from cannery.images.compose import compose
from cannery.images.inside import compiled
from cannery.images.lock import (
    LockRequest,
    covers,
    host_architecture,
    read_lock,
    resolve,
    write_lock,
)
from cannery.images.plan import Plan
from cannery.images.store import Store
from cannery.images.trees import Entry
from cannery.oci.descriptors import Image, manifest_of
from cannery.oci.references import parse, remote
from cannery.oci.transfer import push_image
from cannery.oci.unpack import unpack

pytestmark = [pytest.mark.registry, pytest.mark.network, pytest.mark.bubblewrap]


def quiet(_: str) -> None:
    """Tell nobody."""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return host and port of a registry."""
    with running_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture(scope="module")
def base(registry: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Push a base with the Python that runs the tests; return its name."""
    image = base_image(tmp_path_factory.mktemp("base"))
    push_image(image, parse(f"{registry}/team/python:1"))
    return f"{registry}/team/python:1"


@pytest.fixture(scope="module")
def built(base: str, make_can: MakeCan) -> tuple[Image, Store]:
    """Return an image on that base."""
    store = Store()
    lock = resolve(LockRequest(base=base, refresh=True), store)
    can, manifest = make_can("a model")
    return compose(Plan(lock=lock, can=can, manifest=manifest), store), store


def pushed(registry: str, name: str, image: Image) -> str:
    """Push an image and return its name."""
    push_image(image, parse(f"{registry}/{name}:1"))
    return f"{registry}/{name}:1"


def test_the_base_is_pinned_by_digest_and_its_python_found(base: str, tmp_path: Path) -> None:
    """The lock has name, digest, program and version; read back it is the same."""
    lock = resolve(LockRequest(base=base), Store())
    image = lock.platforms[host_architecture()].image
    assert image is not None
    assert (lock.base, image.reference) == (base, base)
    assert image.digest.startswith("sha256:")
    assert image.python == str(Path(sys.executable).resolve())
    assert (image.version, lock.python) == (PYTHON, PYTHON)
    assert "libc.so.6" in image.libraries
    assert [(p.name, p.source, p.version) for p in image.installed] == [
        ("libc6", "glibc", "2.41-12")
    ]
    tag = f"cp{PYTHON.replace('.', '')}"
    numpy = next(w for w in lock.platforms[host_architecture()].wheels if w.name == "numpy")
    assert tag in numpy.filename
    write_lock(lock, tmp_path / "cannery.lock")
    assert read_lock(tmp_path / "cannery.lock") == lock
    assert "stands on" in str(covers(lock, LockRequest()))
    assert covers(lock, LockRequest(base=base)) is None


def test_the_layers_of_the_base_come_first(built: tuple[Image, Store], base: str) -> None:
    """Below are the base's own layers, above ours; the config knows the base's PATH and our entrypoint."""
    image, store = built
    pinned = resolve(LockRequest(base=base), store).platforms[host_architecture()].image
    assert pinned is not None
    below = fetched(pinned, store).layers
    assert [x.digest for x in image.layers[: len(below)]] == [x.digest for x in below]
    names = [layer.name for layer in image.layers[len(below) :]]
    assert names == ["numpy", "onnxruntime", "dependencies", "serving", "can"]
    config = json.loads(image.config)
    assert config["config"]["Entrypoint"][0] == pinned.python
    assert "PATH=/usr/bin:/bin" in config["config"]["Env"]
    assert len(config["history"]) == len(image.layers)


def test_what_is_built_on_it_runs_from_bytecode(built: tuple[Image, Store], tmp_path: Path) -> None:
    """The serving code imports in it, and no module of ours is compiled at start."""
    image, _ = built
    unpack(image, tmp_path / "root")
    for name in ("proc", "dev", "tmp"):
        (tmp_path / "root" / name).mkdir(exist_ok=True)
    python = json.loads(image.config)["config"]["Entrypoint"][0]
    words = ("-S", "-s", "-P", "-v", "-c", "import numpy, onnxruntime, cannery.serving.main")
    done = run_in(tmp_path / "root", image, python, *words)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "# code object from /opt/cannery" not in done.stderr
    assert "code object from '/opt/cannery/lib/cannery/serving/__pycache__" in done.stderr


def test_a_base_is_unpacked_once(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its Python is kept from the last time, less what compiling never reads, and compiles the same."""
    store = Store(root=tmp_path / "store")
    pinned = resolve_base(base, host_architecture(), store, quiet)
    tree = {"a.py": Entry(data=b"a = 1\n")}

    def compiles() -> bytes | None:
        with ExitStack() as stack:
            interpreter = base_interpreter(pinned, store)
            compiler = Compiler(interpreter=interpreter, stack=stack, store=store)
            made = compiler.with_bytecode(tree)
        return made[f"__pycache__/a.cpython-{PYTHON.replace('.', '')}.pyc"].data

    assert compiles() == compiled(b"a = 1\n", "/a.py")

    def refuse(*_: object) -> None:
        raise AssertionError("it is unpacked again")

    monkeypatch.setattr("cannery.images.bytecode.unpack_base", refuse)
    assert compiles() == compiled(b"a = 1\n", "/a.py")


def test_the_same_lock_gives_the_same_digest_elsewhere(
    built: tuple[Image, Store], base: str, make_can: MakeCan, tmp_path: Path
) -> None:
    """Another store, filled from the registry by digest, composes the same image."""
    lock = resolve(LockRequest(base=base), Store())
    can, manifest = make_can("a model")
    again = compose(Plan(lock=lock, can=can, manifest=manifest), Store(root=tmp_path / "store"))
    assert again.digest == built[0].digest


def test_a_damaged_layer_of_the_base_is_pulled_again(
    built: tuple[Image, Store], base: str, tmp_path: Path
) -> None:
    """What no longer has its digest is fetched anew, by digest."""
    store = Store(root=tmp_path / "store")
    pinned = resolve_base(base, host_architecture(), store, quiet)
    place = fetched(pinned, store).layers[0].path
    place.write_bytes(b"rotten")
    with pytest.raises(ImageError, match="not whole"):
        fetched(pinned, store)
    fetch_base(pinned, store, quiet)
    assert fetched(pinned, store).layers[0].path.stat().st_size > 1000


def test_a_base_without_python_is_refused(registry: str, tmp_path: Path) -> None:
    """The error names the base and its PATH, the hint a way out."""
    image = make_image(make_layer(tmp_path, file("bin/sh", b"x", 0o755)), Env=["PATH=/bin"])
    name = pushed(registry, "no/python", image)
    with pytest.raises(ImageError, match=r"has no Python on its PATH \(/bin\)") as caught:
        resolve(LockRequest(base=name), Store(root=tmp_path / "store"))
    assert "python:3.13-slim" in str(caught.value.hint)


def test_a_base_for_another_processor_is_refused(registry: str, tmp_path: Path) -> None:
    """An image whose config says another architecture is no base here."""
    image = make_image(make_layer(tmp_path, file("x")))
    config = image.config.replace(b'"amd64"', b'"s390x"')
    other = replace(image, config=config, manifest=manifest_of(config, image.layers, "docker"))
    name = pushed(registry, "other/machine", other)
    with pytest.raises(ImageError, match="is for s390x, not"):
        resolve_base(name, host_architecture(), Store(root=tmp_path / "store"), quiet)


def test_what_is_missing_is_said_so(registry: str, tmp_path: Path) -> None:
    """A tag that is not there is an error of the registry."""
    store = Store(root=tmp_path / "store")
    with pytest.raises(RegistryError, match="does not hold"):
        resolve_base(f"{registry}/none:1", host_architecture(), store, quiet)


def test_a_name_without_registry_is_docker_s_hub() -> None:
    """`python:3.13-slim` stands below `library` there."""
    assert remote(parse("python:3.13-slim")).repository == "library/python"
    assert remote(parse("docker.io/a/b:1")).repository == "a/b"
    assert remote(parse("localhost:5000/a:1")) == parse("localhost:5000/a:1")


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ([file("usr/bin/python3.9", b"x", 0o755)], "has no Python"),
        (
            [file("usr/bin/python3.15", b"x", 0o755), link("usr/bin/python3", "python3.15")],
            "has Python 3.15",
        ),
        ([file("usr/bin/python3.13", b"#!/bin/sh", 0o755)], "no program for"),
        ([link("usr/bin/python3", "/usr/bin/python3.13")], "has no Python"),
        ([link("usr/bin/python3", "python3")], "too many links"),
        ([link("usr/bin/python3", "../../../../../etc/passwd")], "has no Python"),
    ],
)
def test_strange_pythons_are_refused(entries: list, complaint: str, tmp_path: Path) -> None:
    """Too old, no program, links to nothing, in circles or out of the image."""
    unpack(make_image(make_layer(tmp_path / "s", folder("usr/bin"), *entries)), tmp_path / "root")
    with pytest.raises(ImageError, match=complaint):
        find_python(tmp_path / "root", "", host_architecture(), "x86_64-linux-gnu", "b")
