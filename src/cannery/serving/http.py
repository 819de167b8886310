"""The ASGI application: reads requests within their limits, finds the handler, writes responses.

Plain ASGI with one table of routes: a framework's import alone would cost a quarter of the time to
the first prediction.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cannery.errors import CanneryError
from cannery.serving.messages import Request, Response, error_response
from cannery.serving.routes import Desk, Handler, Routes

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

ASIDE = 32 << 10
"""Bytes; a longer body is scored in a thread, so that health answers meanwhile."""
PATIENCE = 60.0
"""Seconds in which a body must be here whole: callers who dawdle would take every connection."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}\Z")
_log = logging.getLogger(__name__)


class _TooLarge(Exception):  # noqa: N818 - a message between two functions, never seen outside
    """The body is over the limit."""


class _Gone(Exception):  # noqa: N818 - the same
    """The caller hung up before its body was here."""


class Application:
    """The service as an ASGI application."""

    def __init__(
        self, desk: Desk, routes: Routes, *, max_body: int, patience: float = PATIENCE
    ) -> None:
        """Take the route table and the limits of a body, in bytes and in seconds."""
        self.desk = desk
        self._patience = patience
        self._routes = routes
        self._max_body = max_body
        self._aside = ThreadPoolExecutor(max_workers=2, thread_name_prefix="score")
        manifest = desk.service.manifest
        self._headers = (
            (b"x-model-version", _header(manifest.version)),
            (b"x-model-digest", _header(desk.service.digest)),
        )

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        headers = dict(scope["headers"])
        metrics = self.desk.metrics
        metrics.in_flight += 1
        route, status = "other", 499
        try:
            route, response = await self._respond(scope, headers, receive)
            status = response.status
            identity = _identity(headers.get(b"x-request-id"))
            await self._send(response, identity, send)
            metrics.rows += response.rows
        except _Gone:
            pass
        finally:
            seconds = time.perf_counter() - started
            metrics.in_flight -= 1
            method = scope["method"] if route != "other" else "other"
            metrics.observe(method, route, status, seconds)
            _log.debug("%s %s %d %.1f ms", scope["method"], route, status, seconds * 1000)

    async def _respond(
        self, scope: MutableMapping[str, Any], headers: dict[bytes, bytes], receive: Receive
    ) -> tuple[str, Response]:
        """Return the route (`other` where there is none) and the response."""
        path: str = scope["path"]
        methods = self._routes.get(path)
        if methods is None:
            known = ", ".join(sorted(self._routes))
            return "other", error_response(404, f"no such path here; there is: {known}")
        handler = methods.get(scope["method"])
        if handler is None:
            allow = ", ".join(sorted(methods))
            refusal = error_response(
                405, f"this path takes {allow} alone", headers=(("allow", allow),)
            )
            return path, refusal
        try:
            async with asyncio.timeout(self._patience):
                body = await _body(headers, receive, self._max_body)
        except _TooLarge:
            message = (
                f"the body is longer than {self._max_body} bytes; send fewer records at a time"
            )
            return path, error_response(413, message, headers=(("connection", "close"),))
        except TimeoutError:
            message = f"the body was not here within {self._patience:g} s"
            return path, error_response(408, message, headers=(("connection", "close"),))
        return path, await self._handle(handler, _request(headers, body))

    async def _handle(self, handler: Handler, request: Request) -> Response:
        """Call the handler, large bodies in a thread; what it raises becomes a 500 without the payload."""
        try:
            if len(request.body) > ASIDE:
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._aside, handler, request)
            return handler(request)
        except CanneryError as error:
            _log.error("request failed: %s", error.message)
            return error_response(500, error.message)
        except Exception as error:
            # Neither the message nor the values are logged: they may hold what the caller sent.
            frames = "".join(traceback.format_tb(error.__traceback__)[-4:])
            _log.error("request failed: %s\n%s", type(error).__name__, frames)
            return error_response(500, "the service failed on this request")

    def close(self) -> None:
        """Wait for no thread any more: what has not been answered by now never will be."""
        self._aside.shutdown(wait=False, cancel_futures=True)

    async def _send(self, response: Response, identity: bytes, send: Send) -> None:
        headers = [
            (b"content-type", response.content_type.encode()),
            (b"content-length", str(len(response.body)).encode()),
            (b"x-request-id", identity),
            *self._headers,
            *((name.encode(), value.encode()) for name, value in response.headers),
        ]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})


async def _body(headers: dict[bytes, bytes], receive: Receive, limit: int) -> bytes:
    """Return the whole body; raises _TooLarge as soon as it is known to be, _Gone when it never ends."""
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length[:20]) > limit:
        raise _TooLarge
    parts = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _Gone
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _TooLarge
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _request(headers: dict[bytes, bytes], body: bytes) -> Request:
    named = headers.get(b"content-type", b"").decode("latin-1").lower()
    kind, _, parameters = named.partition(";")
    charset = parameters.partition("charset=")[2].partition(";")[0]
    return Request(
        content_type=kind.strip(),
        charset=charset.strip().strip('"'),
        encoding=headers.get(b"content-encoding", b"").decode("latin-1").strip().lower(),
        body=body,
    )


def _identity(given: bytes | None) -> bytes:
    """Return the caller's request id where it is one, else a new one."""
    if given is not None and _REQUEST_ID.match(given):
        return given
    return secrets.token_hex(16).encode()


def _header(value: str) -> bytes:
    """Return text as a header can hold it."""
    return "".join(c if " " <= c <= "~" else "?" for c in value).encode()
