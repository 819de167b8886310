"""Parts for the tests of image composition: a lock and an image made for real, once."""

from __future__ import annotations

import functools
import tarfile
from pathlib import Path

import pytest
from image_runs import MakeCan, Run, run_in
from layers import tar_of

from cannery.blobs import canonical_json, digest_bytes
from cannery.cans.manifest import AuditSummary, CanManifest, CanSource, File
from cannery.images.compose import Composition, composed
from cannery.images.lock import Lock, LockRequest, resolve
from cannery.images.plan import Plan
from cannery.images.store import Store
from cannery.oci.descriptors import Image
from cannery.signatures import Feature, Output, Signature


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return an empty store."""
    return Store(root=tmp_path / "store")


@pytest.fixture(scope="session")
def user_store() -> Store:
    """Return the store of whoever runs the tests: what was fetched once is not fetched again."""
    return Store()


@pytest.fixture(scope="session")
def lock(user_store: Store) -> Lock:
    """Return the newest packages for ONNX."""
    return resolve(LockRequest(), user_store)


@pytest.fixture(scope="session")
def make_can(tmp_path_factory: pytest.TempPathFactory) -> MakeCan:
    """Return a function that writes a can with the bytes of some model."""

    def make(model: str) -> tuple[Path, CanManifest]:
        folder = tmp_path_factory.mktemp("cans") / "model.can"
        folder.mkdir()
        data = model.encode()
        (folder / "model.onnx").write_bytes(data)
        manifest = CanManifest(
            name="churn",
            version="1",
            source=CanSource(given="m", resolved="m", digest=digest_bytes(data), format="onnx"),
            runtime="onnx",
            model="model.onnx",
            task="graph",
            signature=Signature(
                features=(Feature(name="x", type="double"),),
                outputs=(Output(name="y", type="double", tensor="y"),),
            ),
            files={"model.onnx": File(digest=digest_bytes(data), size=len(data))},
            audit=AuditSummary(verdict="safe", names=0, policy=digest_bytes(b""), sandbox="none"),
        )
        (folder / "can.json").write_bytes(canonical_json(manifest))
        return folder, manifest

    return make


@pytest.fixture(scope="session")
def composition(lock: Lock, user_store: Store, make_can: MakeCan) -> Composition:
    """Return an image with a can baked in."""
    folder, manifest = make_can("some model")
    return composed(Plan(lock=lock, can=folder, manifest=manifest), user_store)


@pytest.fixture(scope="session")
def image(composition: Composition) -> Image:
    """Return that image."""
    return composition.image


@pytest.fixture(scope="session")
def members(image: Image) -> dict[str, tarfile.TarInfo]:
    """Return every entry of the image by path."""
    found = {}
    for layer in image.layers:
        with tar_of(layer) as tar:
            found.update({member.name: member for member in tar})
    return found


@pytest.fixture(scope="session")
def root(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the image's files."""
    folder = tmp_path_factory.mktemp("root")
    for layer in image.layers:
        with tar_of(layer) as tar:
            tar.extractall(folder, filter="fully_trusted")
    return folder


@pytest.fixture(scope="session")
def run_inside(image: Image, root: Path) -> Run:
    """Return a function that runs a program in the image."""
    return functools.partial(run_in, root, image)
