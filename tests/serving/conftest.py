"""Fixtures: sealed cans, and a healthy application."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from churn_cans import RECORDS, Caller, MakeCan, expected, make_graph, make_manifest

from cannery.blobs import canonical_json
from cannery.cans.open import Can
from cannery.cans.seal import seal
from cannery.serving.http import Application
from cannery.serving.server import application
from cannery.serving.service import open_service
from cannery.serving.settings import Settings
from cannery.signatures import Canary


@pytest.fixture
def make_can(tmp_path: Path) -> MakeCan:
    """Return a function that seals a can: its graph, its canary and its manifest can be chosen."""

    def make(
        name: str = "churn.can",
        *,
        graph: bytes | None = None,
        canary: Canary | None = None,
        **changes: Any,
    ) -> Can:
        canary = canary or Canary(records=RECORDS, outputs=tuple(map(expected, RECORDS)))
        files = {"model.onnx": graph or make_graph(), "canary.json": canonical_json(canary)}
        return seal(make_manifest(**changes), files, tmp_path / name, force=True)

    return make


@pytest.fixture
def app(make_can: MakeCan) -> Application:
    """Return the application of a healthy can."""
    return application(open_service(make_can().folder), Settings(max_body=1 << 20))


@pytest.fixture
def call(app: Application) -> Caller:
    """Return a function that calls the healthy application."""
    return Caller(app)
