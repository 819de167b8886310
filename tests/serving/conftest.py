"""Fixtures: sealed cans, and a healthy application."""

from __future__ import annotations

from pathlib import Path

import pytest
from churn_cans import Caller, MakeCan, sealed

from cannery.serving.http import Application
from cannery.serving.server import application
from cannery.serving.service import open_service
from cannery.serving.settings import Settings


@pytest.fixture
def make_can(tmp_path: Path) -> MakeCan:
    """Return a function that seals a can: its graph, its canary and its manifest can be chosen."""
    return lambda name="churn.can", **changes: sealed(tmp_path / name, **changes)


@pytest.fixture
def app(make_can: MakeCan) -> Application:
    """Return the application of a healthy can."""
    return application(open_service(make_can().folder), Settings(max_body=1 << 20))


@pytest.fixture
def call(app: Application) -> Caller:
    """Return a function that calls the healthy application."""
    return Caller(app)
