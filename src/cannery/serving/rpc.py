"""The calls under gRPC's own server, in the loop of the service and within its limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from functools import partial
from time import perf_counter
from typing import Any

import grpc
import msgspec

from cannery.errors import MalformedError, UsageError
from cannery.serving.bodies import Crowded, Held
from cannery.serving.calls import CALLS, HEALTH_SERVICE, NOT_SERVING, SERVING, Call, is_ready
from cannery.serving.http import PATIENCE, Application, broken
from cannery.serving.messages import Response, error_response
from cannery.serving.protobufs import write
from cannery.serving.settings import Settings

AT_ONCE = 100
"""Calls that are answered at once; one more is refused, so that the memory of their messages is bounded."""
WATCHERS = 20
"""Of them may watch the health: they need no token and stay, and others are to have room."""
SOON = 5.0
"""Seconds for the message of a call that needs no token, for the same reason."""
LOOK = 1.0
"""Seconds between two looks of who watches the health."""

_CODES = {
    200: grpc.StatusCode.OK,
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_SHOWN = 4 << 10
"""Characters of a refusal: it travels in a header."""


class Remote:
    """gRPC's server beside the one for HTTP."""

    def __init__(self, app: Application, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._server: grpc.aio.Server | None = None
        self._watchers = 0

    async def start(self) -> None:
        """Listen; raises UsageError when the address can't be had."""
        options = (
            ("grpc.max_receive_message_length", self._settings.max_body),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_concurrent_streams", AT_ONCE),
            ("grpc.so_reuseport", 1),  # the parent holds the port, and workers share it
        )
        server = grpc.aio.server(options=options, maximum_concurrent_rpcs=AT_ONCE)
        server.add_generic_rpc_handlers(tuple(self._handlers()))
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        place = f"{host}:{self._settings.grpc_port}"
        try:
            if self._settings.tls is None:
                server.add_insecure_port(place)
            else:
                certificate, key = (path.read_bytes() for path in self._settings.tls)
                pair = grpc.ssl_server_credentials([(key, certificate)])
                server.add_secure_port(place, pair)
        except RuntimeError as error:
            raise UsageError(f"can't listen on {place}: {error}") from error
        await server.start()
        self._server = server

    async def stop(self, grace: float) -> None:
        """Take no further calls, and wait so many seconds for those in flight."""
        if self._server is not None:
            await self._server.stop(grace)

    def _handlers(self) -> list[Any]:
        """Return the methods; their messages stay bytes here."""
        found = []
        for service, calls in CALLS.items():
            methods = {
                # Of streams the handler is called before the message is here, and need not wait forever.
                name: grpc.stream_unary_rpc_method_handler(
                    partial(self._answer, f"/{service}/{name}", call)
                )
                for name, call in calls.items()
            }
            if service == HEALTH_SERVICE:
                methods["Watch"] = grpc.unary_stream_rpc_method_handler(self._watch)
            found.append(grpc.method_handlers_generic_handler(service, methods))
        return found

    async def _answer(self, path: str, call: Call, _messages: Any, context: Any) -> bytes:
        """Answer one call, and count it as a request."""
        app, started = self._app, perf_counter()
        headers = _headers(context)
        identity = app.identity(headers.get(b"x-request-id"))
        metrics = app.desk.metrics
        metrics.tally.in_flight += 1
        model, status = app.model, 499
        try:
            response = await self._respond(path, call, context, headers)
            status = response.status
            metrics.tally.rows += response.rows
        finally:
            seconds = perf_counter() - started
            metrics.tally.in_flight -= 1
            metrics.observe("POST", path, status, seconds)
            if app.tells:
                app.tell("POST", path, status, seconds, identity, headers)
        trailer = [("x-request-id", identity), *((name.decode(), value) for name, value in model)]
        context.set_trailing_metadata(tuple((name, value.decode()) for name, value in trailer))
        if status != 200:
            code = _CODES.get(status, grpc.StatusCode.INTERNAL)
            await context.abort(code, _told(response))
        return response.body

    async def _respond(
        self, path: str, call: Call, context: Any, headers: Mapping[bytes, bytes]
    ) -> Response:
        """Read the message and answer it, or refuse."""
        if not call.open and (refused := self._app.gate.refuse(path, "POST", headers)):
            return refused
        try:
            async with self._app.desk.patience.within(SOON if call.open else PATIENCE):
                data = await context.read()
        except TimeoutError:
            return error_response(408, "the message was not here in time")
        if data is grpc.aio.EOF:
            return error_response(400, "there is no message")
        try:
            with Held(self._app.budget) as held:
                held.grow(len(data))
                return await call.act(self._app, data)
        except MalformedError as error:
            return error_response(400, error.message)
        except Crowded:
            return error_response(503, "other messages take all the memory")
        except Exception as error:
            return broken(error)

    async def _watch(self, _data: bytes, context: Any) -> AsyncIterator[bytes]:
        """Tell the health, and each change of it, until the service leaves."""
        if self._watchers >= WATCHERS:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"{WATCHERS} watch the health already"
            )
        self._watchers += 1
        told = None
        try:
            while told != NOT_SERVING or not self._app.desk.draining:
                state = SERVING if await is_ready(self._app) else NOT_SERVING
                if state != told:
                    yield write("HealthCheckResponse", status=state)
                    told = state
                    continue
                await asyncio.sleep(LOOK)
        finally:
            self._watchers -= 1


def _headers(context: Any) -> dict[bytes, bytes]:
    """Return the metadata of a call as headers."""
    return {
        name.encode(): value.encode() if isinstance(value, str) else value
        for name, value in context.invocation_metadata() or ()
    }


def _told(response: Response) -> str:
    """Return a refusal as the one text that gRPC has for it: every issue, else the message."""
    error = msgspec.json.decode(response.body)["error"]
    issues = [f"{i['path']}: expected {i['expected']}, got {i['got']}" for i in error["issues"]]
    return ("; ".join(issues) or error["message"])[:_SHOWN]
