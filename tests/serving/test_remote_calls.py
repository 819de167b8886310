"""The Open Inference Protocol over gRPC: the same decisions as over REST, under gRPC's own manners."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from churn_cans import (
    RECORDS,
    MakeCan,
    Running,
    environment,
    expected,
    program,
    running,
    sealed,
)

from cannery.engines.asking import free_port
from cannery.indexes import index_environment
from cannery.processes import run
from cannery.serving.protobufs import MESSAGES

INFER = "/inference.GRPCInferenceService/ModelInfer"
CHECK = "/grpc.health.v1.Health/Check"


class Remote:
    """A service with a port for remote calls."""

    def __init__(self, service: Running, port: int, channel: grpc.Channel) -> None:
        self.service = service
        self.port = port
        self.channel = channel

    def call(self, path: str, message: Any = b"", **options: Any) -> Any:
        """Return the bytes that a method answers."""
        data = message if isinstance(message, bytes) else message.SerializeToString()
        return self.channel.unary_unary(path)(data, timeout=20, **options)

    def infer(self, message: Any, **options: Any) -> Any:
        """Return the reply to a ModelInferRequest."""
        return MESSAGES["ModelInferResponse"].FromString(self.call(INFER, message, **options))

    def refused(self, path: str, message: Any = b"", **options: Any) -> tuple[grpc.StatusCode, str]:
        """Return how a method refuses."""
        with pytest.raises(grpc.RpcError) as refusal:
            self.call(path, message, **options)
        return refusal.value.code(), refusal.value.details()


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """Return a running service that takes remote calls."""
    port = free_port()
    can = sealed(tmp_path_factory.mktemp("remote") / "churn.can")
    with (
        running(can.folder, GRPC_PORT=str(port), MAX_BODY="20000") as service,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield Remote(service, port, channel)


PROBABILITIES = [expected(record)["churn_probability"] for record in RECORDS]


def question(**changes: Any) -> Any:
    """Return RECORDS as typed tensors."""
    tensors = [
        {
            "name": "contract",
            "datatype": "BYTES",
            "contents": {"bytes_contents": [b"month", b"year"]},
        },
        {
            "name": "monthly charges",
            "datatype": "FP64",
            "contents": {"fp64_contents": [89.1, 20.0]},
        },
        {"name": "tenure", "datatype": "INT32", "contents": {"int_contents": [2, 60]}},
    ]
    inputs = [{**tensor, "shape": [2]} for tensor in tensors]
    return MESSAGES["ModelInferRequest"](**{"model_name": "churn", "inputs": inputs, **changes})


def parameter(key: str, **value: Any) -> dict[str, Any]:
    """Return a parameter of a request or an output."""
    return {"key": key, "value": value}


def test_typed_tensors_are_answered_by_typed_tensors(remote: Remote) -> None:
    """A tensor for each answered field, the caller's id, and which model it was."""
    reply = remote.infer(question(id="seven"))
    assert (reply.model_name, reply.model_version, reply.id) == ("churn", "3", "seven")
    found = {tensor.name: tensor for tensor in reply.outputs}
    assert list(found["churn_probability"].contents.fp64_contents) == pytest.approx(PROBABILITIES)
    labels = [expected(record)["label"].encode() for record in RECORDS]
    assert list(found["label"].contents.bytes_contents) == labels
    assert [list(tensor.shape) for tensor in reply.outputs] == [[2], [2]]


def test_raw_tensors_are_answered_by_raw_tensors(remote: Remote) -> None:
    """The same numbers to the bit as REST answers."""
    texts = b"".join(struct.pack("<I", len(t)) + t for t in (b"month", b"year"))
    raw = [texts, struct.pack("<2d", 89.1, 20.0), struct.pack("<2i", 2, 60)]
    asked = question(raw_input_contents=raw, outputs=[{"name": "churn_probability"}])
    for tensor in asked.inputs:
        tensor.ClearField("contents")
    reply = remote.infer(asked)
    told = httpx.post(remote.service.url + "/predict", json=RECORDS).json()
    wanted = [answer["churn_probability"] for answer in told]
    assert list(struct.unpack("<2d", reply.raw_output_contents[0])) == wanted


def test_callers_choose_fields_and_the_threshold(remote: Remote) -> None:
    """By `outputs` and by `parameters`."""
    chosen = question(
        outputs=[{"name": "label"}], parameters=[parameter("threshold", double_param=0.0)]
    )
    (label,) = remote.infer(chosen).outputs
    assert list(label.contents.bytes_contents) == [b"Yes", b"Yes"]


