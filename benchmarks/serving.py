"""The service beside others on the same model: processor per request, first of all.

Server on one core, load on the other, rows rotated. Every server's answers are checked before they are
timed. Peers: MLflow's scoring server, and others over the can's own graph (see `benchmarks/peers.py`),
each in an environment of its own; one that doesn't install is left out, and said to be.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from main_job import CHAMPION, Job
from measuring import Figure, cpu_of, first_answer, free_port, main, memory_of, run, server

from cannery.caches import cache_folder
from cannery.indexes import index_environment

HERE = Path(__file__).parent
ROWS = 512
SECONDS = 3.0


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A server of the same model."""

    name: str
    argv: Callable[[int], Sequence[str]] = lambda _: ()
    """From a port to the words that start it."""
    path: str = "/predict"
    body: Callable[[list[dict[str, Any]]], Any]
    """From records to what it is asked."""
    answer: Callable[[Any], list[Any]] = list
    """From what it answers to the probabilities of churn, or its labels."""
    env: Mapping[str, str] = field(default_factory=dict)


def peers(job: Job, can: Path) -> list[Peer]:
    """Return ours first, then the others that are installed."""
    python = sys.executable
    env = {**job.environment, "CANNERY_CAN": str(can), "HOST": "127.0.0.1"}
    return [
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
        *(
            replace(peer, argv=partial(_words, its_python, peer.name.lower()), env=env)
            for peer in HANDMADE
            if (its_python := installed(peer.name.lower())) is not None
        ),
    ]


def _words(python: Path, kind: str, port: int) -> list[str]:
    return [str(python), str(HERE / "peers.py"), kind, str(port)]


def installed(kind: str) -> Path | None:
    """Return the Python of an environment with this server and ONNX Runtime; None where it can't be made."""
    folder = cache_folder("peers") / kind
    python, uv = folder / "bin" / "python", str(Path(sys.executable).with_name("uv"))
    env = {**os.environ, **index_environment()}
    try:
        if not (folder / "whole").exists():
            run(
                [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], env=env
            )
            packages = [kind, "onnxruntime", "numpy", "uvicorn"]
            run([uv, "pip", "install", "--quiet", "--python", str(python), *packages], env=env)
            (folder / "whole").touch()
    except subprocess.CalledProcessError:
        sys.stderr.write(f"{kind} does not install here and is left out\n")
        return None
    return python


def _tensors(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return records as the Open Inference Protocol has them."""
    types = {int: "INT64", float: "FP64", str: "BYTES"}
    columns = {name: [record[name] for record in records] for name in records[0]}
    return {
        "inputs": [
            {"name": n, "shape": [len(v)], "datatype": types[type(v[0])], "data": v}
            for n, v in columns.items()
        ]
    }


HANDMADE = (
    Peer(name="FastAPI", body=lambda records: {"records": records}),
    Peer(name="BentoML", body=lambda records: {"records": records}),
    Peer(name="LitServe", body=lambda records: {"records": records}),
    Peer(
        name="KServe",
        path="/v1/models/churn:predict",
        body=lambda records: {"instances": records},
        answer=lambda said: list(said["predictions"]),
    ),
    Peer(
        name="MLServer",
        path="/v2/models/churn/infer",
        body=_tensors,
        answer=lambda said: list(said["outputs"][0]["data"]),
    ),
)
"""Servers of the can's graph; their words and environment are found when they are installed."""


@contextlib.contextmanager
def serving(
    peer: Peer, bodies: Sequence[bytes], wanted: Sequence[list[float]]
) -> Iterator[tuple[int, int, float]]:
    """Start a server on the first core, check its answers; yield pid, port, and seconds to the first one."""
    port, cold = free_port(), 0.0
    began = time.perf_counter()
    with server(["taskset", "-c", "0", *peer.argv(port)], peer.env) as pid:
        for body, probabilities in zip(bodies, wanted, strict=True):
            given = peer.answer(first_answer(port, peer.path, body, timeout=120))
            cold = cold or time.perf_counter() - began
            assert len(given) == len(probabilities), peer.name
            assert all(map(_same, given, probabilities)), f"{peer.name} answers otherwise"
        yield pid, port, cold


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
        slow = job.work / "skops.can"
        for folder_, options in ((can, []), (slow, ["--runtime", "skops"])):
            sample = ["--sample", str(job.work / "sample.parquet"), *options]
            words = ["-m", "cannery", "-q", "pack", CHAMPION, *sample, "-o", str(folder_)]
            run([sys.executable, *words], env=job.environment)
        records = _records(job.work / "sample.parquet")
        wanted = _wanted(can, records)
        asked = peers(job, can)
        seen = {p.name: _one(p, records, wanted) for p in asked}
        by_skops = _one(
            replace(asked[0], env={**asked[0].env, "CANNERY_CAN": str(slow)}), records, wanted
        )
    ours = seen.pop("Cannery")
    compared = [("", ours, name, theirs) for name, theirs in seen.items()]
    compared.append((", by skops", by_skops, "MLflow", seen["MLflow"]))
    return [
        Figure(what=what + more, unit=unit, ours=own[what], peer=theirs[what], beside=name)
        for more, own, name, theirs in compared
        for what, unit in UNITS.items()
    ]


UNITS = {
    "CPU of a request, 64 connections": "µs",
    "CPU of a request, 1 connection": "µs",
    "median answer, 1 connection": "µs",
    "CPU of a request of 1,000 rows": "ms",
    "start to the first right answer": "ms",
    "memory after the load": "MB",
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
    with serving(peer, checked, [*([w] for w in wanted[:5]), wanted[:1000]]) as (pid, port, cold):
        crowd, _ = cost(single, 64)
        alone, median = cost(single, 1)
        long, _ = cost(many, 1)
        held = memory_of(pid)
    figures = (crowd * 1e6, alone * 1e6, median * 1e6, long * 1e3, cold * 1e3, held / 1e6)
    return dict(zip(UNITS, figures, strict=True))


def _records(sample: Path) -> list[dict[str, Any]]:
    import pandas as pd

    return list(json.loads(pd.read_parquet(sample).head(4000).to_json(orient="records")))


def _wanted(can: Path, records: list[dict[str, Any]]) -> list[float]:
    """Return the original's probabilities as the can's own service has them: parity is proven."""
    from cannery.serving.service import open_service

    return [answer["probability_Yes"] for answer in open_service(can).predict(records)]


if __name__ == "__main__":
    main(__doc__, measure)
