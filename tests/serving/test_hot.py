"""The short cut for small requests gives the same bytes as the ASGI application, whatever comes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from churn_cans import RECORD, RECORDS, MakeCan, expected, make_graph
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState
from wires import Seen, Sent, configured, mangled, talk

from cannery.cans.open import open_can
from cannery.serving.gates import Gate
from cannery.serving.hot import HotProtocol
from cannery.serving.http import Application
from cannery.serving.protocol import Protocol
from cannery.serving.server import application
from cannery.serving.service import load, open_service
from cannery.serving.settings import Settings

Talk = tuple[bytes, ...]
MakeApp = Callable[[], Application]


def request(body: bytes, *lines: bytes, start: bytes = b"POST /predict HTTP/1.1") -> bytes:
    """Return a request with its length, an id, and further lines of the head."""
    length = b"Content-Length: %d" % len(body)
    head = (start, b"Host: here", b"X-Request-ID: one", length, *lines)
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def said(app: Application, kind: type[Protocol], *pieces: bytes) -> bytes:
    """Return what a server of this protocol answers to these pieces, sent one after the other."""

    async def answered() -> bytes:
        config = configured(app, kind)
        state = ServerState()
        make = partial(kind, config=config, server_state=state, app_state={})
        loop = asyncio.get_running_loop()
        async with await loop.create_server(make, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for piece in pieces:
                writer.write(piece)
                with contextlib.suppress(ConnectionError):  # it has hung up already
                    await writer.drain()
                await asyncio.sleep(0.005 if len(pieces) > 1 else 0)
            answer = b""
            quiet = patience = 0
            while quiet < 2 and patience < 20:  # what is never whole is never answered
                try:
                    block = await asyncio.wait_for(reader.read(1 << 16), 0.02)
                except (ConnectionError, TimeoutError):
                    busy = any(unanswered(connection) for connection in state.connections)
                    quiet, patience = (0, patience + 1) if busy else (quiet + 1, patience)
                    continue
                if not block:
                    break
                answer += block
                quiet = 0
            writer.close()
            while state.connections or state.tasks:
                await asyncio.sleep(0.001)
            return re.sub(rb"date: [^\r]*\r\n", b"", answer)

    return asyncio.run(answered())


def unanswered(connection: Any) -> bool:
    """Whether a request on a connection still waits for its answer."""
    return connection.cycle is not None and not connection.cycle.response_complete


class Counted(Application):
    """An application that counts the requests which come the long way."""

    calls = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Count, and answer."""
        self.calls += 1
        await super().__call__(scope, receive, send)


@pytest.fixture
def counted(app: Application) -> Counted:
    """Return a healthy application that counts."""
    return Counted(app.desk, app.routes, app.scoring, max_body=1 << 20)


def both(app: Application, *pieces: bytes) -> bytes:
    """Return what both ways answer; they must be equal."""
    short = said(app, HotProtocol, *pieces)
    assert short == said(app, Protocol, *pieces)
    return short


GOOD = json.dumps(RECORD).encode()
LIST = json.dumps(RECORDS).encode()
JSON = b"Content-Type: application/json"

