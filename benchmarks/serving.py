"""The service beside others on the same model: processor per request, first of all.

Server on one core, load on the other, rows rotated. Every server's answers are checked before they are
timed. Peers: MLflow's scoring server, FastAPI with ONNX Runtime as one would write it by hand, and
LitServe where PEERS names a Python that has it (see `benchmarks/peers.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from main_job import CHAMPION, Job
from measuring import Figure, cpu_of, first_answer, free_port, main, run, server

HERE = Path(__file__).parent
ROWS = 512
SECONDS = 3.0


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A server of the same model."""

    name: str
    argv: Callable[[int], Sequence[str]]
    """From a port to the words that start it."""
    path: str
    body: Callable[[list[dict[str, Any]]], Any]
    """From records to what it is asked."""
    answer: Callable[[Any], list[Any]]
    """From what it answers to the probabilities of churn, or its labels."""
    env: Mapping[str, str] = field(default_factory=dict)


def peers(job: Job, can: Path) -> list[Peer]:
    """Return ours first, then the others that are installed."""
    python = sys.executable
    env = {**job.environment, "CANNERY_CAN": str(can), "HOST": "127.0.0.1"}
    others = os.environ.get("PEERS")
    found = [
        Peer(
            name="Cannery",
            argv=lambda port: ["env", f"PORT={port}", python, "-m", "cannery.serving"],
            path="/predict",
            body=lambda records: records[0] if len(records) == 1 else records,
            answer=lambda said: [
                r["probability_Yes"] for r in (said if isinstance(said, list) else [said])
            ],
            env=env,
        ),
        Peer(
            name="MLflow",
            argv=lambda port: [
                *("mlflow", "models", "serve", "-m", CHAMPION, "--env-manager", "local"),
                *("-p", str(port), "-w", "1"),
            ],
            path="/invocations",
            body=lambda records: {"dataframe_records": records},
            answer=lambda said: list(said["predictions"]),
            env=env,
        ),
        _handmade("FastAPI + ONNX Runtime", python, "fastapi", "/predict", env),
    ]
    if others:
        found.append(_handmade("LitServe + ONNX Runtime", others, "litserve", "/predict", env))
    return found


def _handmade(name: str, python: str, kind: str, path: str, env: Mapping[str, str]) -> Peer:
    return Peer(
        name=name,
        argv=lambda port: [python, str(HERE / "peers.py"), kind, str(port)],
        path=path,
        body=lambda records: {"records": records},
        answer=lambda said: list(said),
        env=env,
    )


@contextlib.contextmanager
def serving(
    peer: Peer, bodies: Sequence[bytes], wanted: Sequence[list[float]]
) -> Iterator[tuple[int, int]]:
    """Start a server on the first core, check its answers, and yield its pid and port."""
    port = free_port()
    with server(["taskset", "-c", "0", *peer.argv(port)], peer.env) as pid:
        for body, probabilities in zip(bodies, wanted, strict=True):
            given = peer.answer(first_answer(port, peer.path, body, timeout=120))
            assert len(given) == len(probabilities), peer.name
            assert all(map(_same, given, probabilities)), f"{peer.name} answers otherwise"
        yield pid, port


def _same(given: Any, probability: float) -> bool:
    """Whether a server's answer, a probability or a label, is that of the original."""
    if isinstance(given, str):
        return (given == "Yes") == (probability > 0.5)
    return abs(given - probability) < 1e-5


def load(port: int, path: str, bodies: Sequence[bytes], connections: int) -> dict[str, float]:
    """Ask over so many connections for some seconds, from the second core; return what was seen."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump([body.decode() for body in bodies], file)
        file.flush()
        words = [str(HERE / "load.py"), str(port), path, str(connections), str(SECONDS), file.name]
        return dict(json.loads(run(["taskset", "-c", "1", sys.executable, *words]).out))


def measure() -> list[Figure]:
    """Return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        job = Job(Path(folder))
        job.train(1)
        can = job.work / "churn.can"
        sample = ["--sample", str(job.work / "sample.parquet")]
        words = ["-m", "cannery", "-q", "pack", CHAMPION, *sample, "-o", str(can)]
        run([sys.executable, *words], env=job.environment)
        records = _records(job.work / "sample.parquet")
        wanted = _wanted(can, records)
        seen = {p.name: _one(p, records, wanted) for p in peers(job, can)}
    ours = seen.pop("Cannery")
    return [
        Figure(what=what, unit=unit, ours=ours[what], peer=theirs[what], beside=name)
        for name, theirs in seen.items()
        for what, unit in UNITS.items()
        if what in theirs
    ]


UNITS = {
    "CPU of a request, 64 connections": "µs",
    "CPU of a request, 1 connection": "µs",
    "median answer, 1 connection": "µs",
    "CPU of a request of 1,000 rows": "ms",
}


def _one(peer: Peer, records: list[dict[str, Any]], wanted: list[float]) -> dict[str, float]:
    """Return every figure of one server."""

    def cost(bodies: Sequence[bytes], connections: int) -> tuple[float, float]:
        load(port, peer.path, bodies, connections)  # warm
        before = cpu_of(pid)
        seen = load(port, peer.path, bodies, connections)
        return (cpu_of(pid) - before) / seen["requests"], seen["median"]

    single = [json.dumps(peer.body([record])).encode() for record in records[:ROWS]]
    many = [json.dumps(peer.body(records[n : n + 1000])).encode() for n in range(0, 3000, 500)]
    checked = [*single[:5], many[0]]
    with serving(peer, checked, [*([w] for w in wanted[:5]), wanted[:1000]]) as (pid, port):
        crowd, _ = cost(single, 64)
        alone, median = cost(single, 1)
        long, _ = cost(many, 1)
    return dict(zip(UNITS, (crowd * 1e6, alone * 1e6, median * 1e6, long * 1e3), strict=True))


def _records(sample: Path) -> list[dict[str, Any]]:
    import pandas as pd

    return list(json.loads(pd.read_parquet(sample).head(4000).to_json(orient="records")))


def _wanted(can: Path, records: list[dict[str, Any]]) -> list[float]:
    """Return the original's probabilities as the can's own service has them: parity is proven."""
    from cannery.serving.service import open_service

    return [answer["probability_Yes"] for answer in open_service(can).predict(records)]


if __name__ == "__main__":
    main(__doc__, measure)
