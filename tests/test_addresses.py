"""Addresses that can't be read end in a clear error, wherever they come from; no password is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cannery.addresses import bare
from cannery.errors import CanneryError
from cannery.serving.pull import fetch
from cannery.serving.settings import settings_of
from cannery.serving.tracking import open_tracking
from cannery.sources.fetch import fetch as fetch_model

TORN = "http://me:secret@[::1/"
NOWHERE = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}

ASKED: dict[str, Callable[[Path], object]] = {
    "tracking": lambda _: open_tracking({"MLFLOW_TRACKING_URI": TORN}),
    "registry": lambda _: open_tracking({"MLFLOW_REGISTRY_URI": "postgresql://me:secret@db/x"}),
    "spans": lambda _: settings_of({"OTEL_EXPORTER_OTLP_ENDPOINT": TORN}),
    "can": lambda folder: fetch("oci://[::1/models/churn", folder, {}),
    "can in a file": lambda folder: fetch("file://[/churn.can", folder, {}),
    "artifacts": lambda folder: fetch("mlflow-artifacts://[/1", folder, NOWHERE),
    "no text": lambda folder: fetch("models:/\udcff@x", folder, NOWHERE),
    "model": lambda folder: fetch_model("file://[/model.pkl", staging=folder),
    "store": lambda folder: fetch_model("models:/churn@x", staging=folder, tracking_uri=TORN),
}


@pytest.mark.parametrize("name", ASKED)
def test_what_is_no_address_is_told(name: str, tmp_path: Path) -> None:
    """By an error of ours, without name and password."""
    with pytest.raises(CanneryError) as caught:
        ASKED[name](tmp_path)
    assert "secret" not in caught.value.message
    assert "address" in caught.value.message or "no server" in caught.value.message


def test_an_address_is_shown_without_its_login() -> None:
    """All else stays as it was written."""
    assert bare("https://me:secret@host/path?token=x") == "https://host/path"
    assert bare("sqlite:///mlflow.db") == "sqlite:///mlflow.db"
