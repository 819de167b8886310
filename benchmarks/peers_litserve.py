"""The part of `peers.py litserve` that its worker imports."""

from __future__ import annotations

from typing import Any

import litserve as ls
from peers import Model


class Api(ls.LitAPI):
    """One model."""

    def setup(self, device: str) -> None:
        """Open the graph."""
        self.model = Model()

    def predict(self, asked: dict[str, Any]) -> list[float]:
        """Return the probabilities."""
        return self.model.score(asked["records"])
