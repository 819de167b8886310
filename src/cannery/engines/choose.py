"""Which engine to use: the one that was asked for, else the first that works here."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from cannery.engines.docker import docker
from cannery.engines.engine import Engine
from cannery.engines.podman import podman
from cannery.engines.sandbox import Sandbox
from cannery.errors import EngineError, UsageError

ENGINES: Mapping[str, Callable[[], Engine]] = {
    "docker": docker,
    "podman": podman,
    "sandbox": Sandbox,
}
"""In the order in which they are tried."""

VARIABLE = "CANNERY_ENGINE"


def detect(name: str | None = None, env: Mapping[str, str] | None = None) -> Engine:
    """Return the engine called `name`, or named by CANNERY_ENGINE, else the first that works.

    Raises UsageError for a name that is none, EngineError with the reasons when none works.
    """
    wanted = name or (os.environ if env is None else env).get(VARIABLE)
    if wanted is not None and wanted not in ENGINES:
        raise UsageError(f"'{wanted}' is no engine", hint=f"one of: {', '.join(ENGINES)}")
    reasons = []
    for candidate in [wanted] if wanted else ENGINES:
        engine = ENGINES[candidate]()
        obstacle = engine.obstacle()
        if obstacle is None:
            return engine
        reasons.append(f"{candidate}: {obstacle}")
    raise EngineError(
        f"nothing here can start an image ({'; '.join(reasons)})",
        hint="install Docker, Podman or bubblewrap, or allow user namespaces",
    )
