"""The program inside an image: start, health, drain and end, in processes of their own."""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
import time
from functools import partial
from pathlib import Path

import httpx
import pytest
from churn_cans import (
    RECORD,
    RECORDS,
    MakeCan,
    environment,
    expected,
    make_graph,
    program,
    running,
)

import cannery.serving.probe
from cannery.engines.asking import free_port
from cannery.processes import Finished, run, started
from cannery.serving.settings import found_can
from cannery.signatures import Canary

PROBE = [sys.executable, "-I", "-S", cannery.serving.probe.__file__]


def ended(*words: str, can: Path | None = None, **variables: str) -> Finished:
    """Run the program to its end."""
    return run(program(*words), env=environment(can, **variables), timeout=60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_service_with_status_0(make_can: MakeCan, number: int) -> None:
    """It serves, is told to end, and ends well."""
    with running(make_can().folder) as service:
        answer = httpx.post(service.url + "/predict", json=RECORD).json()
        assert answer == pytest.approx(expected(RECORD))
        service.process.send_signal(number)
        status, log = service.end()
    assert status == 0
    assert "serving churn 3 (sha256:" in log
    assert log.count("\n") == 2


def test_what_is_in_flight_is_answered_before_the_end(make_can: MakeCan) -> None:
    """A long request that runs when SIGTERM comes gets its whole answer; the status is 0."""
    answers = []
    with running(make_can().folder) as service:

        def ask() -> None:
            with httpx.Client(timeout=60) as client:
                answers.append(client.post(service.url + "/predict", json=[RECORD] * 100_000))

        asking = threading.Thread(target=ask)
        asking.start()
        while "http_requests_in_flight 2" not in httpx.get(service.url + "/metrics").text:
            if not asking.is_alive():  # it was answered between two looks
                asking = threading.Thread(target=ask)
                asking.start()
        service.process.send_signal(signal.SIGTERM)
        status, _ = service.end()
        asking.join()
    assert status == 0
    assert answers[-1].status_code == 200
    assert len(answers[-1].json()) == 100_000


def test_health_answers_while_a_large_request_is_scored(make_can: MakeCan) -> None:
    """The loop stays free: no probe waits for as long as the large request takes."""
    body = json.dumps([RECORD] * 200_000).encode()
    with (
        running(make_can().folder, MAX_BODY=str(len(body))) as service,
        httpx.Client(timeout=60) as client,
    ):

        def longest() -> float:
            """Return the share of a large request's time that the slowest probe waited."""
            post = partial(httpx.post, service.url + "/predict", content=body, timeout=60)
            asking = threading.Thread(target=post)
            began = time.perf_counter()
            asking.start()
            waits = []
            while asking.is_alive():
                asked = time.perf_counter()
                assert client.get(service.url + "/health").status_code == 200
                waits.append(time.perf_counter() - asked)
            return max(waits) / (time.perf_counter() - began)

        shares = [longest() for _ in range(2)]
        assert min(shares) < 0.5


def test_a_damaged_can_is_not_served(make_can: MakeCan) -> None:
    """A changed byte in the model: one line that names the file and both digests."""
    can = make_can()
    can.model_path.write_bytes(can.model()[:-1] + b"x")
    finished = ended(can=can.folder, PORT="0")
    assert finished.status == 2
    message = finished.stderr.decode()
    assert message.startswith("error: 'model.onnx' is damaged")
    assert message.count("sha256:") == 2
    assert message.count("\n") == 1


@pytest.mark.parametrize("factor", [float("nan"), 10.0])
def test_a_model_whose_canary_fails_is_not_served(make_can: MakeCan, factor: float) -> None:
    """NaN or a number outside [0, 1]: one line, status 1, for every command."""
    can = make_can(graph=make_graph(factor=factor))
    for command in ("serve", "smoke", "health"):
        finished = ended(command, can=can.folder, PORT=str(free_port()))
        assert finished.status == 1
        assert "'churn' 3 is not healthy" in finished.stderr.decode()
        assert finished.stderr.count(b"\n") == 1


def test_a_canary_with_other_fields_is_not_served(make_can: MakeCan) -> None:
    """A can whose schema is not that of its model is found before it listens."""
    canary = Canary(records=(RECORD,), outputs=({"label": "Yes"},))
    finished = ended(can=make_can(canary=canary).folder, PORT="0")
    assert finished.status == 1
    assert "'churn_probability'" in finished.stderr.decode()


def test_no_can_is_one_clear_line(tmp_path: Path) -> None:
    """A folder that is not there is status 2, with a hint and no traceback."""
    finished = ended(can=tmp_path / "nothing", PORT="0")
    assert finished.status == 2
    assert finished.stderr.decode().startswith("error: no can at")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "70000"),
        ("AIP_HTTP_PORT", "-1"),
        ("WORKERS", "0"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("MAX_BODY", "1e6"),
        ("HOST", "no such host"),
        ("AIP_HEALTH_ROUTE", "health"),
    ],
)
def test_an_impossible_setting_is_one_clear_line(name: str, value: str) -> None:
    """Status 2 and the value's name, before anything is loaded."""
    port = {} if "PORT" in name else {"PORT": str(free_port())}
    finished = ended(**port, **{name: value})
    message = finished.stderr.decode()
    assert finished.status == 2
    assert message.count("\n") == 1
    assert value in message


