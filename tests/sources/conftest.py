"""A real MLflow store with the churn classifier in it, trained once."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from cannery.processes import run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Train and register version 1; its fields are those of the training's result."""
    work = tmp_path_factory.mktemp("registry")
    trained = run(
        [sys.executable, "-m", "cannery.demo.train", "--work", work, "--json"], timeout=300
    )
    assert trained.ok, trained.complaint
    return SimpleNamespace(**json.loads(trained.stdout), work=work)
