"""The service that `peers.py bentoml` serves."""

from __future__ import annotations

import sys
from pathlib import Path

import bentoml

sys.path.insert(0, str(Path(__file__).parent))
from peers import Model

Value = float | int | str


@bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Churn:
    """One model."""

    def __init__(self) -> None:
        self.model = Model()

    @bentoml.api
    def predict(self, records: list[dict[str, Value]]) -> list[float]:
        """Return the probabilities."""
        return self.model.score(records)
