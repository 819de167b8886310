"""A can, its ejected folder with wheels, and a base image that needs no network."""

from __future__ import annotations

from pathlib import Path

import pytest
from base_images import PYTHON, base_image
from churn_cans import sealed

from cannery.cans.open import Can
from cannery.images.eject import EjectOptions, eject
from cannery.oci.descriptors import Image


@pytest.fixture(scope="session")
def can(tmp_path_factory: pytest.TempPathFactory) -> Can:
    """Return a sealed can around a small graph."""
    return sealed(tmp_path_factory.mktemp("cans") / "churn.can")


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