TALKS: dict[str, Talk] = {
    "a record": (request(GOOD, JSON),),
    "no content type": (request(GOOD),),
    "a list": (request(LIST, JSON),),
    "an empty list": (request(b"[]"),),
    "spaces": (request(b"  " + GOOD + b"\n"),),
    "an escape": (request(GOOD.replace(b"month", b"m\\u006fnth", 1)),),
    "another type": (request(GOOD, b"Content-Type: text/plain"),),
    "a charset": (request(GOOD, JSON + b"; charset=utf-8"),),
    "a form": (request(GOOD, b"Content-Type: application/x-www-form-urlencoded"),),
    "close": (request(GOOD, b"Connection: close"),),
    "HTTP/1.0": (request(GOOD, start=b"POST /predict HTTP/1.0"),),
    "a query": (request(GOOD, start=b"POST /predict?outputs=label HTTP/1.1"),),
    "another method": (request(GOOD, start=b"PUT /predict HTTP/1.1"),),
    "another path": (request(GOOD, start=b"POST /predicts HTTP/1.1"),),
    "an origin": (request(GOOD, b"Origin: https://shop.example"),),
    "expect": (request(GOOD, b"Expect: 100-continue"),),
    "two lengths": (request(GOOD, b"Content-Length: 3"),),
    "two ids": (request(GOOD, b"X-Request-ID: two"),),
    "no id that we take": (request(GOOD, b"X-Request-ID: one").replace(b": one", b": a b", 1),),
    "chunked": (
        b"POST /predict HTTP/1.1\r\nHost: a\r\nX-Request-ID: c\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"%x\r\n%s\r\n0\r\n\r\n" % (len(GOOD), GOOD),
    ),
    "no JSON": (request(b"{"),),
    "no UTF-8": (request(b'{"tenure": "\xff"}'),),
    "nothing": (request(b""),),
    "a wrong record": (request(b'{"tenure": "2", "color": 1}'),),
    "a number": (request(b"7"),),
    "nested deep": (request(b"[" * 3000),),
    "a field nested deep": (request(GOOD.replace(b"89.1", b"[" * 2000)),),
    "a key twice": (request(GOOD[:-1] + b', "tenure": 3}'),),
    "too large a number": (request(GOOD.replace(b"89.1", b"1e999")),),
    "a long body": (request(b"[" + b",".join([GOOD] * 900) + b"]"),),
    "a long wrong body": (request(b"[" + b",".join([GOOD] * 900) + b",7]"),),
    "pipelined": (request(GOOD) + request(LIST) + request(b"{") + request(GOOD),),
    "pipelined with others": (
        request(GOOD)
        + request(b"", start=b"GET /livez HTTP/1.1")
        + request(LIST, b"Connection: close")
        + request(GOOD),
    ),
    "kept": (request(GOOD), request(LIST), request(b"{"), request(GOOD)),
    "no HTTP": (b"HELLO\r\n\r\n",),
    "a bad header": (request(GOOD, b"bad header"),),
    "good, then no HTTP": (request(GOOD) + b"HELLO\r\n\r\n",),
}


def bare(*lines: bytes, body: bytes = GOOD) -> bytes:
    """Return a request with these lines about its body, and a second one behind it."""
    head = (b"POST /predict HTTP/1.1", b"Host: here", b"X-Request-ID: one", *lines)
    return b"\r\n".join(head) + b"\r\n\r\n" + body + request(GOOD)


LENGTH = b"Content-Length: %d" % len(GOOD)
CHUNKED = b"Transfer-Encoding: chunked"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(GOOD), GOOD)

SMUGGLED: dict[str, bytes] = {
    "chunks and a length": bare(CHUNKED, LENGTH, body=CHUNKS),
    "a length and chunks": bare(LENGTH, CHUNKED, body=CHUNKS),
    "the same length twice": bare(LENGTH, LENGTH),
    "a list of lengths": bare(LENGTH + b", %d" % len(GOOD)),
    "a negative length": bare(b"Content-Length: -1"),
    "a length with a sign": bare(LENGTH.replace(b": ", b": +")),
    "a length without end": bare(b"Content-Length: " + b"9" * 30),
    "a folded line": bare(LENGTH, b"X: a\r\n b"),
    "a blank before the colon": bare(LENGTH.replace(b":", b" :")),
    "line feeds alone": bare(LENGTH, b"X: a\nY: b"),
    "a return alone": bare(LENGTH, b"X: a\rY: b"),
    "a zero": bare(LENGTH, b"X: a\0b"),
    "chunks of another name": bare(b"Transfer-Encoding: xchunked", body=CHUNKS),
    "chunks twice": bare(CHUNKED, CHUNKED, body=CHUNKS),
    "chunks of line feeds": bare(CHUNKED, body=CHUNKS.replace(b"\r\n", b"\n")),
    "a chunk without end": bare(CHUNKED, body=b"f" * 17 + b"\r\n" + GOOD),
    "no host": bare(LENGTH).replace(b"Host: here\r\n", b"", 1),
    "two hosts": bare(LENGTH, b"Host: there"),
    "no name of a host": bare(LENGTH).replace(b": here", b": here there", 1),
    "chunks of HTTP/1.0": bare(CHUNKED, body=CHUNKS).replace(b"/1.1", b"/1.0", 1),
    "a length among the trailers": bare(CHUNKED, body=CHUNKS[:-2] + b"Content-Length: 3\r\n\r\n"),
}


@pytest.mark.parametrize("name", TALKS)
def test_both_ways_give_the_same_bytes(app: Application, name: str) -> None:
    """Plain, odd, wrong and pipelined requests."""
    assert both(app, *TALKS[name]).startswith(b"HTTP/1.1 ")