def other(index: int, **changes: Any) -> Any:
    """Return the question with another tensor in one place."""
    asked = question()
    asked.inputs[index].MergeFrom(MESSAGES["Tensor"](**changes))
    return asked


REFUSED = {
    "no message": (b"\x0a\xff", "the message is no ModelInferRequest"),
    "no inputs": (question(inputs=[]), "'inputs'"),
    "another type": (other(2, datatype="BYTES"), "has int_contents, not bytes_contents"),
    "two contents": (other(1, contents={"fp32_contents": [1]}), "not fp64_contents"),
    "unknown type": (other(1, datatype="FP16"), "'inputs[1]' has fp64_contents, not raw bytes"),
    "not utf-8": (other(0, contents={"bytes_contents": [b"\xff"]}), "not UTF-8"),
    "shape": (other(1, shape=[2]), "has 2 values for the shape [2, 2]"),
    "raw of another number": (question(raw_input_contents=[b""]), "1 raw contents for 3 inputs"),
    "twice": (other(2, name="contract", datatype="INT32"), "the input 'contract' appears twice"),
    "threshold": (
        question(parameters=[parameter("threshold", string_param="high")]),
        "parameters.threshold: expected a number from 0 to 1",
    ),
    "output": (question(outputs=[{"name": "lable"}]), "outputs[0].name: expected one of"),
    "more values": (other(1, contents={"fp64_contents": [1.0]}), "has 3 values for the shape [2]"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_can_not_be_meant_is_refused(remote: Remote, kind: str) -> None:
    """As an invalid argument that says what and where."""
    message, words = REFUSED[kind]
    code, details = remote.refused(INFER, message)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert words in details


def test_every_issue_is_told_at_once(remote: Remote) -> None:
    """The records' schema is the same as everywhere."""
    asked = question()
    asked.inputs[1].contents.fp64_contents[:] = [float("inf"), float("nan")]
    _, details = remote.refused(INFER, asked)
    assert '[0]["monthly charges"]: expected a finite number' in details
    assert '[1]["monthly charges"]: expected a finite number' in details


def test_another_model_is_not_found(remote: Remote) -> None:
    """By name, and by version."""
    for changes in ({"model_name": "other"}, {"model_version": "4"}):
        code, details = remote.refused(INFER, question(**changes))
        assert code is grpc.StatusCode.NOT_FOUND
        assert "but 'churn'" in details
    code, _ = remote.refused("/inference.GRPCInferenceService/ModelStreamInfer")
    assert code is grpc.StatusCode.UNIMPLEMENTED


def test_a_message_over_the_limit_is_refused(remote: Remote) -> None:
    """MAX_BODY holds here too."""
    code, _ = remote.refused(INFER, question(id="x" * 30_000))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_health_and_metadata_are_told(remote: Remote) -> None:
    """What orchestrators and clients ask before they send anything."""
    assert MESSAGES["HealthCheckResponse"].FromString(remote.call(CHECK)).status == 1
    unknown = MESSAGES["HealthCheckRequest"](service="other")
    assert remote.refused(CHECK, unknown)[0] is grpc.StatusCode.NOT_FOUND
    data = remote.call("/inference.GRPCInferenceService/ModelMetadata", b"\n\x05churn")
    about = MESSAGES["ModelMetadataResponse"].FromString(data)
    assert [(t.name, t.datatype, *t.shape) for t in about.inputs] == [
        ("tenure", "INT64", -1),
        ("contract", "BYTES", -1),
        ("monthly charges", "FP64", -1),
    ]


def test_answers_carry_ids_and_are_counted(remote: Remote) -> None:
    """The caller's request id comes back with the model's digest; the metrics know the method."""
    ask = remote.channel.unary_unary(INFER)
    data = question().SerializeToString()
    _, call = ask.with_call(data, metadata=(("x-request-id", "abc"),), timeout=20)
    trailer = dict(call.trailing_metadata())
    assert trailer["x-request-id"] == "abc"
    assert trailer["x-model-version"] == "3"
    metrics = httpx.get(remote.service.url + "/metrics").text
    assert f'http_requests_total{{method="POST",path="{INFER}",code="200"}}' in metrics


def test_a_token_is_asked_for(make_can: MakeCan, tmp_path: Path) -> None:
    """Of everybody but probes."""
    (tmp_path / "token").write_text("secret")
    port = free_port()
    variables = {"GRPC_PORT": str(port), "TOKEN_FILE": str(tmp_path / "token"), "WORKERS": "2"}
    with (
        running(make_can().folder, **variables) as service,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        remote = Remote(service, port, channel)
        assert remote.call(CHECK)
        assert remote.refused(INFER, question())[0] is grpc.StatusCode.UNAUTHENTICATED
        assert remote.infer(question(), metadata=(("authorization", "Bearer secret"),)).outputs


def test_a_watcher_hears_that_the_service_leaves(make_can: MakeCan) -> None:
    """SIGTERM: not serving is told, and the process ends by itself with status 0."""
    port = free_port()
    with (
        running(make_can().folder, GRPC_PORT=str(port)) as service,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=20)
        states = (MESSAGES["HealthCheckResponse"].FromString(data).status for data in watch)
        assert next(states) == 1
        service.process.send_signal(signal.SIGTERM)
        assert list(states) == [2]
        status, complaint = service.end()
    assert status == 0
    assert "Traceback" not in complaint


def test_watchers_leave_room_for_calls(remote: Remote) -> None:
    """Those over their number are refused at once, everybody else is answered; who leaves makes room."""
    watch = remote.channel.unary_stream("/grpc.health.v1.Health/Watch")
    watching = [watch(b"", timeout=20) for _ in range(20)]
    assert all(next(one) for one in watching)
    with pytest.raises(grpc.RpcError) as refusal:
        next(watch(b"", timeout=20))
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert remote.infer(question()).outputs
    for one in watching:
        one.cancel()
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            assert next(watch(b"", timeout=1))
            return
        except grpc.RpcError:
            time.sleep(0.1)
    raise AssertionError("nobody made room")


def test_a_call_without_a_message_is_not_waited_for_long(remote: Remote) -> None:
    """One that needs no token has five seconds."""
    silent = threading.Event()

    def nothing() -> Iterator[bytes]:
        silent.wait(20)
        yield b""

    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as refusal:
        remote.channel.stream_unary(CHECK)(nothing(), timeout=20)
    silent.set()
    assert refusal.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "not here in time" in refusal.value.details()
    assert time.monotonic() - began < 12


def test_a_port_that_is_taken_ends_the_start(make_can: MakeCan) -> None:
    """With one line, before anything listens."""
    with socket.create_server(("127.0.0.1", 0)) as other_:
        port = other_.getsockname()[1]
        said = run(program(), env=environment(make_can().folder, PORT="0", GRPC_PORT=str(port)))
    assert said.status == 2
    assert f"can't listen on 127.0.0.1:{port}" in said.stderr.decode()


TRITON = """
import json, sys
import numpy as np
import tritonclient.grpc as triton

client = triton.InferenceServerClient(f"127.0.0.1:{sys.argv[1]}")
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("churn")
types = {t.name: t.datatype for t in client.get_model_metadata("churn").inputs}
numpy_of = {"INT64": np.int64, "FP64": np.float64, "BYTES": object}
records = json.loads(sys.argv[2])
inputs = []
for name, datatype in types.items():
    values = np.array([r[name] for r in records], dtype=numpy_of[datatype])
    inputs.append(triton.InferInput(name, list(values.shape), datatype))
    inputs[-1].set_data_from_numpy(values)
answer = client.infer("churn", inputs, compression_algorithm="gzip")
print(json.dumps(answer.as_numpy("churn_probability").tolist()))
print(json.dumps([label.decode() for label in answer.as_numpy("label")]))
client.close()
"""


@pytest.mark.network
def test_tritons_client_calls(remote: Remote) -> None:
    """It asks for the metadata and infers from it, with its own messages, packed by gzip."""
    uv = [str(Path(sys.executable).with_name("uv")), "run", "--quiet", "--isolated", "--no-project"]
    words = ["python", "-c", TRITON, str(remote.port), json.dumps(RECORDS)]
    env = {**os.environ, **index_environment()}
    said = run([*uv, "--with", "tritonclient[grpc]==2.73.0", *words], env=env, timeout=240)
    assert said.status == 0, said.stderr.decode()
    probabilities, labels = map(json.loads, said.stdout.splitlines())
    assert probabilities == pytest.approx(PROBABILITIES)
    assert labels == [expected(record)["label"] for record in RECORDS]
