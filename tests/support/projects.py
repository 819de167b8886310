"""A project with a registered model, the commands run in it, and waiting for servers."""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cannery.processes import Finished, run

SETTINGS = """\
[model]
source = "models:/churn-classifier@champion"
sample = "sample.parquet"

[outputs]
churn_probability = { class = "Yes" }
"""
LINE = f"cannery-line-{secrets.token_hex(4)}"
"""Name of the images; other checkouts may test beside this one, on the same engine."""
CUSTOMER = {
    "tenure": 2,
    "monthly_charges": 89.1,
    "total_charges": 178.2,
    "contract": "Month-to-month",
    "payment_method": "Electronic check",
    "num_services": 3,
}


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
