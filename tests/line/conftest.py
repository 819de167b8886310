"""The whole line with real parts: MLflow, Docker, a registry, a tracking server."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from cannery.processes import Finished, run, started

SETTINGS = """\
[model]
source = "models:/churn-classifier@champion"
sample = "sample.parquet"

[outputs]
churn_probability = { class = "Yes" }
"""
CUSTOMER = {
    "tenure": 2,
    "monthly_charges": 89.1,
    "total_charges": 178.2,
    "contract": "Month-to-month",
    "payment_method": "Electronic check",
    "num_services": 3,
}


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, seconds: float = 90.0) -> None:
    """Wait until an address answers at all."""
    end = time.monotonic() + seconds
    while True:
        try:
            httpx.get(url, timeout=2.0)
        except httpx.HTTPError:
            assert time.monotonic() < end, f"'{url}' does not answer"
            time.sleep(0.1)
        else:
            return


@dataclass(frozen=True)
class Project:
    """A folder with a registered model, and the commands run in it."""

    folder: Path

    def run(self, *words: str | Path, **env: str) -> Finished:
        """Run `python -m …` in the folder."""
        tracking = {"MLFLOW_TRACKING_URI": f"sqlite:///{self.folder}/mlflow.db"}
        return run(
            [sys.executable, "-m", *words],
            cwd=self.folder,
            env={**os.environ, **tracking, "MLFLOW_DISABLE_TELEMETRY": "true", **env},
            timeout=300,
        )

    def cannery(self, *words: str | Path, **env: str) -> Finished:
        """Run a command of Cannery."""
        return self.run("cannery", *words, **env)

    def build(self, *words: str | Path) -> dict[str, Any]:
        """Build and return what was built."""
        done = self.cannery("build", *words, "--json")
        assert done.ok, done.complaint
        built: dict[str, Any] = json.loads(done.stdout)
        return built

    def train(self, version: int) -> dict[str, Any]:
        """Train and register a version."""
        done = self.run(
            "cannery.demo.train", "--work", self.folder, "--version", str(version), "--json"
        )
        assert done.ok, done.complaint
        trained: dict[str, Any] = json.loads(done.stdout)
        return trained


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project whose champion is version 1."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "cannery.toml").write_text(SETTINGS)
    made = Project(folder)
    made.train(1)
    return made


@pytest.fixture(scope="session")
def first(project: Project) -> Iterator[dict[str, Any]]:
    """Build the champion as an image in Docker."""
    built = project.build("-t", "cannery-line:v1", "--can", project.folder / "v1.can")
    yield built
    run(["docker", "rmi", "--force", "cannery-line:v1"])


@pytest.fixture(scope="session")
def can(project: Project, first: dict[str, Any]) -> Path:
    """Return the can in the first image."""
    return project.folder / "v1.can"


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a real registry on the loopback; its host and port."""
    folder, port = tmp_path_factory.mktemp("registry"), free_port()
    config = folder / "config.yml"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\nlog: {{level: error}}\n"
    )
    with started(["docker-registry", "serve", config]):
        wait_for(f"http://127.0.0.1:{port}/v2/")
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="session")
def tracking(project: Project) -> Iterator[str]:
    """Run a real MLflow server over the project's store; its address."""
    port = free_port()
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    store = f"sqlite:///{project.folder}/mlflow.db"
    words += ["--backend-store-uri", store, "--serve-artifacts", "--workers", "1"]
    words += ["--artifacts-destination", str(project.folder / "artifacts")]
    env = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with started(words, cwd=project.folder, env=env, stdout=None, stderr=None):
        wait_for(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}"


LOG = """
import pickle, sys, mlflow
mlflow.set_experiment("served")
with mlflow.start_run():
    model = pickle.load(open(sys.argv[1], "rb"))
    mlflow.sklearn.log_model(
        model, name="model", registered_model_name="remote", serialization_format="cloudpickle"
    )
mlflow.MlflowClient().set_registered_model_alias("remote", "champion", "1")
"""


@pytest.fixture(scope="session")
def remote(project: Project, tracking: str) -> str:
    """Log and register a model through the tracking server; its name with an alias."""
    (model, *_) = sorted((project.folder / "artifacts").rglob("model.pkl"))
    done = run(
        [sys.executable, "-c", LOG, model],
        env={**os.environ, "MLFLOW_TRACKING_URI": tracking, "PYTHONWARNINGS": "ignore"},
        timeout=120,
    )
    assert done.ok, done.complaint
    return "models:/remote@champion"
