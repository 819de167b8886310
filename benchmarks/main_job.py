"""The main job: from a registered model to a healthy container, measured from outside; needs Docker.

Sizes, builds, the first prediction after `docker run`, one health check beside a hand-written one, and
one request beside MLflow's own scoring server on the same model. Packages and layers are kept from
earlier builds; every time is the median of several runs on this machine, beside its peer.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring import (
    Client,
    Figure,
    cost_of_requests,
    first_answer,
    free_port,
    main,
    median,
    run,
    server,
)

CHAMPION = "models:/churn-classifier@champion"
RECORD = {
    "tenure": 2,
    "monthly_charges": 89.1,
    "total_charges": 178.2,
    "contract": "Month-to-month",
    "payment_method": "Electronic check",
    "num_services": 3,
}
BODY = json.dumps(RECORD).encode()
ASKED = 4.0
"""Seconds for which each server is asked."""

HAND_WRITTEN = """
import pickle, sys
import pandas as pd
with open(sys.argv[1], "rb") as file:
    model = pickle.load(file)
probability = model.predict_proba(pd.DataFrame([eval(sys.argv[2])]))[0, 1]
sys.exit(0 if 0.0 <= probability <= 1.0 else 1)
"""
"""A health check as it is often written: a fresh process that opens the model and scores a record."""


@dataclass
class Job:
    """A registry in a folder, and the commands on it."""

    work: Path

    @property
    def environment(self) -> dict[str, str]:
        """Where the registry is."""
        return {"MLFLOW_TRACKING_URI": f"sqlite:///{self.work}/mlflow.db"}

    def train(self, version: int) -> None:
        """Train a version and make it champion."""
        words = ["--version", str(version), "--work", str(self.work)]
        run([sys.executable, "-m", "cannery.demo.train", *words])

    def build(self, model: str, tag: str, *more: str) -> tuple[dict[str, Any], float, float]:
        """Build an image; return what was built, and seconds and CPU seconds of the whole command."""
        words = ["-q", "build", model, "-t", tag, "--engine", "docker", "--json", *more]
        done = run([sys.executable, "-m", "cannery", *words], env=self.environment, cwd=self.work)
        return json.loads(done.out), done.seconds, done.cpu

    @property
    def pickle(self) -> Path:
        """The model file of the newest version, as MLflow wrote it."""
        found = self.work.glob("artifacts/**/model.pkl")
        return max(found, key=lambda path: path.stat().st_mtime)


def docker(*words: str) -> str:
    """Run a command of Docker and return what it says."""
    return run(["docker", *words]).out.decode().strip()


@contextlib.contextmanager
def container(tag: str, port: int) -> Iterator[str]:
    """Start an image as a user would; it is gone when the block ends."""
    words = ["--detach", "--read-only", "--tmpfs", "/tmp", "--publish", f"127.0.0.1:{port}:8080"]
    name = docker("run", *words, tag)
    try:
        yield name
    finally:
        docker("rm", "--force", name)


def first_prediction(tag: str) -> float:
    """Return the seconds from `docker run` to the first answer to a record."""
    port, began = free_port(), time.perf_counter()
    with container(tag, port):
        first_answer(port, "/predict", BODY)
        return time.perf_counter() - began


def empty_start(tag: str) -> float:
    """Return the seconds in which the image's Python starts in a container, does nothing and ends."""
    words = ["run", "--rm", "--read-only", "--entrypoint", "/usr/bin/python3.13", tag]
    return run(["docker", *words, "-I", "-S", "-c", "pass"]).seconds


