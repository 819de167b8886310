"""Soak a service: soak.py CAN [--seconds 600]: two workers under load, one request in twenty malformed.

For the first tenth of the time callers ask as fast as they can; then they ask four fifths as often as
they were answered. Workers are killed at random and probes run meanwhile. It fails where an answer is wrong, where a valid
request is lost but by the death of a worker, where a probe says no, or where memory grows.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from measuring import first_answer, free_port, server

CALLERS = 16
SHARE = 0.8
"""Of what was answered at full load."""
SIZES = (1, 1, 1, 1, 1, 1, 5, 5, 5, 400)
"""Rows of a request, each as often as the others."""
POOL = 200
"""Different requests."""
BROKEN = (b"{", b"[]x", b'{"tenure": "many"}', b'{"a": 1, "a": 2}', b"\xff", b"[1, 2]", b"7")
GROWTH = 1.15
"""How much larger the workers may be in the second half than in the first."""


LENGTH = re.compile(rb"(?i)content-length: (\d+)")


class Wire:
    """One connection, opened anew where it broke: a client's own work would be most of the load."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes) -> tuple[int, bytes]:
        """Return status and body; raises OSError or EOFError where the connection breaks."""
        if self.streams is None:
            self.streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.streams
        try:
            head = b"POST /predict HTTP/1.1\r\nHost: soak\r\nContent-Length: %d\r\n\r\n"
            writer.write(head % len(body) + body)
            async with asyncio.timeout(20):
                said = await reader.readuntil(b"\r\n\r\n")
                length = LENGTH.search(said)
                assert length, said
                return int(said[9:12]), await reader.readexactly(int(length[1]))
        except (OSError, EOFError):
            writer.close()
            self.streams = None
            raise


