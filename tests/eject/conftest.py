"""A can, its ejected folder with wheels, and a base image that needs no network."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from base_images import PYTHON, base_image
from churn_cans import RECORDS, expected, make_graph, make_manifest

from cannery.blobs import canonical_json
from cannery.cans.manifest import CanManifest
from cannery.cans.open import Can
from cannery.cans.seal import seal
from cannery.images.eject import EjectOptions, eject
from cannery.oci.descriptors import Image
from cannery.signatures import Canary


@pytest.fixture(scope="session")
def can(tmp_path_factory: pytest.TempPathFactory) -> Can:
    """Return a sealed can around a small graph."""
    canary = Canary(records=RECORDS, outputs=tuple(expected(record) for record in RECORDS))
    files = {"model.onnx": make_graph(), "canary.json": canonical_json(canary)}
    manifest = msgspec.json.decode(msgspec.json.encode(make_manifest()), type=CanManifest)
    return seal(manifest, files, tmp_path_factory.mktemp("cans") / "churn.can")


@pytest.fixture(scope="session")
def ejected(can: Can, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder ejected with the wheels for the Python that runs the tests."""
    folder = tmp_path_factory.mktemp("ejected") / "churn"
    eject(can.folder, folder, options=EjectOptions(wheels=True, python=PYTHON))
    return folder


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Return the base image."""
    return base_image(tmp_path_factory.mktemp("base"))