def test_a_path_that_no_system_takes_is_one_clear_line() -> None:
    """The system's own refusal is told without a traceback."""
    done = ended(MODEL_URI="x" * 5000)
    assert done.status == 2
    assert done.complaint.startswith("error: file name too long: 'xxx")
    assert "Traceback" not in done.complaint


def test_a_port_that_is_taken_is_one_clear_line(make_can: MakeCan) -> None:
    """Status 2, and what to do."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        finished = ended(can=make_can().folder, PORT=str(other.getsockname()[1]))
    assert finished.status == 2
    assert "address already in use" in finished.stderr.decode()


def test_an_unknown_command_is_status_2() -> None:
    """The three commands are named."""
    finished = ended("train")
    assert finished.status == 2
    assert "serve, health or smoke" in finished.stderr.decode()


def test_smoke_prints_the_canarys_answer(make_can: MakeCan) -> None:
    """One JSON line on stdout, status 0."""
    finished = ended("smoke", can=make_can().folder)
    assert finished.status == 0
    assert json.loads(finished.stdout) == pytest.approx(expected(RECORDS[0]))


def test_health_asks_the_running_service(make_can: MakeCan) -> None:
    """Both the program and the bare probe say 0 of a healthy service."""
    with running(make_can().folder) as service:
        port = str(service.port)
        assert ended("health", PORT=port).status == 0
        probe = run(PROBE, env={"PORT": port}, timeout=30)
    assert probe.status == 0
    assert json.loads(probe.stdout) == {"status": "healthy"}


def test_health_scores_the_canary_itself_when_nothing_runs(make_can: MakeCan) -> None:
    """The program loads the can; the bare probe only says that nobody answers."""
    can, port = make_can().folder, str(free_port())
    assert ended("health", can=can, PORT=port).status == 0
    assert ended("health", can=can / "nothing", PORT=port).status == 1
    probe = run(PROBE, env={"PORT": port}, timeout=30)
    assert probe.status == 1
    assert b"no answer on port" in probe.stdout


@pytest.mark.parametrize("answer", [b"HTTP/1.1 503 No\r\n\r\nill", b"SSH-2.0-x\r\n", b""])
def test_the_probe_takes_nothing_but_a_200(answer: bytes) -> None:
    """Another status, another protocol and silence are each unhealthy."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        environ = {"PORT": str(server.getsockname()[1])}
        with started(PROBE, env=environ) as probe:
            connection, _ = server.accept()
            connection.recv(1024)
            connection.sendall(answer)
            connection.close()
            assert probe.wait(30) == 1


def test_logs_can_be_json(make_can: MakeCan) -> None:
    """Every line is one JSON object with time and level."""
    with running(make_can().folder, LOG_FORMAT="json", LOG_LEVEL="debug") as service:
        httpx.get(service.url + "/version")
        service.process.send_signal(signal.SIGTERM)
        _, log = service.end()
    lines = [json.loads(line) for line in log.splitlines()]
    assert any("GET /version 200" in line["message"] for line in lines)
    assert all(line["time"].endswith("Z") for line in lines)


def test_no_payload_is_logged(make_can: MakeCan) -> None:
    """Even at `debug`, nothing of a request's body reaches the log."""
    with running(make_can().folder, LOG_LEVEL="debug") as service:
        httpx.post(service.url + "/predict", json={**RECORD, "contract": "secretplan"})
        httpx.post(service.url + "/predict", json={**RECORD, "tenure": "secretplan"})
        httpx.post(service.url + "/invocations", content=b"secretplan")
        service.process.send_signal(signal.SIGTERM)
        _, log = service.end()
    assert "POST /predict 422" in log
    assert "secretplan" not in log