def alike(app: Application, sent: Sent) -> list[Seen]:
    """Return what was said after each piece, and whether it was the end: uvicorn itself does the same.

    But for the end of the service: uvicorn hangs up at once where we still listen for a second.
    """
    kinds = (HotProtocol, Protocol, *((HttpToolsProtocol,) if sent.leaves is None else ()))
    seen = [talk(app, kind, sent) for kind in kinds]
    assert all(other == seen[0] for other in seen), sent
    return seen[0]


@pytest.mark.parametrize("name", ["a record", "a list", "chunked", "no JSON", "pipelined"])
def test_it_does_not_matter_where_a_request_is_split(app: Application, name: str) -> None:
    """A head in two parts, or a body that comes later."""
    (whole,) = TALKS[name]
    wanted = alike(app, Sent((whole,)))[-1]
    for at in range(1, len(whole), 7):
        assert alike(app, Sent((whole[:at], whole[at:])))[-1] == wanted


def test_a_request_byte_by_byte_is_answered_too(app: Application) -> None:
    """The slowest caller within the limits of time."""
    whole = request(GOOD, JSON)
    answer, closed = alike(app, Sent(tuple(whole[i : i + 1] for i in range(len(whole)))))[-1]
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == pytest.approx(expected(RECORD))
    assert not closed


WIRED = [*(b"".join(talk) for talk in TALKS.values()), *SMUGGLED.values()]
WIRED += [talk.replace(b"X-Request-ID: one\r\n", b"") for talk in WIRED]