def builds(job: Job) -> list[Figure]:
    """Build two versions and return what they took; the image of the second is left for the others."""
    job.train(1)
    first, first_seconds, first_cpu = job.build(CHAMPION, "cannery-bench:v1")
    job.train(2)
    second, seconds, cpu = job.build(
        CHAMPION, "cannery-bench:v2", "--can", str(job.work / "v2.can")
    )

    from_can = []
    for _ in range(3):
        docker("rmi", "--force", "cannery-bench:v2")
        _, *took = job.build(str(job.work / "v2.can"), "cannery-bench:v2")
        from_can.append(took)
    can_seconds, can_cpu = sorted(from_can)[1]
    known = {layer["digest"] for layer in first["layers"]}
    changed = [layer["size"] for layer in second["layers"] if layer["digest"] not in known]
    name = "first version, from the registry"
    return [
        Figure(
            what="image, unpacked, without the model",
            unit="MB",
            ours=_without_can(second, "unpacked") / 1e6,
        ),
        Figure(
            what="image, compressed, without the model",
            unit="MB",
            ours=_without_can(second, "size") / 1e6,
        ),
        Figure(
            what="new version: bytes that travel",
            unit="kB",
            ours=sum(changed) / 1e3,
            peer=second["size"] / 1e3,
            beside="the whole image",
        ),
        Figure(
            what="second version, from the registry",
            unit="s",
            ours=seconds,
            peer=first_seconds,
            beside=name,
        ),
        Figure(
            what="second version, from the registry: CPU",
            unit="s",
            ours=cpu,
            peer=first_cpu,
            beside=name,
        ),
        Figure(
            what="second version, from its can",
            unit="s",
            ours=can_seconds,
            peer=first_seconds,
            beside=name,
        ),
        Figure(
            what="second version, from its can: CPU",
            unit="s",
            ours=can_cpu,
            peer=first_cpu,
            beside=name,
        ),
    ]


def _without_can(built: dict[str, Any], key: str) -> float:
    return float(sum(layer[key] for layer in built["layers"] if layer["name"] != "can"))


def starts(tag: str) -> Figure:
    """Return the seconds to the first prediction, beside those of an empty program in the same image."""
    pairs = [(first_prediction(tag), empty_start(tag)) for _ in range(5)]
    ours, peer = (sorted(column)[2] for column in zip(*pairs, strict=True))
    return Figure(
        what="`docker run` to the first prediction",
        unit="s",
        ours=ours,
        peer=peer,
        beside="the same image's Python, doing nothing",
    )


def checks(job: Job, port: int) -> Figure:
    """Return the CPU of one health check beside a hand-written one."""
    import cannery.serving.probe as probe

    ours = [sys.executable, "-I", "-S", str(probe.__file__)]
    theirs = [sys.executable, "-c", HAND_WRITTEN, str(job.pickle), repr(RECORD)]
    return Figure(
        what="one health check: CPU",
        unit="ms",
        ours=1000 * median(9, lambda: run(ours, env={"PORT": str(port)}).cpu),
        peer=1000 * median(3, lambda: run(theirs).cpu),
        beside="a process that opens the pickle and scores",
    )


def requests(job: Job, name: str, port: int) -> Figure:
    """Return the CPU of one request beside MLflow's scoring server, after their labels were compared."""
    import pandas as pd

    frame = pd.read_parquet(job.work / "sample.parquet").head(100)
    rows = json.loads(frame.to_json(orient="records"))
    ours = [json.dumps(row).encode() for row in rows]
    theirs = [
        json.dumps(
            {"dataframe_split": json.loads(frame.iloc[[i]].to_json(orient="split"))}
        ).encode()
        for i in range(len(frame))
    ]
    other = free_port()
    words = ["-m", "mlflow", "models", "serve", "--model-uri", str(job.pickle.parent)]
    words += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(other)]
    with server([sys.executable, *words], job.environment) as peer:
        first_answer(other, "/invocations", theirs[0])
        labels = [_label(Client(port).post("/predict", body)) for body in ours[:20]]
        wanted = [
            Client(other).post("/invocations", body)["predictions"][0] for body in theirs[:20]
        ]
        assert labels == wanted, "the two servers answer different labels"
        pid = int(docker("inspect", "--format", "{{.State.Pid}}", name))
        return Figure(
            what="one request: the server's CPU",
            unit="ms",
            ours=cost_of_requests(pid, port, "/predict", ours, ASKED),
            peer=cost_of_requests(peer, other, "/invocations", theirs, ASKED),
            beside="MLflow's scoring server",
        )


def _label(answer: dict[str, Any]) -> object:
    return next(value for value in answer.values() if isinstance(value, str))


def measure() -> list[Figure]:
    """Return every figure of the main job."""
    with tempfile.TemporaryDirectory(prefix="cannery-bench-") as folder:
        job = Job(Path(folder))
        try:
            figures = builds(job)
            figures.append(starts("cannery-bench:v2"))
            port = free_port()
            with container("cannery-bench:v2", port) as name:
                first_answer(port, "/predict", BODY)
                figures += [checks(job, port), requests(job, name, port)]
        finally:
            for tag in ("cannery-bench:v1", "cannery-bench:v2"):
                subprocess.run(["docker", "rmi", "--force", tag], capture_output=True, check=False)
    return figures


if __name__ == "__main__":
    main(__doc__, measure)
