"""The service keeps what its OpenAPI document promises, whatever the document lets one send."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from churn_cans import MakeCan
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS

from cannery.serving.server import application
from cannery.serving.service import open_service
from cannery.serving.settings import Settings

SPOKEN = (
    ("/predict", "POST"),
    ("/invocations", "POST"),
    ("/score", "POST"),
    ("/v1/models/churn:predict", "POST"),
    ("/v2/models/churn/infer", "POST"),
    ("/version", "GET"),
    ("/health", "GET"),
    ("/metrics", "GET"),
)
BEYOND = ("/invocations", "/v2/models/churn/infer")


@pytest.fixture
def document(make_can: MakeCan) -> Any:
    """Return the service's own document, asked of itself."""
    app = application(open_service(make_can().folder), Settings())
    return schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.mark.parametrize(
    ("path", "method", "mode"),
    [
        (path, method, mode)
        for path, method in SPOKEN
        for mode in schemathesis.GenerationMode
        if method == "POST" or mode.is_positive
    ],
)
def test_requests_made_from_the_document_are_answered_as_it_says(
    document: Any, path: str, method: str, mode: Any
) -> None:
    """Never a 500, always a status and a body that the document names, for fitting and unfitting requests."""
    operation = document[path][method]
    # A tensor's values must be as many as its shape says, a CSV must have the model's columns: no schema tells.
    beyond = ["positive_data_acceptance"] if path in BEYOND else []
    excluded = [CHECKS.get_one(name) for name in beyond]

    @given(data=st.data())
    @settings(
        max_examples=12,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(generation_mode=mode))
        case.call_and_validate(excluded_checks=excluded)

    ask()