@given(chance=st.randoms(use_true_random=False))
@examples(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mangled_requests_are_answered_alike(app: Application, chance: random.Random) -> None:
    """Damaged, pipelined, in pieces, hasty and slow: the same bytes at the same time, and the same end."""
    alike(app, mangled(chance, WIRED))


FAULTS: dict[str, tuple[str, Any]] = {
    "an end that is not said": ("_closing", lambda suffix: suffix),
    "a slow body that is lost": (
        "HotProtocol._finish_slow",
        lambda self: setattr(self, "cycle", None),
    ),
    "a head that is taken for another": (
        "Turn.learn",
        lambda self, head, asked, length: self.heads.update({head: (asked.headers, length)}),
    ),
    "a short cut for everything": ("HotProtocol._plain", lambda self, headers, turn: True),
    "expectations that nobody hears": ("_LONG_WAY", frozenset()),
    "hosts that nobody looks at": ("is_host", lambda value: True),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_comparison_sees_a_difference(
    app: Application, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Each fault, planted into the short cut, is found among a few hundred talks."""
    place, fault = FAULTS[name]
    monkeypatch.setattr(f"cannery.serving.hot.{place}", fault)

    def differs(seed: int) -> bool:
        try:
            alike(app, mangled(random.Random(seed), WIRED))
        except AssertionError:
            return True
        return False

    assert any(map(differs, range(1000)))


def test_plain_requests_take_the_short_cut_and_others_do_not(counted: Counted) -> None:
    """The application is not called for what is plain."""
    said(counted, HotProtocol, request(GOOD, JSON), request(LIST), request(b"{"))
    assert counted.calls == 0
    said(counted, HotProtocol, request(GOOD, b"Content-Type: text/plain"))
    assert counted.calls == 1


def test_what_arrives_together_is_scored_together(counted: Counted) -> None:
    """Twenty connections in one turn make few calls of the model, each gets its own answer."""
    config = configured(counted, HotProtocol)
    state = ServerState()

    async def ask(place: Any, tenure: int) -> Any:
        reader, writer = await asyncio.open_connection(*place)
        writer.write(
            request(json.dumps({**RECORD, "tenure": tenure}).encode(), b"Connection: keep-alive")
        )
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head)[1])
        answer = json.loads(await reader.readexactly(length))
        writer.close()
        return answer

    async def talk() -> list[Any]:
        make = partial(HotProtocol, config=config, server_state=state, app_state={})
        async with await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0) as server:
            place = server.sockets[0].getsockname()
            answers = await asyncio.gather(*(ask(place, tenure) for tenure in range(20)))
            while state.connections:
                await asyncio.sleep(0.001)
            return answers

    answers = asyncio.run(talk())
    assert answers == [
        pytest.approx(expected({**RECORD, "tenure": tenure})) for tenure in range(20)
    ]
    text = counted.desk.metrics.text().decode()
    assert "cannery_batch_rows_sum 20.0" in text
    calls = int(re.search(r"cannery_batch_rows_count (\d+)", text)[1])
    assert calls < 20


def test_one_bad_answer_does_not_spoil_the_turn(make_can: MakeCan) -> None:
    """Where the model fails on one request of a turn, the others are answered."""
    app = application(load(open_can(make_can(graph=make_graph(factor=1.2)).folder)), Settings())
    bad, good = json.dumps({**RECORD, "tenure": -99}).encode(), GOOD
    both(app, request(bad) + request(good))
    answer = said(app, HotProtocol, request(bad))
    assert answer.startswith(b"HTTP/1.1 500")


def test_the_limit_of_a_body_holds_on_both_ways(make_can: MakeCan) -> None:
    """However small it is."""
    app = application(open_service(make_can().folder), Settings(max_body=20))
    assert both(app, request(GOOD)).startswith(b"HTTP/1.1 413")


def test_an_idle_connection_is_closed(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """The short cut arms no timer for each answer; a sweep closes what has been idle for too long."""
    monkeypatch.setattr("cannery.serving.hot.SWEEP", 0.05)

    async def talk() -> bytes:
        config = configured(app, HotProtocol)
        config.timeout_keep_alive = 0
        make = partial(HotProtocol, config=config, server_state=ServerState(), app_state={})
        async with await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(request(GOOD))
            async with asyncio.timeout(10):
                answer = await reader.read()  # ends when the server hangs up
            writer.close()
            return answer

    assert asyncio.run(talk()).startswith(b"HTTP/1.1 200")


def test_a_token_is_asked_for_on_both_ways(make_can: MakeCan) -> None:
    """Who has it takes the short cut, also again; who has not is told by the application."""
    settings = Settings(gate=Gate(token="s3cret"))
    plain = application(open_service(make_can().folder), settings)
    app = Counted(plain.desk, plain.routes, plain.scoring, max_body=1 << 20, gate=settings.gate)
    right = request(GOOD, b"Authorization: Bearer s3cret").replace(b"X-Request-ID: one\r\n", b"")
    for _ in range(2):
        assert said(app, HotProtocol, right, right).count(b"HTTP/1.1 200") == 2
    assert app.calls == 0
    wrong = (request(GOOD), request(GOOD, b"Authorization: Bearer other"))
    for number, refused in enumerate(wrong, start=1):
        assert both(app, refused).startswith(b"HTTP/1.1 401")
        assert app.calls == 2 * number


@pytest.mark.parametrize("origins", ["*", "https://shop.example"])
def test_programs_take_the_short_cut_where_pages_may_ask_too(
    make_can: MakeCan, origins: str
) -> None:
    """A request of a page, which names its origin, goes the long way; both ways give the same bytes."""
    gate = Gate(origins=frozenset({origins}))
    plain = application(open_service(make_can().folder), Settings(gate=gate))
    app = Counted(plain.desk, plain.routes, plain.scoring, max_body=1 << 20, gate=gate)
    for wrong in (b"", b"{"):
        both(app, request(wrong))
    app.calls = 0
    answer = said(app, HotProtocol, request(GOOD), request(GOOD))
    assert app.calls == 0
    assert answer == said(app, Protocol, request(GOOD), request(GOOD))
    assert (b"vary: origin" in answer) == (origins != "*")
    page = both(app, request(GOOD, b"Origin: https://shop.example"))
    assert b"access-control-allow-origin: " + origins.encode() in page
    assert app.calls == 4


def test_a_transfer_coding_that_we_do_not_read_is_said_to_be_so(app: Application) -> None:
    """501 and the end, as the standard has it; what is behind could be anything."""
    answer = both(app, bare(b"Transfer-Encoding: gzip, chunked", body=CHUNKS))
    assert answer.startswith(b"HTTP/1.1 501")
    assert answer.count(b"HTTP/1.1") == 1
    assert b"connection: close" in answer


def test_an_old_caller_needs_to_name_no_host(app: Application) -> None:
    """HTTP/1.0 knows none."""
    assert both(app, b"GET /livez HTTP/1.0\r\nX-Request-ID: one\r\n\r\n").startswith(
        b"HTTP/1.1 200"
    )


@pytest.mark.parametrize("name", SMUGGLED)
def test_what_two_readers_could_take_for_other_requests_is_refused(
    app: Application, name: str
) -> None:
    """One 400 and the end of the connection, on both ways: nothing behind it is answered."""
    answer = both(app, SMUGGLED[name])
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1
    assert b"connection: close" in answer
