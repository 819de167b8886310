"""Which tests this machine can run: those of an engine need it, and continuous integration has them all.

Where CANNERY_TEST_ENGINES is `required`, nothing is left out: a program that is missing fails its tests.
"""

from __future__ import annotations

import os
import shutil
from functools import cache

import pytest
from hypothesis import HealthCheck, settings
from image_runs import EMULATOR

from cannery.engines.choose import ENGINES
from cannery.errors import CanneryError
from cannery.isolation.sandbox import probe

# The same examples in every run, on a machine of any speed: tools/fuzz_machine.py looks for new ones.
settings.register_profile(
    "suite", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")

REQUIRED = os.environ.get("CANNERY_TEST_ENGINES") == "required"


@cache
def obstacle(mark: str) -> str | None:
    """Return why tests with this mark can't run here; None when they can."""
    match mark:
        case "docker" | "podman":
            return ENGINES[mark]().obstacle()
        case "buildah" | "umoci":
            return None if shutil.which(mark) else f"no {mark}"
        case "emulator":
            return None if shutil.which(EMULATOR) else f"no {EMULATOR}"
        case "registry":
            missing = [name for name in ("docker-registry", "skopeo") if not shutil.which(name)]
            return f"no {' and no '.join(missing)}" if missing else None
        case "bubblewrap":
            try:
                probe("bubblewrap")
            except CanneryError as error:
                return error.message
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of programs that are not here, unless all are required."""
    if REQUIRED:
        return
    kept: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        lacking = any(obstacle(mark.name) for mark in item.iter_markers())
        (left if lacking else kept).append(item)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


def pytest_report_collectionfinish() -> list[str]:
    """Say what was left out, and why."""
    if REQUIRED:
        return []
    marks = ("docker", "podman", "buildah", "umoci", "registry", "bubblewrap", "emulator")
    return [f"left out: tests of {mark}: {obstacle(mark)}" for mark in marks if obstacle(mark)]
