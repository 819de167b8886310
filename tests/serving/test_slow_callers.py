"""Callers who dawdle: nobody holds a connection, or memory, with a part of a request."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

import pytest
import uvicorn
from churn_cans import Caller
from uvicorn.server import ServerState

from cannery.serving.http import Application
from cannery.serving.protocol import Protocol


def test_a_body_that_never_comes_is_not_waited_for(app: Application) -> None:
    """A caller who sends no further bytes gets a 408 and loses the connection."""

    async def chunks():
        yield b"{"
        await asyncio.Event().wait()

    hasty = Application(app.desk, app.routes, app.scoring, max_body=1 << 20, patience=0.05)
    response = Caller(hasty)("POST", "/predict", content=chunks())
    assert (response.status_code, response.headers["connection"]) == (408, "close")


class Hasty(Protocol):
    """The protocol of the service, with less patience."""

    head_seconds = 0.2
    head_limit = 1 << 12


def said_to(app: Application, *pieces: bytes) -> bytes:
    """Return everything that the service answers over a socket to these pieces until it hangs up."""

    async def talk() -> bytes:
        config = uvicorn.Config(app, http=Hasty, ws="none", lifespan="off", log_config=None)
        config.load()
        make = partial(Hasty, config=config, server_state=ServerState(), app_state={})
        loop = asyncio.get_running_loop()
        async with await loop.create_server(make, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            answer = b""
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)
            with contextlib.suppress(ConnectionResetError):
                while block := await reader.read(1 << 16):
                    answer += block
            writer.close()
            return answer

    return asyncio.run(talk())


HEAD = b"GET /livez HTTP/1.1\r\nHost: here\r\n"


@pytest.mark.parametrize("pieces", [(), (HEAD,), (HEAD + b"\r\n", HEAD)])
def test_a_head_that_never_ends_is_not_waited_for(
    app: Application, pieces: tuple[bytes, ...]
) -> None:
    """Neither a new connection nor one that was kept is held open by a part of a request."""
    assert said_to(app, *pieces).count(b"HTTP/1.1 200") == len(pieces) // 2


def test_a_head_without_end_is_refused(app: Application) -> None:
    """Headers are kept in memory: no caller may send any number of them."""
    filler = b"X: " + b"y" * 3000 + b"\r\n"
    answer = said_to(app, HEAD, filler, filler, filler, filler)
    assert answer.startswith(b"HTTP/1.1 400")
