"""The short cut for small requests: what arrived in one turn of the loop is scored in one call.

It takes only what is plain: `POST /predict`, JSON, whole in the data that brought its head, nothing
before it on the connection. Everything else goes the way of the ASGI application, so that both give
the same bytes.
"""

from __future__ import annotations

from itertools import chain
from time import perf_counter
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from cannery.errors import ProofError, SchemaError
from cannery.serving.framing import is_host
from cannery.serving.http import Application, broken, request_of
from cannery.serving.messages import JSON, Response
from cannery.serving.operations import Operation
from cannery.serving.protocol import Protocol
from cannery.serving.schema import Typed, rows_of

PATH = "/predict"
LONGEST = 4 << 10
"""Bytes; a longer body is scored by itself."""
HEADS = 512
"""Different heads that are remembered."""
HEAD = 2 << 10
"""Bytes; a longer head is not remembered."""
SWEEP = 5.0
"""Seconds between two looks for connections that have been idle for too long."""

Head = dict[bytes, bytes]

_PATH = PATH.encode()
_TYPES = (None, JSON.encode())
_OK = 200
_LONG_WAY = frozenset((b"transfer-encoding", b"content-encoding", b"expect", b"upgrade", b"origin"))
"""Headers of which the application must decide."""
_UNIQUE = frozenset((b"x-request-id", b"traceparent"))
"""Headers that are another one in each request: their heads are not worth remembering."""


class Asked:
    """A request on the short cut; to uvicorn it is the cycle of a request and its response."""

    __slots__ = (
        "body",
        "disconnected",
        "headers",
        "keep_alive",
        "more_body",
        "protocol",
        "response_complete",
        "started",
        "typed",
    )

    def __init__(self, protocol: HotProtocol, headers: Head, body: bytes) -> None:
        self.protocol = protocol
        self.headers = headers
        self.body = body
        self.started = perf_counter()
        self.keep_alive = True
        self.more_body = True
        self.disconnected = False
        self.response_complete = False
        self.typed: Typed | None = None

    @property
    def message_event(self) -> Asked:
        """Stand for the event that uvicorn sets when a connection is lost."""
        return self

    def set(self) -> None:
        """Nobody waits."""


class HotProtocol(Protocol):
    """The protocol of a connection, with the short cut."""

    cycle: Any
    """uvicorn's `RequestResponseCycle`, or `Asked`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._turn: Turn | None = None
        self._within = False
        self.idle_since: float | None = None
        """When the last answer of the short cut was given, where nothing came since."""

    def data_received(self, data: bytes) -> None:
        """Read what came; a head that was read before, byte for byte, need not be read again."""
        self.idle_since = None
        turn = self._turn = Turn.of(self.app)
        cycle = self.cycle
        between = not self._within and (cycle is None or cycle.response_complete)
        if turn is None or not between:
            super().data_received(data)
        else:
            end = data.find(b"\r\n\r\n") + 4
            known = turn.heads.get(data[:end])
            if known is not None and known[1] == len(data) - end and not self._hindered():
                if self._late is not None:
                    self._come()
                if self.timeout_keep_alive_task is not None:
                    self._unset_keepalive_if_required()
                self.cycle = asked = Asked(self, known[0], data[end:])
                asked.more_body = False
                turn.add(asked)
                if self._leaving:
                    self._say_farewell()
                return
            super().data_received(data)
            if type(new := self.cycle) is Asked and new is not cycle and not new.more_body:
                turn.learn(data[:end], new, len(data) - end)
        self._finish_slow()
        if self._leaving:
            self._say_farewell()

    def on_message_begin(self) -> None:
        """Note what a head needs; the scope is made where a request goes the long way."""
        self._begun = self._within = True
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        """Choose the way."""
        cycle = self.cycle
        if (
            (turn := self._turn) is not None
            and self.url == _PATH
            and (cycle is None or cycle.response_complete)
            and self._plain(headers := dict(self.headers), turn)
        ):
            self._come()
            self.cycle = Asked(self, headers, b"")
        else:
            self._long_way()

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        cycle = self.cycle
        if type(cycle) is Asked:
            cycle.body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Hand the request to the turn."""
        self._within = False
        cycle = self.cycle
        if type(cycle) is Asked and self._turn is not None:
            cycle.more_body = False
            self._turn.add(cycle)
        else:
            super().on_message_complete()

    def _finish_slow(self) -> None:
        """Send a request whose body did not come with its head the long way: it knows how to wait."""
        cycle = self.cycle
        if type(cycle) is Asked and cycle.more_body and not self.transport.is_closing():
            self.cycle = None
            self._long_way()
            super().on_body(cycle.body)

    def _plain(self, headers: Head, turn: Turn) -> bool:
        """Whether a request to our path is one for the short cut."""
        length = headers.get(b"content-length", b"")
        return (
            self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
            and length.isdigit()
            and int(length[:20]) <= turn.longest
            and headers.get(b"content-type") in _TYPES
            and len(headers) == len(self.headers)
            and _LONG_WAY.isdisjoint(headers)
            and is_host(headers.get(b"host"))
            and turn.admits(headers)
            and not self._hindered()
        )

    def _hindered(self) -> bool:
        """Whether uvicorn would refuse the request, or make its answer wait."""
        limit = self.limit_concurrency or 0
        return self.flow.write_paused or len(self.connections) >= limit or len(self.tasks) >= limit

    def _long_way(self) -> None:
        """Let uvicorn make a scope and call the application."""
        url, headers, expect = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect
        self.headers.extend(headers)
        super().on_headers_complete()


