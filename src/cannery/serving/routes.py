"""Every path and what it answers: the service's operations as functions from request to response."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from cannery.errors import MalformedError, SchemaError
from cannery.serving.documents import json_schema, openapi
from cannery.serving.invocations import records_of_csv, records_of_json
from cannery.serving.messages import FORM, JSON, Request, Response, error_response, json_response
from cannery.serving.metrics import CONTENT_TYPE, Metrics
from cannery.serving.service import Health, Service

Handler = Callable[[Request], Response]
Routes = Mapping[str, Mapping[str, Handler]]
"""Path → method → handler."""

HEALTH_AGE = 1.0
"""Seconds for which an answer about the canary is given again: a storm of probes costs nothing."""


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
        self._clock = clock
        self._health: tuple[float, Health] | None = None

    def drain(self) -> None:
        """Answer from now on that no further requests should come."""
        self.draining = True

    def health(self) -> Health:
        """Return the canary's health, at most `HEALTH_AGE` old."""
        now = self._clock()
        if self._health is None or now - self._health[0] >= HEALTH_AGE:
            self._health = (now, self.service.check())
            self.metrics.canary = self._health[1].healthy
        return self._health[1]

    def predict(self, request: Request) -> Response:
        """Answer a record or an array of records."""
        if refused := _refuse_type(request, (JSON,)):
            return refused
        try:
            body, rows = self.service.answer(request.body)
        except MalformedError as error:
            return error_response(400, error.message)
        except SchemaError as error:
            return error_response(422, error.message, issues=error.issues)
        return Response(body=body, rows=rows)

    def invocations(self, request: Request) -> Response:
        """Answer in MLflow's protocol, where every bad input is a 400."""
        if refused := _refuse_type(request, (JSON, "text/csv")):
            return refused
        read = records_of_csv if request.content_type == "text/csv" else records_of_json
        try:
            records = read(request.body, self.service.manifest.signature)
            answers = self.service.predict(records)
        except SchemaError as error:
            return error_response(400, error.message, issues=error.issues)
        body = msgspec.json.encode({"predictions": answers})
        return Response(body=body, rows=len(answers))

    def healthy(self, _request: Request) -> Response:
        """Say whether the canary comes out right."""
        return _status(self.health(), "healthy", "unhealthy")

    def ready(self, _request: Request) -> Response:
        """Say whether requests should be sent here."""
        if self.draining:
            return _status(Health(healthy=False, reason="draining"), "ready", "not ready")
        return _status(self.health(), "ready", "not ready")

    def scrape(self, _request: Request) -> Response:
        """Return the metrics."""
        return Response(body=self.metrics.text(), content_type=CONTENT_TYPE)

    def front(self, _request: Request) -> Response:
        """Say what this is and where to go."""
        manifest = self.service.manifest
        return json_response(
            {
                "name": manifest.name,
                "version": manifest.version,
                "digest": self.service.digest,
                "predict": "POST /predict",
                "see": ["/health", "/version", "/schema", "/openapi.json", "/metrics"],
            }
        )


def routes_of(desk: Desk, aliases: Mapping[str, str]) -> Routes:
    """Return the route table; `aliases` are further paths for routes that exist."""
    service = desk.service
    schema = json_schema(service.manifest.signature, service.manifest.name)
    table: dict[str, dict[str, Handler]] = {
        "/predict": {"POST": desk.predict},
        "/invocations": {"POST": desk.invocations},
        "/health": _get(desk.healthy),
        "/healthz": _get(desk.healthy),
        "/ping": _get(desk.ready),
        "/readyz": _get(desk.ready),
        "/livez": _get(partial(_fixed, json_response({"status": "alive"}))),
        "/version": _get(partial(_fixed, json_response(service.version()))),
        "/schema": _get(partial(_fixed, json_response(schema))),
        "/openapi.json": _get(partial(_fixed, json_response(openapi(service)))),
        "/metrics": _get(desk.scrape),
        "/": _get(desk.front),
    }
    for path, route in aliases.items():
        table.setdefault(path, {}).update(table[route])
    return table


def _get(handler: Handler) -> dict[str, Handler]:
    return {"GET": handler, "HEAD": handler}


def _fixed(response: Response, _request: Request) -> Response:
    return response


def _status(health: Health, yes: str, no: str) -> Response:
    if health.healthy:
        return json_response({"status": yes})
    return json_response({"status": no, "reason": health.reason}, 503)


def _refuse_type(request: Request, taken: tuple[str, ...]) -> Response | None:
    """Return the 415 for a body of another type; none named means JSON."""
    named = request.content_type
    if named and named not in taken and not (named.endswith("+json") and JSON in taken):
        wanted = " or ".join(taken)
        remedy = " (curl does with --json)" if named == FORM else ""
        message = f"the content type '{named[:60]}' is not taken; send {wanted}{remedy}"
        return error_response(415, message)
    if request.charset not in ("", "utf-8", "utf8", "us-ascii"):
        return error_response(415, f"the charset '{request.charset[:60]}' is not taken; send utf-8")
    if request.encoding not in ("", "identity"):
        message = f"the content encoding '{request.encoding[:60]}' is not taken; send it as it is"
        return error_response(415, message)
    return None
