"""Connections without sockets: every turn of the loop is ours, so that two protocols can be compared to the byte."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from cannery.serving.http import Application

SETTLED = 4
"""Turns of the loop without a word after which nothing more comes, where nothing is being answered."""
SOON = 20
"""Turns of the loop after which a thread is probably waited for."""
MOST = 20_000
"""Turns of the loop that an answer may take."""

Seen = tuple[bytes, bool]
"""What a connection said until now, and whether it is closed."""


@dataclass(frozen=True)
class Sent:
    """What a caller sends."""

    pieces: tuple[bytes, ...]
    hasty: tuple[bool, ...] = ()
    """After which pieces the next one follows without waiting for an answer."""
    hangs_up: bool = False
    """Whether it says at the end that nothing more comes."""
    leaves: int | None = None
    """Before which piece the service is told to end."""


class Wire(asyncio.Transport):
    """The server's end of a connection; what it says is kept."""

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self.said = bytearray()
        self.paused = False
        self.closed = False
        self._protocol = protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Tell where both ends are."""
        return {"sockname": ("127.0.0.1", 8080), "peername": ("127.0.0.1", 9)}.get(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep what is said, until the end."""
        if not self.closed:
            self.said += data

    def close(self) -> None:
        """End the connection in the next turn, as a socket does."""
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    abort = close

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self.closed

    def pause_reading(self) -> None:
        """Deliver nothing."""
        self.paused = True

    def resume_reading(self) -> None:
        """Deliver again."""
        self.paused = False


@lru_cache(maxsize=8)
def configured(app: Application, kind: type[asyncio.Protocol]) -> uvicorn.Config:
    """Return uvicorn's settings for a protocol, as the service has them."""
    config = uvicorn.Config(
        app,
        http=kind,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        proxy_headers=False,
        limit_concurrency=100,
    )
    config.load()
    return config


def talk(app: Application, kind: type[Any], sent: Sent) -> list[Seen]:
    """Return what a protocol had said after each piece, without dates and made ids."""
    return asyncio.run(_talk(app, kind, sent))


async def _talk(app: Application, kind: type[Any], sent: Sent) -> list[Seen]:
    state = ServerState()
    protocol = kind(config=configured(app, kind), server_state=state, app_state={})
    wire = Wire(protocol)
    protocol.connection_made(wire)
    seen: list[Seen] = []
    for index, piece in enumerate(sent.pieces):
        await _settled(protocol, wire, until_read=True)
        if index == sent.leaves:
            protocol.shutdown()
        if wire.closed:
            break
        protocol.data_received(piece)
        if index < len(sent.hasty) and sent.hasty[index]:
            await asyncio.sleep(0)
        else:
            await _settled(protocol, wire)
            seen.append((_plain(wire.said), wire.closed))
    await _settled(protocol, wire)
    if sent.hangs_up and not wire.closed and not protocol.eof_received():
        wire.close()
    await _settled(protocol, wire)
    seen.append((_plain(wire.said), wire.closed))
    wire.close()
    while state.connections or state.tasks:
        await asyncio.sleep(0)
    protocol._unset_keepalive_if_required()
    return seen


async def _settled(protocol: Any, wire: Wire, *, until_read: bool = False) -> None:
    """Let the loop turn until nothing more is said, or, while nothing is read, until it is again."""
    quiet, heard = 0, -1
    for turn in range(MOST):
        if until_read and (wire.closed or not wire.paused):
            return
        cycle = protocol.cycle
        busy = cycle is not None and not cycle.response_complete and not cycle.more_body
        quiet = 0 if len(wire.said) != heard or (busy and not wire.closed) else quiet + 1
        heard = len(wire.said)
        if quiet > SETTLED and not until_read:
            return
        await asyncio.sleep(0.0001 if turn > SOON else 0)
    raise AssertionError(f"no end: {bytes(wire.said[-200:])!r}")


def _plain(said: bytes | bytearray) -> bytes:
    return re.sub(rb"date: [^\r]*\r\n|x-request-id: [0-9a-f]{32}\r\n", b"", bytes(said))


DAMAGE = (b"\r\n", b"\n", b"\0", b" ", b":", b"{", b"0", b"Host: x\r\n", b"\r\n\r\n", b"\xff")
"""What is put into requests."""


def mangled(chance: random.Random, talks: Sequence[bytes]) -> Sent:
    """Return one to four requests, damaged now and then, in pieces of any length, byte by byte too."""
    chosen = [chance.choice(talks) for _ in range(chance.randint(1, 4))]
    whole = bytearray(b"".join(chosen))
    for _ in range(chance.choice((0, 0, 1, 1, 2, 4))):
        at = chance.randrange(len(whole))
        match chance.randrange(4):
            case 0:
                whole[at] = chance.randrange(256)
            case 1:
                del whole[at : at + chance.randint(1, 3)]
            case 2:
                end = chance.randrange(len(whole))
                whole[at:at] = whole[end : end + chance.randint(1, 60)]
            case _:
                whole[at:at] = chance.choice(DAMAGE)
    match chance.randrange(5):
        case 0:
            cuts = list(range(1, min(len(whole), 400)))
        case 1 | 2:
            cuts = list(accumulate(map(len, chosen)))
        case _:
            cuts = sorted(chance.randrange(len(whole) + 1) for _ in range(chance.randrange(6)))
    edges = [0, *cuts, len(whole)]
    pieces = tuple(bytes(whole[a:b]) for a, b in pairwise(edges) if a < b)
    hasty = chance.choice((0.0, 0.5, 1.0))
    return Sent(
        pieces,
        hasty=tuple(chance.random() < hasty for _ in pieces),
        hangs_up=chance.random() < 0.5,
        leaves=chance.randrange(len(pieces)) if chance.random() < 0.2 else None,
    )
