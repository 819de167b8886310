"""The whole line with real parts: MLflow, Docker, a registry, a tracking server."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from projects import LINE, SETTINGS, Project, wait_for
from registries import running_registry

from cannery.engines.asking import free_port
from cannery.processes import run, started


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
    built = project.build("-t", f"{LINE}:v1", "--can", project.folder / "v1.can")
    yield built
    run(["docker", "rmi", "--force", f"{LINE}:v1"])


@pytest.fixture(scope="session")
def can(project: Project, first: dict[str, Any]) -> Path:
    """Return the can in the first image."""
    return project.folder / "v1.can"


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a real registry on the loopback; its host and port."""
    with running_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


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