class Turn:
    """The requests of one turn of the loop."""

    def __init__(self, app: Application, operation: Operation) -> None:
        self.heads: dict[bytes, tuple[Head, int]] = {}
        """Heads that were found plain, as they were sent → their headers, and the length of the body."""
        self.longest = min(LONGEST, app.budget.limit)
        self._app = app
        self._operation = operation
        self._asked: list[Asked] = []
        self._sweeping = False
        self._scoring = app.scoring
        self._schema = app.scoring.service.schema
        self._model = app.model
        self._dated: list[tuple[bytes, bytes]] | None = None
        self._prefix = b""
        plain = app.head(Response(body=b""), b"", {}, app.model)
        self._suffix = b"".join(b"%s: %s\r\n" % pair for pair in plain[3:]) + b"\r\n"

    @classmethod
    def of(cls, app: Any) -> Turn | None:
        """Return the turn that all connections of an application share; None where it has no short cut."""
        if (turn := getattr(app, "turn", None)) is not None:
            return turn  # type: ignore[no-any-return]
        if not isinstance(app, Application) or not app.scoring.quick:
            return None
        operation = app.routes.get(PATH, {}).get("POST")
        if not isinstance(operation, Operation):
            return None
        app.turn = cls(app, operation)
        return app.turn

    def add(self, asked: Asked) -> None:
        """Take a request whose body is here; its turn comes when all that arrived with it is read."""
        if not self._asked:
            asked.protocol.loop.call_soon(self._answer)
        self._app.desk.metrics.tally.in_flight += 1
        asked.typed = self._schema.typed(asked.body)
        self._asked.append(asked)

    def admits(self, headers: Head) -> bool:
        """Whether these may ask; who may not is told so by the application."""
        return self._app.gate.refuse(PATH, "POST", headers) is None

    def learn(self, head: bytes, asked: Asked, length: int) -> None:
        """Remember the head of a request that came whole and alone."""
        if length != len(asked.body) or len(head) > HEAD or not _UNIQUE.isdisjoint(asked.headers):
            return
        if len(self.heads) >= HEADS:
            self.heads.clear()
        self.heads[head] = (asked.headers, length)

    def _answer(self) -> None:
        asked, self._asked = self._asked, []
        plain = [one for one in asked if one.typed is not None]
        odd = [one for one in asked if one.typed is None]
        if plain and not self._together(plain):
            odd += plain
        for one in odd:
            self._alone(one)
        if not self._sweeping:
            self._sweeping = True
            asked[0].protocol.loop.call_later(SWEEP, self._sweep, asked[0].protocol)

    def _together(self, plain: list[Asked]) -> bool:
        """Answer these requests by one call of the model; return False where one of them fails."""
        rows = list(chain.from_iterable([one.typed[0] for one in plain]))  # type: ignore[index]
        try:
            batch = self._schema.packed(rows)
            if batch is None:
                return False
            answer = self._scoring.score(batch)
        except (SchemaError, ProofError):
            return False
        except Exception as error:
            response = broken(error)
            for one in plain:
                self._respond(one, response)
            return True
        self._write(plain, rows_of(answer))
        return True

    def _alone(self, one: Asked) -> None:
        """Answer a request that is not plain."""
        request = request_of(one.headers, one.body, "")
        try:
            response = self._scoring.respond_now(self._operation, request)
        except Exception as error:
            response = broken(error)
        self._respond(one, response)

    def _write(self, plain: list[Asked], records: list[Any]) -> None:
        """Write good answers behind heads that are mostly made already."""
        dated = plain[0].protocol.server_state.default_headers
        if dated is not self._dated:
            self._dated = dated
            lines = b"".join(b"%s: %s\r\n" % pair for pair in dated)
            self._prefix = STATUS_LINE[_OK] + lines + b"content-type: application/json\r\n"
        encode, identify, prefix = msgspec.json.encode, self._app.identity, self._prefix
        told = self._app.tells
        start = 0
        for one in plain:
            rows, single = one.typed  # type: ignore[misc]
            if single:
                body = encode(records[start])
                start += 1
            else:
                end = start + len(rows)
                body = encode(records[start:end])
                start = end
            identity = identify(one.headers.get(b"x-request-id"))
            data = b"%scontent-length: %d\r\nx-request-id: %s\r\n%s%s" % (
                prefix,
                len(body),
                identity,
                self._suffix if one.keep_alive else _closing(self._suffix),
                body,
            )
            self._send(one, data)
            if told:
                self._tell(one, _OK, identity)
        self._app.desk.metrics.tally.rows += len(records)
        self._count(plain, _OK)

    def _respond(self, one: Asked, response: Response) -> None:
        """Write any response."""
        identity = self._app.identity(one.headers.get(b"x-request-id"))
        lines = [
            STATUS_LINE[response.status],
            *(b"%s: %s\r\n" % pair for pair in one.protocol.server_state.default_headers),
            *(
                b"%s: %s\r\n" % pair
                for pair in self._app.head(response, identity, one.headers, self._model)
            ),
            b"\r\n" if one.keep_alive else _closing(b"\r\n"),
            response.body,
        ]
        self._send(one, b"".join(lines))
        if self._app.tells:
            self._tell(one, response.status, identity)
        self._app.desk.metrics.tally.rows += response.rows
        self._count([one], response.status)

    def _tell(self, one: Asked, status: int, identity: bytes) -> None:
        seconds = perf_counter() - one.started
        self._app.tell("POST", PATH, status, seconds, identity, one.headers)

    def _send(self, one: Asked, data: bytes) -> None:
        protocol = one.protocol
        transport = protocol.transport
        if not one.disconnected and not transport.is_closing():
            transport.write(data)
        one.response_complete = True
        if not one.keep_alive:
            transport.close()
        if protocol.pipeline:
            protocol.on_response_complete()
        else:  # as uvicorn does, but for a timer of its own for each answer
            protocol.server_state.total_requests += 1
            protocol.idle_since = one.started

    def _count(self, asked: list[Asked], status: int) -> None:
        metrics = self._app.desk.metrics
        now = perf_counter()
        metrics.tally.in_flight -= len(asked)
        metrics.observe_all("POST", PATH, status, [now - one.started for one in asked])

    def _sweep(self, protocol: HotProtocol) -> None:
        """Close connections that have been idle for too long, and look again while there are any."""
        latest = perf_counter() - protocol.timeout_keep_alive
        for other in list(protocol.connections):
            if isinstance(other, HotProtocol) and (since := other.idle_since) is not None:
                if since <= latest:
                    other.timeout_keep_alive_handler()
                protocol = other
        self._sweeping = bool(protocol.connections)
        if self._sweeping:
            protocol.loop.call_later(SWEEP, self._sweep, protocol)


def _closing(suffix: bytes) -> bytes:
    """Return the end of a head that also says that the connection ends."""
    return suffix[:-2] + b"connection: close\r\n\r\n"
