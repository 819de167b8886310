"""The program inside an image, told by MODEL_URI what to serve."""

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from cannery.cans.open import Can
from cannery.processes import run, started
from cannery.sources.publish import publish

PROGRAM = [sys.executable, "-m", "cannery.serving"]


def _env(cache: Path, port: int, tracking: str, model: str) -> dict[str, str]:
    """Return the environment of a container in pull mode."""
    return {
        "PATH": os.environ["PATH"],
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "CANNERY_CACHE": str(cache),
        "MODEL_URI": model,
        "MLFLOW_TRACKING_URI": tracking,
    }


def test_the_champion_is_pulled_and_served(
    server: SimpleNamespace, can: Can, tmp_path: Path, free_port: int
) -> None:
    """An alias in the environment is all that the service needs; it says which can it is."""
    publish(can.folder, "models:/churn@champion", tracking_uri=server.uri)
    env = _env(tmp_path / "cache", free_port, server.uri, "models:/churn@champion")
    url = f"http://127.0.0.1:{free_port}"
    with started(PROGRAM, env=env) as process:
        for _ in range(300):
            assert process.poll() is None, process.stderr.read().decode()
            try:
                health = httpx.get(f"{url}/health")
                break
            except httpx.TransportError:
                time.sleep(0.05)
        assert health.status_code == 200
        assert can.digest in httpx.get(f"{url}/version").text


@pytest.mark.parametrize(
    ("tracking", "model", "part"),
    [
        ("http://127.0.0.1:9", "models:/churn@champion", "does not answer: Connection refused"),
        ("", "models:/churn@champion", "MLFLOW_TRACKING_URI is not set"),
        ("", "oci://127.0.0.1:9/models/churn:v1", "does not answer: Connection refused"),
        ("", "nowhere/churn.can", "no can at 'nowhere/churn.can'"),
    ],
)
def test_what_cannot_be_pulled_ends_the_program_with_one_line(
    tmp_path: Path, free_port: int, tracking: str, model: str, part: str
) -> None:
    """It neither waits nor serves something else; the status says error, not unhealthy."""
    ended = run(PROGRAM, env=_env(tmp_path / "cache", free_port, tracking, model), timeout=60)
    assert ended.status == 2
    assert part in ended.stderr.decode()
    assert ended.stderr.decode().count("\n") == 1
