"""A span for each request, sent in batches by OTLP over HTTP from a thread: nobody waits for it.

https://opentelemetry.io/docs/specs/otlp/ and the messages in opentelemetry-proto; there are few
enough that they are written here, since the SDK and what it needs is larger than the service.
"""

from __future__ import annotations

import logging
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import getrandbits, random

from cannery.errors import CanneryError
from cannery.serving.telemetry import Telemetry
from cannery.serving.wire import message, number

WAITING = 2048
"""Spans that may wait; further ones are dropped and counted."""
PAUSE = 1.0
"""Seconds between two batches. With the number that may wait it bounds the work: some 20 ms a second."""
_SERVER, _ERROR = 2, 2
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Span:
    """One request."""

    trace: bytes
    parent: bytes
    """b'' where the trace begins here."""
    name: str
    start: int
    """Nanoseconds since 1970."""
    end: int
    attributes: Mapping[str, str | int]
    failed: bool


class Spans:
    """Takes spans and sends them."""

    def __init__(
        self,
        telemetry: Telemetry,
        about: Callable[[], Mapping[str, str]],
        counts: Callable[[], dict[str, int]],
    ) -> None:
        """Take where to, what to say of the service at the time of sending, and where to count."""
        self._telemetry = telemetry
        self._about = about
        self._counts = counts
        self._waiting: deque[Span] = deque()
        self._leaving = threading.Event()
        self._works = True
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def add(
        self,
        method: str,
        route: str,
        status: int,
        seconds: float,
        parent: bytes | None,
        request: str,
    ) -> str | None:
        """Take a request that has just ended; return its trace's id, or None where it is not sampled.

        `parent` is a valid `traceparent`.
        """
        trace, caller, flags = parent.decode().split("-")[1:] if parent else ("", "", "")
        if parent and self._telemetry.obeys:
            sampled = bool(int(flags, 16) & 1)
        else:
            sampled = self._telemetry.ratio >= 1 or random() < self._telemetry.ratio
        if not sampled:
            return None
        trace = trace or _identity(16).hex()
        if len(self._waiting) >= WAITING:
            self._count("dropped", 1)
            return trace
        end = time.time_ns()
        attributes: dict[str, str | int] = {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
            "cannery.request_id": request,
        }
        if failed := status >= 500:
            attributes["error.type"] = str(status)
        ids = bytes.fromhex(trace), bytes.fromhex(caller)
        start = end - int(seconds * 1e9)
        self._waiting.append(Span(*ids, f"{method} {route}", start, end, attributes, failed))
        return trace

    def close(self) -> None:
        """Send what waits, for at most two seconds."""
        self._leaving.set()
        self._thread.join(2.0)

    def _run(self) -> None:
        from cannery.serving.web import Web  # it loads the certificates of this machine

        web = None
        while not self._leaving.wait(PAUSE) or self._waiting:
            batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
            if not batch:
                continue
            try:
                web = web or Web()
                attributes = {**self._about(), **self._telemetry.attributes}
                headers = {"Content-Type": "application/x-protobuf", **self._telemetry.headers}
                web.post(self._telemetry.url, headers, encode(batch, attributes))
            except CanneryError as error:
                self._count("dropped", len(batch))
                if self._works:
                    _log.warning("spans are dropped: %s", error.message)
                self._works = False
            else:
                self._count("sent", len(batch))
                if not self._works:
                    _log.info("spans are sent again")
                self._works = True

    def _count(self, result: str, number: int) -> None:
        counts = self._counts()
        counts[result] = counts.get(result, 0) + number


def encode(spans: Iterable[Span], attributes: Mapping[str, str]) -> bytes:
    """Return an ExportTraceServiceRequest."""
    resource = b"".join(message(1, _pair(k, v)) for k, v in sorted(attributes.items()))
    scope = message(1, _text(1, "cannery.serving"))
    inner = b"".join(message(2, _span(span)) for span in spans)
    return message(1, message(1, resource) + message(2, scope + inner))


def _span(span: Span) -> bytes:
    return b"".join(
        (
            message(1, span.trace),
            message(2, _identity(8)),
            message(4, span.parent) if span.parent else b"",
            _text(5, span.name),
            number(6, _SERVER),
            b"\x39" + struct.pack("<Q", span.start),  # field 7, fixed64
            b"\x41" + struct.pack("<Q", span.end),  # field 8
            *(message(9, _pair(k, v)) for k, v in span.attributes.items()),
            message(15, number(3, _ERROR)) if span.failed else b"",
        )
    )


def _pair(key: str, value: str | int) -> bytes:
    inner = number(3, value) if isinstance(value, int) else _text(1, value)
    return _text(1, key) + message(2, inner)


def _identity(size: int) -> bytes:
    """Return random bytes that are not all zero, which the protocol forbids."""
    return (getrandbits(8 * size) or 1).to_bytes(size, "big")


def _text(field: int, value: str) -> bytes:
    return message(field, value.encode())
