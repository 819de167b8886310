"""A small graph written by hand, cans around it, and services in processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from cannery.blobs import canonical_json
from cannery.cans.manifest import AuditSummary, CanManifest, CanSource, Feed
from cannery.cans.open import Can
from cannery.cans.seal import seal
from cannery.engines.asking import free_port
from cannery.processes import started
from cannery.serving.http import Application
from cannery.signatures import Canary, Feature, Output, Signature

MakeCan = Callable[..., Can]

SIGNATURE = Signature(
    features=(
        Feature(name="tenure", type="long", minimum=0, maximum=72),
        Feature(name="contract", type="string", categories=("month", "year")),
        Feature(name="monthly charges", type="double"),
    ),
    outputs=(
        Output(name="label", type="string", tensor="label", classes=("No", "Yes")),
        Output(
            name="churn_probability",
            type="double",
            tensor="probabilities",
            column=1,
            classes=("Yes",),
            probability=True,
        ),
    ),
)
FEEDS = (
    Feed(input="numbers", dtype="float64", features=("tenure", "monthly charges")),
    Feed(input="texts", dtype="string", features=("contract",)),
)
RECORD = {"tenure": 2, "contract": "month", "monthly charges": 89.1}
RECORDS = (RECORD, {"tenure": 60, "contract": "year", "monthly charges": 20.0})


def expected(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the graph answers, computed without it."""
    code = {"month": 0.5, "year": -0.5}.get(record["contract"], 0.0)
    z = record["tenure"] * -0.05 + record["monthly charges"] * 0.01 + code
    probability = 1 / (1 + np.exp(-z))
    return {
        "label": "Yes" if probability > 0.5 else "No",
        "churn_probability": float(probability),
    }


def make_graph(*, factor: float = 1.0) -> bytes:
    """Return a logistic model of SIGNATURE; its probability is multiplied by `factor` (NaN, 10 …)."""
    nodes = [
        helper.make_node(
            "LabelEncoder",
            ["texts"],
            ["code32"],
            domain="ai.onnx.ml",
            keys_strings=["month", "year"],
            values_floats=[0.5, -0.5],
            default_float=0.0,
        ),
        helper.make_node("Cast", ["code32"], ["code"], to=TensorProto.DOUBLE),
        helper.make_node("MatMul", ["numbers", "weights"], ["weighted"]),
        helper.make_node("Add", ["weighted", "code"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["sigmoid"]),
        helper.make_node("Mul", ["sigmoid", "factor"], ["yes"]),
        helper.make_node("Sub", ["one", "yes"], ["no"]),
        helper.make_node("Concat", ["no", "yes"], ["probabilities"], axis=1),
        helper.make_node("Greater", ["sigmoid", "half"], ["over"]),
        helper.make_node("Cast", ["over"], ["index2"], to=TensorProto.INT64),
        helper.make_node("Squeeze", ["index2", "axes"], ["index"]),
        helper.make_node(
            "LabelEncoder",
            ["index"],
            ["label"],
            domain="ai.onnx.ml",
            keys_int64s=[0, 1],
            values_strings=["No", "Yes"],
        ),
    ]
    constants = {
        "weights": np.array([[-0.05], [0.01]]),
        "factor": np.array([factor]),
        "one": np.array([1.0]),
        "half": np.array([0.5]),
        "axes": np.array([1]),
    }
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.STRING, [None]),
        helper.make_tensor_value_info("probabilities", TensorProto.DOUBLE, [None, 2]),
    ]
    graph = helper.make_graph(
        nodes,
        "churn",
        [
            helper.make_tensor_value_info("numbers", TensorProto.DOUBLE, [None, 2]),
            helper.make_tensor_value_info("texts", TensorProto.STRING, [None, 1]),
        ],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return _model(graph).SerializeToString()


def _model(graph: Any) -> ModelProto:
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 4)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def make_manifest(**changes: Any) -> CanManifest:
    """Return the manifest of a can around the graph."""
    digest = "sha256:" + "0" * 64
    values: dict[str, Any] = {
        "name": "churn",
        "version": "3",
        "source": CanSource(
            given="models:/churn@champion", resolved="models:/churn/3", digest=digest, format="onnx"
        ),
        "runtime": "onnx",
        "model": "model.onnx",
        "task": "classifier",
        "signature": SIGNATURE,
        "feeds": FEEDS,
        "files": {},
        "audit": AuditSummary(verdict="safe", names=0, policy=digest, sandbox="none"),
    }
    return CanManifest(**{**values, **changes})


def sealed(
    folder: Path, *, graph: bytes | None = None, canary: Canary | None = None, **changes: Any
) -> Can:
    """Seal a can around the graph, or around another; `changes` are its manifest's."""
    canary = canary or Canary(records=RECORDS, outputs=tuple(map(expected, RECORDS)))
    files = {"model.onnx": graph or make_graph(), "canary.json": canonical_json(canary)}
    return seal(make_manifest(**changes), files, folder, force=True)


class Caller:
    """Calls an application in this process."""

    def __init__(self, app: Application) -> None:
        self._app = app

    def __call__(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send one request and return its response."""

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                return await client.request(method, path, **options)

        return asyncio.run(send())


class Running:
    """A service in a process of its own."""

    def __init__(self, process: Any, port: int, scheme: str) -> None:
        self.process = process
        self.port = port
        self.url = f"{scheme}://127.0.0.1:{port}"

    def end(self) -> tuple[int, str]:
        """Wait for its end; return its exit status and what it wrote to stderr."""
        _, complaint = self.process.communicate(timeout=30)
        return self.process.returncode, complaint.decode()


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def program(*words: str) -> list[str]:
    """Return the words that start the program inside an image."""
    return [sys.executable, "-m", "cannery.serving", *words]


def environment(can: Path | None = None, **variables: str) -> dict[str, str]:
    """Return the environment for the program."""
    kept = {key: os.environ[key] for key in ("PATH", "PYTHONPATH") if key in os.environ}
    own = {"CANNERY_CAN": str(can)} if can else {}
    return {**kept, "HOST": "127.0.0.1", **own, **variables}


@contextmanager
def running(
    can: Path, *, words: Sequence[str] | None = None, **variables: str
) -> Iterator[Running]:
    """Serve a can in a process of its own until the block ends; `words` start it otherwise than an image does."""
    port = free_port()
    with started(words or program(), env=environment(can, PORT=str(port), **variables)) as process:
        service = Running(process, port, "https" if "TLS_CERT" in variables else "http")
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            try:
                httpx.get(service.url + "/livez", verify=False)
                break
            except httpx.TransportError:
                time.sleep(0.02)
        yield service


def errors_of(response: httpx.Response) -> list[tuple[str, str, str]]:
    """Return the issues of an error response as (path, expected, got)."""
    issues = json.loads(response.content)["error"]["issues"]
    return [(i["path"], i["expected"], i["got"]) for i in issues]
