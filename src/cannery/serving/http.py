"""The ASGI application: reads requests within their limits, finds the handler, writes responses.

Plain ASGI with one table of routes: a framework's import alone would cost a quarter of the time to
the first prediction.
"""

from __future__ import annotations

import logging
import re
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import replace
from itertools import count
from secrets import randbits
from typing import TYPE_CHECKING, Any

from cannery.errors import CanneryError, SchemaError
from cannery.serving.bodies import Budget, Crowded, Gone, Held, Message, Receive, TooLarge, unpacked
from cannery.serving.framing import misframed
from cannery.serving.gates import Gate
from cannery.serving.messages import CLOSE, Headers, Request, Response, error_response
from cannery.serving.operations import Operation
from cannery.serving.routes import SEE, Check, Desk, Handler, Routes
from cannery.serving.scoring import Scoring

if TYPE_CHECKING:
    from cannery.serving.hot import Turn
    from cannery.serving.spans import Spans

Send = Callable[[Message], Awaitable[None]]

ModelHeaders = tuple[tuple[bytes, bytes], ...]
"""Which model answered, as headers."""

KSERVE = ("/v1/", "/v2/")
"""Below these, an error is a text."""
PATIENCE = 60.0
"""Seconds in which a body must be here whole: callers who dawdle would take every connection."""
SOON: Headers = (("retry-after", "1"), *CLOSE)

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}\Z")
_TRACE = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z"
)
_log = logging.getLogger(__name__)
_access = logging.getLogger("cannery.access")


