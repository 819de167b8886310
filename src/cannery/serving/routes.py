"""Every path and what it answers: operations for the model, functions for everything else."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from cannery.serving.documents import json_schema, openapi
from cannery.serving.invocations import azure_operation, invocations_operation, kserve_operation
from cannery.serving.messages import Request, Response, json_response
from cannery.serving.metrics import CONTENT_TYPE, Metrics
from cannery.serving.open_inference import EXTENSION, infer_operation, model_metadata
from cannery.serving.operations import Operation
from cannery.serving.pages import assets, page, wants_page
from cannery.serving.patience import Patience
from cannery.serving.predictions import predict_operation
from cannery.serving.service import Health, Service


@dataclass(frozen=True, slots=True)
class Check:
    """A handler that may score the canary: beside the loop, where the model is slow."""

    act: Callable[[Request], Response]


Handler = Callable[[Request], Response] | Operation | Check
Routes = Mapping[str, Mapping[str, Handler]]
"""Path → method → handler."""

HEALTH_AGE = 1.0
"""Seconds for which an answer about the canary is given again: a storm of probes costs nothing."""

SEE = ("/health", "/version", "/schema", "/openapi.json", "/docs", "/metrics")
"""Where a newcomer looks next."""


class Desk:
    """One service and what is known of it from minute to minute: its health, whether it is leaving."""

    def __init__(
        self,
        service: Service,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.service = service
        self.metrics = metrics
        self.draining = False
        self.patience = Patience()
        self.hindrance: Callable[[], str | None] = lambda: None
        """What keeps the model from answering anybody."""
        self._clock = clock
        self._health: tuple[float, Health] | None = None

    def take(self, service: Service) -> None:
        """Speak of this service from now on."""
        self.service = service
        self._health = None

    def drain(self) -> None:
        """Answer from now on that no further requests should come."""
        self.draining = True

    def health(self) -> Health:
        """Return the canary's health, at most `HEALTH_AGE` old, unless the model answers nobody."""
        now = self._clock()
        if reason := self.hindrance():
            self._health = (now - HEALTH_AGE, Health(healthy=False, reason=reason))
        elif self._health is None or now - self._health[0] >= HEALTH_AGE:
            self._health = (now, self.service.check())
        self.metrics.tally.canary = self._health[1].healthy
        return self._health[1]

    def healthy(self, _request: Request) -> Response:
        """Say whether the canary comes out right."""
        return _status(self.health(), "healthy", "unhealthy")

    def ready(self, _request: Request) -> Response:
        """Say whether requests should be sent here."""
        return _status(self.ready_now(), "ready", "not ready")

    def ready_now(self) -> Health:
        """Return the canary's health, unless the service is leaving."""
        if self.draining:
            return Health(healthy=False, reason="draining")
        return self.health()

    def scrape(self, _request: Request) -> Response:
        """Return the metrics."""
        return Response(body=self.metrics.text(), content_type=CONTENT_TYPE)

    def front(self, request: Request) -> Response:
        """Say what this is and where to go: a page for people, JSON for programs."""
        if wants_page(request):
            return page("index.html")
        manifest = self.service.manifest
        return json_response(
            {
                "name": manifest.name,
                "version": manifest.version,
                "digest": self.service.digest,
                "predict": "POST /predict",
                "see": list(SEE),
            }
        )


def routes_of(desk: Desk, aliases: Mapping[str, str]) -> Routes:
    """Return the route table; `aliases` are further paths for routes that exist."""
    service = desk.service
    schema = json_schema(service.manifest.signature, service.manifest.name)
    table: dict[str, dict[str, Handler]] = {
        "/predict": {"POST": predict_operation(service)},
        "/invocations": {"POST": invocations_operation(service)},
        "/score": {"POST": azure_operation(service)},
        "/health": _get(Check(desk.healthy)),
        "/healthz": _get(Check(desk.healthy)),
        "/ping": _get(Check(desk.ready)),
        "/readyz": _get(Check(desk.ready)),
        "/livez": _get(partial(_fixed, json_response({"status": "alive"}))),
        "/version": _get(partial(_fixed, json_response(service.version()))),
        "/schema": _get(partial(_fixed, json_response(schema))),
        "/openapi.json": _get(partial(_fixed, json_response(openapi(service)))),
        "/metrics": _get(desk.scrape),
        "/": _get(desk.front),
        "/docs": _get(partial(_fixed_page, "docs.html")),
        **{path: _get(handler) for path, handler in assets().items()},
        **_kserve(desk),
        **_open_inference(desk),
    }
    for path, route in aliases.items():
        table.setdefault(path, {}).update(table[route])
    return table


def _kserve(desk: Desk) -> dict[str, dict[str, Handler]]:
    """Return the routes of KServe's first protocol, TensorFlow Serving's."""
    name = desk.service.manifest.name
    model = f"/v1/models/{name}"
    return {
        "/v1/models": _get(partial(_fixed, json_response({"models": [name]}))),
        model: _get(Check(partial(_ready, desk, {"name": name}))),
        f"{model}:predict": {"POST": kserve_operation(desk.service)},
    }


def _open_inference(desk: Desk) -> dict[str, dict[str, Handler]]:
    """Return the routes of the Open Inference Protocol, with and without the version."""
    manifest = desk.service.manifest
    server = {"name": "cannery", "version": manifest.version, "extensions": [EXTENSION]}
    metadata = json_response(model_metadata(desk.service))
    infer = infer_operation(desk.service)
    model_ready = Check(partial(_ready, desk, {"name": manifest.name}))
    routes: dict[str, dict[str, Handler]] = {
        "/v2": _get(partial(_fixed, json_response(server))),
        "/v2/health/live": _get(partial(_fixed, json_response({"live": True}))),
        "/v2/health/ready": _get(Check(partial(_ready, desk, {}))),
    }
    model = f"/v2/models/{manifest.name}"
    for path in (model, f"{model}/versions/{manifest.version}"):
        routes[path] = _get(partial(_fixed, metadata))
        routes[f"{path}/ready"] = _get(model_ready)
        routes[f"{path}/infer"] = {"POST": infer}
    return routes


def _ready(desk: Desk, about: Mapping[str, Any], _request: Request) -> Response:
    """Return whether requests should be sent here, as a field."""
    yes = desk.ready_now().healthy
    return json_response({**about, "ready": yes}, 200 if yes else 503)


def _get(handler: Handler) -> dict[str, Handler]:
    return {"GET": handler, "HEAD": handler}


def _fixed(response: Response, _request: Request) -> Response:
    return response


def _fixed_page(name: str, _request: Request) -> Response:
    return page(name)


def _status(health: Health, yes: str, no: str) -> Response:
    if health.healthy:
        return json_response({"status": yes})
    return json_response({"status": no, "reason": health.reason}, 503)
