"""Engines as they are here, with a cache of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_images import toy_image

from cannery.engines.docker import docker
from cannery.engines.engine import Engine
from cannery.engines.podman import podman
from cannery.engines.sandbox import Sandbox

MAKERS = {
    "docker": docker,
    "podman": podman,
    "bubblewrap": lambda: Sandbox(bubblewrap=True),
    "jail": lambda: Sandbox(bubblewrap=False),
}
ENGINES = [
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("podman", marks=pytest.mark.podman),
    pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
    "jail",
]


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the layers of all toys; the sandbox's cache stands beside it."""
    return tmp_path_factory.mktemp("toys")


@pytest.fixture(scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that is the cache of these tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True, scope="module")
def _keep_out_of_the_users_cache(own_cache: Path) -> Iterator[None]:
    """Keep unpacked images out of the user's cache, for these modules and no others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CANNERY_CACHE", str(own_cache))
        yield


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Return each engine in turn."""
    return MAKERS[request.param]()


@pytest.fixture(scope="session")
def loaded(store: Path) -> Iterator[object]:
    """Return a function that loads a toy into an engine once; all are removed at the end."""
    known: dict[tuple[Engine, str], str] = {}

    def load(engine: Engine, behaviour: str = "good") -> str:
        if (engine, behaviour) not in known:
            known[engine, behaviour] = engine.load(toy_image(store, behaviour))
        return known[engine, behaviour]

    yield load
    for (engine, _), subject in known.items():
        engine.remove_image(subject)