def test_workers_share_the_port_and_a_killed_one_is_replaced(make_can: MakeCan) -> None:
    """Two processes answer; one is killed; the service goes on and still ends with status 0."""
    with running(make_can().folder, WORKERS="2") as service:
        children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
        first = children.read_text().split()
        assert len(first) == 2
        run(["kill", "-9", first[0]])
        while len(now := children.read_text().split()) < 2 or first[0] in now:
            time.sleep(0.05)
        with httpx.Client(transport=httpx.HTTPTransport(retries=20)) as client:
            assert client.post(service.url + "/predict", json=RECORD).status_code == 200
        service.process.send_signal(signal.SIGTERM)
        status, _ = service.end()
    assert status == 0


def test_workers_that_cannot_start_end_the_service(make_can: MakeCan) -> None:
    """An unhealthy can is not tried for ever."""
    can = make_can(graph=make_graph(factor=float("nan")))
    finished = ended(can=can.folder, PORT=str(free_port()), WORKERS="2")
    assert finished.status == 1
    assert "is not healthy" in finished.stderr.decode()


def test_tls_is_spoken_by_server_and_probes(make_can: MakeCan, tmp_path: Path) -> None:
    """With a certificate the service speaks TLS, and both probes ask it so."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    run([*made, "-nodes", "-subj", "/CN=here", "-out", str(cert), "-keyout", str(key)])
    tls = {"TLS_CERT": str(cert), "TLS_KEY": str(key)}
    with running(make_can().folder, **tls) as service:
        answer = httpx.post(service.url + "/predict", json=RECORD, verify=False).json()
        assert answer == pytest.approx(expected(RECORD))
        port = str(service.port)
        assert ended("health", PORT=port, **tls).status == 0
        assert run(PROBE, env={"PORT": port, **tls}, timeout=30).status == 0
        service.process.send_signal(signal.SIGTERM)
        assert service.end()[0] == 0


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"TLS_CERT": "/nowhere"}, "must be set together"),
        ({"TLS_CERT": "/nowhere", "TLS_KEY": "/nowhere"}, "TLS_CERT '/nowhere' can't be read"),
        ({"TLS_CERT": "/etc/passwd", "TLS_KEY": "/etc/passwd"}, "no certificate and its key"),
        ({"TOKEN_FILE": "/nowhere"}, "TOKEN_FILE '/nowhere' can't be read"),
        ({"TOKEN_FILE": "/dev/null"}, "holds no token"),
        ({"CORS_ORIGINS": "shop.example"}, "which is no origin"),
        ({"ACCESS_LOG": "loud"}, "ACCESS_LOG is 'loud'"),
        ({"QUEUE": "0"}, "QUEUE is '0'"),
    ],
)
def test_settings_that_cannot_be_meant_are_named(
    make_can: MakeCan, variables: dict[str, str], message: str
) -> None:
    """One line names the variable; nothing is served."""
    finished = ended(can=make_can().folder, PORT="0", **variables)
    assert finished.status == 2
    assert message in finished.stderr.decode()
    assert "Traceback" not in finished.stderr.decode()


def test_an_access_log_has_the_ids_of_request_and_trace(make_can: MakeCan) -> None:
    """One line a request on demand, with W3C trace context."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"x-request-id": "r-1", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    with running(make_can().folder, LOG_FORMAT="json", ACCESS_LOG="1") as service:
        httpx.post(service.url + "/predict", json=RECORD, headers=headers)
        service.process.send_signal(signal.SIGTERM)
        _, log = service.end()
    lines = [json.loads(line) for line in log.splitlines()]
    (line,) = [line for line in lines if line["message"].startswith("POST /predict 200")]
    assert (line["request_id"], line["trace_id"]) == ("r-1", trace)


def test_the_can_is_found_where_platforms_mount_models(make_can: MakeCan, tmp_path: Path) -> None:
    """The folder that Azure names may be the can, or hold it."""
    can = make_can().folder
    for place in (can, can.parent):
        assert found_can(tmp_path / "none", {"AZUREML_MODEL_DIR": str(place)}) == can
    assert found_can(tmp_path / "none", {}) == tmp_path / "none"
    assert found_can(can, {"AZUREML_MODEL_DIR": str(tmp_path)}) == can
