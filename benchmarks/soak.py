"""Soak a service: soak.py [--seconds 600]: two workers under load, one request in twenty malformed.

Workers are killed at random and probes run meanwhile. It fails where an answer is wrong, where a valid
request is lost but by the death of a worker, where a probe says no, or where memory grows.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from measuring import first_answer, free_port, server

CALLERS = 16
PAUSE = 0.002
"""Seconds between two requests of a caller: below what the service can do."""
BROKEN = (b"{", b"[]x", b'{"tenure": "many"}', b'{"a": 1, "a": 2}', b"\xff", b"[1, 2]", b"7")
GROWTH = 1.15
"""How much larger the workers may be in the second half than in the first."""


class Soak:
    """One service, and what was seen of it."""

    def __init__(self, port: int, pid: int, can: Path, seconds: float) -> None:
        canary = json.loads((can / "canary.json").read_text())
        self.known = list(zip(canary["records"], canary["outputs"], strict=True))
        self.tolerance = canary["tolerance"]
        self.url = f"http://127.0.0.1:{port}"
        self.pid = pid
        self.end = time.monotonic() + seconds
        self.seconds = seconds
        self.seen: Counter[str] = Counter()
        self.sizes: list[tuple[float, int]] = []
        self.killed_at = 0.0

    async def run(self) -> None:
        """Let everybody work until the end."""
        limits = httpx.Limits(max_connections=CALLERS + 4)
        async with httpx.AsyncClient(base_url=self.url, limits=limits, timeout=20) as client:
            callers = [self.call(client, random.Random(n)) for n in range(CALLERS)]
            await asyncio.gather(*callers, self.probe(client), self.kill(), self.weigh())

    @property
    def left(self) -> bool:
        """Whether there is time left."""
        return time.monotonic() < self.end

    async def call(self, client: httpx.AsyncClient, chance: random.Random) -> None:
        """Ask again and again, and look at every answer."""
        while self.left:
            await asyncio.sleep(PAUSE)
            if chance.random() < 0.05:
                await self.ask(client, chance.choice(BROKEN), None)
                continue
            chosen = [chance.choice(self.known) for _ in range(chance.choice((1, 1, 1, 5, 400)))]
            body = json.dumps([record for record, _ in chosen]).encode()
            await self.ask(client, body, [wanted for _, wanted in chosen])

    async def ask(self, client: httpx.AsyncClient, body: bytes, wanted: Any) -> None:
        """Ask once; an answer that is lost must be the killed worker's."""
        began = time.monotonic()
        try:
            response = await client.post("/predict", content=body)
        except httpx.TransportError:
            near = self.killed_at >= began - 1.0
            self.seen["lost with a worker" if near else "LOST"] += 1
            return
        if wanted is None:
            self.seen["refused" if response.status_code in (400, 422) else "NOT REFUSED"] += 1
        elif response.status_code == 200 and self.right(response.json(), wanted):
            self.seen["right"] += 1
        else:
            self.seen[f"WRONG {response.status_code}"] += 1

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
