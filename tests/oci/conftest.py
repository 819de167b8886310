"""A small image, and a real registry on a loopback port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from image_parts import file, folder, make_image, make_layer
from registries import running_registry

from cannery.oci.descriptors import Image


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """Return an image of two layers, one of them compressed."""
    store = tmp_path / "store"
    return make_image(
        make_layer(store, folder("app"), file("app/model", b"first" * 1000)),
        make_layer(store, file("app/can", b"second"), compressed=False),
        Labels={"dev.cannery.model.name": "churn"},
        User="10001:10001",
    )


@pytest.fixture
def start_registry(tmp_path: Path) -> Callable[..., object]:
    """Return a context manager that runs a registry of its own."""
    return lambda **options: running_registry(tmp_path / "registry", **options)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return host and port of a registry that runs for the whole session."""
    with running_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host
