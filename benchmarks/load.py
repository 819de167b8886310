"""Load over some connections, each with one request at a time: load.py PORT PATH CONNECTIONS SECONDS BODIES."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
import time
from pathlib import Path

import uvloop

LENGTH = re.compile(rb"(?i)content-length: (\d+)")


def _missing(answer: bytes) -> int:
    """Return how many bytes of an answer are still to come, at least."""
    head = answer.find(b"\r\n\r\n") + 4
    if head < 4:
        return 1
    found = LENGTH.search(answer[:head])
    assert found, answer[:300]
    return head + int(found[1]) - len(answer)


class Caller(asyncio.Protocol):
    """One connection; its next request follows the answer to the last."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.answer = b""
        self.began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask the first."""
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        """Ask the next, or hang up."""
        if time.perf_counter() >= self.load.end:
            self.transport.close()
            return
        self.began = time.perf_counter()
        self.transport.write(self.load.next())  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Wait for the whole answer."""
        self.answer += data
        if _missing(self.answer) > 0:
            return
        assert self.answer.startswith(b"HTTP/1.1 200"), self.answer[:300]
        self.load.times.append(time.perf_counter() - self.began)
        self.answer = b""
        self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the load when the last is gone."""
        self.load.open -= 1
        if not self.load.open:
            self.load.done.set()


class Load:
    """Some connections that ask the same server."""

    def __init__(self, port: int, path: str, connections: int, bodies: list[str]) -> None:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        )
        self.requests = [
            f"{head}Accept: */*\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}".encode()
            for body in bodies
        ]
        self.port = port
        self.open = connections
        self.times: list[float] = []
        self.end = 0.0
        self.asked = 0

    def next(self) -> bytes:
        """Return the next request: rows rotate, since one row again and again flatters tree walks."""
        self.asked += 1
        return self.requests[self.asked % len(self.requests)]

    def alone(self, seconds: float) -> None:
        """Ask for some seconds over one connection, by plain calls: a loop would count as the server's time."""
        self.end = time.perf_counter() + seconds
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while (began := time.perf_counter()) < self.end:
                connection.sendall(self.next())
                answer = connection.recv(1 << 16)
                while (missing := _missing(answer)) > 0:
                    more = connection.recv(1 << 16)
                    assert more, f"hung up, {missing} bytes too early"
                    answer += more
                self.times.append(time.perf_counter() - began)
                assert answer.startswith(b"HTTP/1.1 200"), answer[:300]

    async def run(self, seconds: float) -> None:
        """Ask for some seconds."""
        self.done = asyncio.Event()
        self.end = time.perf_counter() + seconds
        loop = asyncio.get_running_loop()
        for _ in range(self.open):
            await loop.create_connection(lambda: Caller(self), "127.0.0.1", self.port)
        await self.done.wait()


def main(port: str, path: str, connections: str, seconds: str, bodies: str) -> None:
    """Print how many requests were answered, and the median and the 99th percentile in seconds."""
    load = Load(int(port), path, int(connections), json.loads(Path(bodies).read_text()))
    if load.open == 1:
        load.alone(float(seconds))
    else:
        uvloop.run(load.run(float(seconds)))
    times = sorted(load.times)
    seen = {
        "requests": len(times),
        "median": times[len(times) // 2],
        "p99": times[int(len(times) * 0.99)],
    }
    sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