class Application:
    """The service as an ASGI application."""

    def __init__(
        self,
        desk: Desk,
        routes: Routes,
        scoring: Scoring,
        *,
        max_body: int,
        gate: Gate | None = None,
        patience: float = PATIENCE,
    ) -> None:
        """Take the route table, who scores, and the limits of a body, in bytes and in seconds."""
        self.desk = desk
        self.gate = gate or Gate()
        self.spans: Spans | None = None
        self._patience = patience
        self.budget = Budget(max_body)
        """The memory that all bodies may take together."""
        self._numbers = count(randbits(120))
        self.adopt(routes, scoring)

    def adopt(self, routes: Routes, scoring: Scoring) -> None:
        """Answer by these from the next request on; what is in flight ends with what it began."""
        self.routes = routes
        self.scoring = scoring
        self.desk.hindrance = lambda: scoring.hindrance
        self.turn: Turn | None = None
        service = scoring.service
        self.model: ModelHeaders = (
            (b"x-model-version", _header(service.manifest.version)),
            (b"x-model-digest", _header(service.digest)),
        )

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        headers = dict(scope["headers"])
        metrics = self.desk.metrics
        metrics.tally.in_flight += 1
        route, status = "other", 499
        model = self.model
        identity = self.identity(headers.get(b"x-request-id"))
        try:
            route, response = await self._respond(scope, headers, receive)
            status = response.status
            head = self.head(response, identity, headers, model)
            await self._send(head, response.body, status, send)
            metrics.tally.rows += response.rows
        except Gone:
            pass
        finally:
            seconds = time.perf_counter() - started
            metrics.tally.in_flight -= 1
            method = scope["method"] if route != "other" else "other"
            metrics.observe(method, route, status, seconds)
            if self.tells:
                self.tell(method, route, status, seconds, identity, headers)

    @property
    def tells(self) -> bool:
        """Whether somebody is to hear of each request."""
        return self.spans is not None or _access.isEnabledFor(logging.INFO)

    def identity(self, given: bytes | None) -> bytes:
        """Return the caller's request id where it is one, else a new one."""
        if given is not None and _REQUEST_ID.match(given):
            return given
        return b"%032x" % next(self._numbers)

    def head(
        self,
        response: Response,
        identity: bytes,
        headers: Mapping[bytes, bytes],
        model: ModelHeaders,
    ) -> list[tuple[bytes, bytes]]:
        """Return the headers of a response to a request with these `headers`, by this model."""
        length = [(b"content-length", b"%d" % len(response.body))] if response.status != 204 else []
        return [
            (b"content-type", response.content_type.encode()),
            *length,
            (b"x-request-id", identity),
            *model,
            *((name.encode(), value.encode()) for name, value in response.headers),
            *((name.encode(), value.encode()) for name, value in self.gate.shared(headers)),
        ]

    def tell(
        self,
        method: str,
        route: str,
        status: int,
        seconds: float,
        identity: bytes,
        headers: Mapping[bytes, bytes],
    ) -> None:
        """Log and trace a request: its route, never what a caller made up; its ids, nothing of its body."""
        parent = _TRACE.match(headers.get(b"traceparent", b""))
        trace = parent[1].decode() if parent else None
        if self.spans is not None:
            given = parent[0] if parent else None
            trace = (
                self.spans.add(method, route, status, seconds, given, identity.decode()) or trace
            )
        _access.info(
            "%s %s %d %.1f ms",
            method,
            route,
            status,
            seconds * 1000,
            extra={
                "request_id": identity.decode(),
                **({"trace_id": trace} if trace else {}),
            },
        )

    async def _respond(
        self, scope: MutableMapping[str, Any], headers: dict[bytes, bytes], receive: Receive
    ) -> tuple[str, Response]:
        """Return the route (`other` where there is none) and the response."""
        path: str = scope["path"]
        method: str = scope["method"]
        methods, scoring = self.routes.get(path), self.scoring
        route = path if methods else "other"
        if refused := misframed(scope.get("http_version", "1.1"), scope["headers"]):
            return route, refused
        if refused := self.gate.refuse(path, method, headers):
            return route, refused
        if methods is None:
            message = f"no such path here; see {', '.join(('/', *SEE))}"
            return "other", error_response(404, message, plain=path.startswith(KSERVE))
        handler = methods.get(method)
        if handler is None:
            allow = ", ".join(sorted(methods))
            message = f"this path takes {allow} alone"
            return path, error_response(405, message, headers=(("allow", allow),))
        with Held(self.budget) as held:
            try:
                body = await held.read(headers, receive, self.desk.patience, self._patience)
                query = scope.get("query_string", b"").decode("latin-1")
                request = request_of(headers, body, query)
                return path, await self._handle(handler, request, scoring, held)
            except TooLarge:
                limit = self.budget.limit
                message = f"the body is longer than {limit} bytes; send fewer records at a time"
                return path, error_response(413, message, headers=CLOSE)
            except Crowded:
                message = "the bodies of other requests take all the memory that there is for them"
                return path, error_response(503, message, headers=SOON)
            except TimeoutError:
                if self.desk.patience.ended:
                    message = "the service ends, and the body was not here"
                    return path, error_response(503, message, headers=SOON)
                message = f"the body was not here within {self._patience:g} s"
                return path, error_response(408, message, headers=CLOSE)

    async def _handle(
        self, handler: Handler, request: Request, scoring: Scoring, held: Held
    ) -> Response:
        """Call the handler; what it raises becomes a 500 without the payload."""
        try:
            if isinstance(handler, Check):
                if scoring.quick or scoring.hindrance:
                    return handler.act(request)
                return await scoring.aside(handler.act, request)
            if not isinstance(handler, Operation):
                return handler(request)
            if refused := handler.refuse_type(request):
                return refused
            if request.encoding == "gzip":
                try:
                    body = await scoring.aside(unpacked, request.body, self.budget.limit)
                except SchemaError as error:
                    return handler.refuse(error)
                held.grow(len(body))
                request = replace(request, body=body)
            return await scoring.respond(handler, request)
        except (TooLarge, Crowded):
            raise
        except Exception as error:
            return broken(error)

    async def _send(
        self, head: list[tuple[bytes, bytes]], body: bytes, status: int, send: Send
    ) -> None:
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": body})


def broken(error: Exception) -> Response:
    """Return the answer to a request on which we failed, and log where."""
    if isinstance(error, CanneryError):
        _log.error("request failed: %s", error.message)
        return error_response(500, error.message)
    # Neither the message nor the values are logged: they may hold what the caller sent.
    frames = "".join(traceback.format_tb(error.__traceback__)[-4:])
    _log.error("request failed: %s\n%s", type(error).__name__, frames)
    return error_response(500, "the service failed on this request")


def request_of(headers: Mapping[bytes, bytes], body: bytes, query: str) -> Request:
    """Return a request whose body has arrived."""
    named = headers.get(b"content-type", b"").decode("latin-1").lower()
    kind, _, parameters = named.partition(";")
    charset = parameters.partition("charset=")[2].partition(";")[0]
    return Request(
        content_type=kind.strip(),
        charset=charset.strip().strip('"'),
        encoding=headers.get(b"content-encoding", b"").decode("latin-1").strip().lower(),
        body=body,
        query=query,
        headers=headers,
    )


def _header(value: str) -> bytes:
    """Return text as a header can hold it."""
    return "".join(c if " " <= c <= "~" else "?" for c in value).encode()