class Soak:
    """One service, and what was seen of it."""

    def __init__(self, port: int, pid: int, can: Path, seconds: float) -> None:
        canary = json.loads((can / "canary.json").read_text())
        self.known = list(zip(canary["records"], canary["outputs"], strict=True))
        self.tolerance = canary["tolerance"]
        self.port = port
        self.pid = pid
        self.end = time.monotonic() + seconds
        self.seconds = seconds
        self.seen: Counter[str] = Counter()
        self.sizes: list[tuple[float, int]] = []
        self.killed_at = 0.0
        self.every = 0.0
        """Seconds between two requests, of all callers together."""
        self.turn = time.monotonic()
        chance = random.Random(0)
        self.pool = [self.question(chance) for _ in range(POOL)]
        self.known_right: set[tuple[bytes, bytes]] = set()

    def question(self, chance: random.Random) -> tuple[bytes, Any]:
        """Return a request's body, and the answers that it must get."""
        chosen = [chance.choice(self.known) for _ in range(chance.choice(SIZES))]
        body = json.dumps([record for record, _ in chosen]).encode()
        return body, [wanted for _, wanted in chosen]

    async def run(self) -> None:
        """Let everybody work until the end."""
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}", timeout=20
        ) as client:
            callers = [self.call(random.Random(n)) for n in range(CALLERS)]
            others = (self.probe(client), self.kill(), self.weigh(), self.pace())
            await asyncio.gather(*callers, *others)

    async def pace(self) -> None:
        """Measure what can be answered, and ask less often from then on."""
        first = self.seconds / 10
        await asyncio.sleep(first)
        answered = self.seen["right"] + self.seen["refused"]
        self.seen["answered a second at full load"] = round(answered / first)
        self.turn, self.every = time.monotonic(), first / max(1, answered) / SHARE

    @property
    def left(self) -> bool:
        """Whether there is time left."""
        return time.monotonic() < self.end

    async def call(self, chance: random.Random) -> None:
        """Ask again and again, and look at every answer."""
        wire = Wire(self.port)
        while self.left:
            now = time.monotonic()
            self.turn = max(self.turn + self.every, now - 0.1)
            if self.turn > now:
                await asyncio.sleep(self.turn - now)
            if chance.random() < 0.05:
                await self.ask(wire, chance.choice(BROKEN), None)
            else:
                await self.ask(wire, *chance.choice(self.pool))
        if wire.streams is not None:
            wire.streams[1].close()

    async def ask(self, wire: Wire, body: bytes, wanted: Any) -> None:
        """Ask once; an answer that is lost must be the killed worker's."""
        began = time.monotonic()
        try:
            status, said = await wire.post(body)
        except (OSError, EOFError):
            near = self.killed_at >= began - 1.0
            self.seen["lost with a worker" if near else "LOST"] += 1
            return
        if wanted is None:
            self.seen["refused" if status in (400, 422) else "NOT REFUSED"] += 1
        elif status == 200 and (
            (body, said) in self.known_right or self.right(json.loads(said), wanted)
        ):
            self.seen["right"] += 1
            self.known_right.add((body, said))
        else:
            self.seen[f"WRONG {status}"] += 1

    def right(self, given: Any, wanted: Any) -> bool:
        """Whether answers are those of the canary."""

        def same(a: Any, b: Any) -> bool:
            return abs(a - b) <= self.tolerance * 2 if isinstance(b, float) else bool(a == b)

        return len(given) == len(wanted) and all(
            g.keys() == w.keys() and all(same(g[name], w[name]) for name in w)
            for g, w in zip(given, wanted, strict=True)
        )

    async def probe(self, client: httpx.AsyncClient) -> None:
        """Ask for health all the time."""
        while self.left:
            await asyncio.sleep(0.2)
            for path in ("/livez", "/readyz", "/health", "/metrics"):
                with contextlib.suppress(httpx.TransportError):
                    status = (await client.get(path)).status_code
                    self.seen["probes" if status == 200 else f"UNHEALTHY {status}"] += 1

    async def kill(self) -> None:
        """Kill a worker now and then."""
        while self.left:
            await asyncio.sleep(min(20.0, self.seconds / 3))
            workers = self.workers()
            if self.left and len(workers) > 1:
                self.killed_at = time.monotonic()
                os.kill(random.choice(workers), signal.SIGKILL)
                self.seen["killed"] += 1

    async def weigh(self) -> None:
        """Note the size of the largest worker."""
        while self.left:
            await asyncio.sleep(0.5)
            sizes = [_resident(worker) for worker in self.workers()]
            if sizes:
                self.sizes.append((time.monotonic(), max(sizes)))

    def workers(self) -> list[int]:
        """Return the pids of the workers."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(child) for child in children.split()]

    def problems(self) -> list[str]:
        """Return what must not have been seen."""
        found = [
            f"{name}: {count}"
            for name, count in self.seen.items()
            if name.isupper() or " 5" in name
        ]
        found += [f"{name}: {n}" for name, n in self.seen.items() if name.startswith("WRONG")]
        middle = self.end - self.seconds / 2
        first = [size for when, size in self.sizes if self.end - self.seconds * 0.9 < when < middle]
        second = [size for when, size in self.sizes if when >= middle]
        if first and second and max(second) > GROWTH * max(first):
            found.append(f"the workers grew from {max(first)} to {max(second)} bytes")
        if not self.seen["right"]:
            found.append("nothing was answered")
        return found


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, IndexError):
        return 0


def soak(can: Path, seconds: float) -> Soak:
    """Soak a service of this can and return what was seen."""
    port = free_port()
    env = {"CANNERY_CAN": str(can), "PORT": str(port), "HOST": "127.0.0.1", "WORKERS": "2"}
    record = json.loads((can / "canary.json").read_text())["records"][0]
    with server([sys.executable, "-m", "cannery.serving"], env) as pid:
        first_answer(port, "/predict", json.dumps(record).encode())
        soaked = Soak(port, pid, can, seconds)
        asyncio.run(soaked.run())
    return soaked


def main() -> int:
    """Soak a can and say what was seen; 1 where anything was that must not be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("can", type=Path)
    parser.add_argument("--seconds", type=float, default=600)
    asked = parser.parse_args()
    soaked = soak(asked.can, asked.seconds)
    sys.stdout.write(json.dumps({"seen": soaked.seen, "problems": soaked.problems()}) + "\n")
    return 1 if soaked.problems() else 0


if __name__ == "__main__":
    sys.exit(main())
