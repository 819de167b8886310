"""Engines as they are here, with a cache of the tests' own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "oci")]

from toy_images import toy_image  # noqa: E402

from cannery.engines.docker import docker  # noqa: E402
from cannery.engines.engine import Engine  # noqa: E402
from cannery.engines.podman import podman  # noqa: E402
from cannery.engines.sandbox import Sandbox  # noqa: E402

MAKERS = {
    "docker": docker,
    "podman": podman,
    "bubblewrap": lambda: Sandbox(bubblewrap=True),
    "jail": lambda: Sandbox(bubblewrap=False),
}
ENGINES = [
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("podman", marks=pytest.mark.podman),
    "bubblewrap",
    "jail",
]


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the layers of all toys; the sandbox's cache stands beside it."""
    return tmp_path_factory.mktemp("toys")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep unpacked images out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CANNERY_CACHE", str(tmp_path_factory.mktemp("cache")))
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
