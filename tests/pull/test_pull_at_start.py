"""The program inside an image, told by MODEL_URI what to serve."""

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from registries import running_registry
from small_cans import make_can

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
    server: SimpleNamespace, can: Can, tmp_path: Path, port: int
) -> None:
    """An alias in the environment is all that the service needs; it says which can it is."""
    publish(can.folder, "models:/churn@champion", tracking_uri=server.uri)
    env = _env(tmp_path / "cache", port, server.uri, "models:/churn@champion")
    url = f"http://127.0.0.1:{port}"
    with started(PROGRAM, env=env) as process:
        assert httpx.get(f"{_up(process, url)}/health").status_code == 200
        assert can.digest in httpx.get(f"{url}/version").text


def _up(process: Any, url: str) -> str:
    """Return the address of a program once it answers."""
    for _ in range(600):
        assert process.poll() is None, process.stderr.read().decode()
        with suppress(httpx.TransportError):
            httpx.get(f"{url}/livez")
            break
        time.sleep(0.05)
    return url


def _until(url: str, words: str) -> None:
    """Wait until a page says these words."""
    for _ in range(300):
        if words in (said := httpx.get(url).text):
            return
        time.sleep(0.05)
    raise AssertionError(said)


def _push(can: Can, place: str) -> None:
    said = run([sys.executable, "-m", "cannery", "push", can.folder, place], timeout=60)
    assert said.ok, said.complaint


def _asked(server: SimpleNamespace, path: str, **body: str) -> None:
    """Ask the tracking server to change something."""
    answer = httpx.post(f"{server.uri}/api/2.0/mlflow/{path}", json=body)
    assert answer.status_code == 200, answer.text


def test_a_moved_alias_is_followed_and_only_a_good_can_is_fallen_back_to(
    server: SimpleNamespace, forward: Callable[[], Any], tmp_path: Path, port: int
) -> None:
    """The registry's alias moves twice: to a good can, which is taken, and to a bad one, which is not.

    Then the registry dies, and a restart serves the good one.
    """
    cans = [make_can(tmp_path / f"{n}.can", version=str(n)) for n in (1, 2)]
    cans.append(make_can(tmp_path / "bad.can", version="3", weight=-0.01))
    _asked(server, "registered-models/create", name="mover")
    for number, can in enumerate(cans, start=1):
        source = {"source": f"models:/{server.model_id}", "model_id": server.model_id}
        _asked(server, "model-versions/create", name="mover", **source)
        publish(can.folder, f"models:/mover/{number}", tracking_uri=server.uri)

    def move(number: int) -> None:
        place = {"name": "mover", "alias": "champion"}
        _asked(server, "registered-models/alias", **place, version=str(number))

    move(1)
    url = f"http://127.0.0.1:{port}"
    with forward() as relay:
        tracking = f"http://127.0.0.1:{relay}"
        env = _env(tmp_path / "cache", port, tracking, "models:/mover@champion")
        with started(PROGRAM, env={**env, "WATCH": "1"}) as process:
            assert cans[0].digest in httpx.get(f"{_up(process, url)}/version").text
            move(2)
            _until(f"{url}/version", cans[1].digest)
            move(3)
            _until(f"{url}/metrics", 'cannery_candidates_total{result="refused"}')
            assert cans[1].digest in httpx.get(f"{url}/version").text
    with started(PROGRAM, env=env) as process:
        assert cans[1].digest in httpx.get(f"{_up(process, url)}/version").text


@pytest.mark.registry
def test_a_moved_tag_of_a_registry_is_followed(tmp_path: Path, port: int) -> None:
    """Without a tracking server: who pushes to the tag again has the new can served."""
    cans = [make_can(tmp_path / f"{n}.can", version=str(n)) for n in (1, 2)]
    with running_registry(tmp_path / "registry") as host:
        place = f"{host}/models/churn:champion"
        env = _env(tmp_path / "cache", port, "", f"oci://{place}")
        _push(cans[0], place)
        url = f"http://127.0.0.1:{port}"
        with started(PROGRAM, env={**env, "WATCH": "1"}) as process:
            assert cans[0].digest in httpx.get(f"{_up(process, url)}/version").text
            _push(cans[1], place)
            _until(f"{url}/version", cans[1].digest)


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
    tmp_path: Path, port: int, tracking: str, model: str, part: str
) -> None:
    """It neither waits nor serves something else; the status says error, not unhealthy."""
    ended = run(PROGRAM, env=_env(tmp_path / "cache", port, tracking, model), timeout=60)
    assert ended.status == 2
    assert part in ended.stderr.decode()
    assert ended.stderr.decode().count("\n") == 1


def test_mlflow_takes_the_services_spans(server: SimpleNamespace, can: Can, port: int) -> None:
    """A receiver of another project reads what is sent: requests are traces of an experiment there."""
    url = f"http://127.0.0.1:{port}"
    env = {
        **_env(can.folder.parent, port, "", str(can.folder)),
        "OTEL_EXPORTER_OTLP_ENDPOINT": server.uri,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-mlflow-experiment-id=0",
    }
    with started(PROGRAM, env=env) as process:
        httpx.post(f"{_up(process, url)}/predict", json={})
        _until(f"{url}/metrics", 'cannery_spans_total{result="sent"}')
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}
    found = httpx.post(f"{server.uri}/api/3.0/mlflow/traces/search", json={"locations": [place]})
    assert can.digest in found.text
