"""Spans: one for each request, in OpenTelemetry's own messages, and nobody waits for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from churn_cans import RECORD, MakeCan, running
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Told

from cannery.engines.asking import free_port
from cannery.errors import UsageError
from cannery.serving.settings import settings_of

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector:
    """What arrived, read by OpenTelemetry's own classes."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[ExportTraceServiceRequest] = []
        self.tokens: set[str | None] = set()

    @property
    def spans(self) -> list[Told]:
        """Return every span."""
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a receiver of OTLP over HTTP."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            assert self.headers["content-type"] == "application/x-protobuf"
            data = self.rfile.read(int(self.headers["content-length"]))
            collector.requests.append(ExportTraceServiceRequest.FromString(data))
            collector.tokens.add(self.headers["x-token"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def attributes(pairs: object) -> dict[str, object]:
    """Return attributes as plain values."""
    return {p.key: getattr(p.value, p.value.WhichOneof("value")) for p in pairs}  # type: ignore[attr-defined]


def test_each_request_is_a_span_of_its_callers_trace(make_can: MakeCan) -> None:
    """On the short cut and on the long way; a new trace where there is none, none where it is not sampled."""
    with collecting() as collector:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
            "OTEL_EXPORTER_OTLP_HEADERS": "x-token=a%20secret",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test",
        }
        with running(make_can().folder, **variables) as service:
            for path in ("/predict", "/invocations"):
                for flag in ("01", "00"):
                    trace = {"traceparent": f"00-{TRACE}-{PARENT}-{flag}", "x-request-id": "seven"}
                    httpx.post(service.url + path, json=RECORD, headers=trace)
            httpx.post(service.url + "/predict", json={})
            service.process.terminate()
            status, complaint = service.end()
    assert status == 0, complaint
    own = [span for span in collector.spans if span.trace_id.hex() == TRACE]
    assert [span.name for span in own] == ["POST /predict", "POST /invocations"]
    assert {span.parent_span_id.hex() for span in own} == {PARENT}
    assert all(span.kind == Told.SPAN_KIND_SERVER for span in own)
    assert 0 <= own[0].end_time_unix_nano - own[0].start_time_unix_nano < 10**10
    assert abs(own[0].end_time_unix_nano / 1e9 - time.time()) < 60
    assert attributes(own[0].attributes) == {
        "http.request.method": "POST",
        "http.route": "/predict",
        "http.response.status_code": 200,
        "cannery.request_id": "seven",
    }
    (refused,) = (s for s in collector.spans if 422 in attributes(s.attributes).values())
    assert len(refused.trace_id) == 16
    assert not refused.parent_span_id
    resource = attributes(collector.requests[0].resource_spans[0].resource.attributes)
    assert resource["service.name"] == "churn"
    assert resource["deployment.environment"] == "test"
    assert collector.tokens == {"a secret"}


def test_a_dead_collector_costs_spans_and_nothing_else(make_can: MakeCan) -> None:
    """Requests are answered, the end is not held up, and the loss is counted and told once."""
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    with running(make_can().folder, **variables) as service:
        for _ in range(3):
            assert httpx.post(service.url + "/predict", json=RECORD).status_code == 200
            time.sleep(1.1)
        metrics = httpx.get(service.url + "/metrics").text
        service.process.terminate()
        status, complaint = service.end()
    assert status == 0
    assert 'cannery_spans_total{result="dropped"}' in metrics
    assert complaint.count("spans are dropped") == 1


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "not an address"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "spans are sent by HTTP"),
        ({"OTEL_TRACES_SAMPLER": "sometimes"}, "OTEL_TRACES_SAMPLER is 'sometimes'"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "secret"}, "without '='"),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"},
            "a number from 0 to 1",
        ),
    ],
)
def test_settings_that_can_not_be_meant_are_refused(variables: dict[str, str], words: str) -> None:
    """Before the service listens; a secret is not told."""
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", **variables}
    with pytest.raises(UsageError) as refusal:
        settings_of(env)
    assert words in refusal.value.message
    assert "secret" not in refusal.value.message


def test_the_standards_switches_turn_it_off() -> None:
    """As in every service that follows them."""
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318/"}
    telemetry = settings_of(env).telemetry
    assert telemetry is not None
    assert telemetry.url == "http://127.0.0.1:4318/v1/traces"
    for switch in ({"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}):
        assert settings_of({**env, **switch}).telemetry is None
