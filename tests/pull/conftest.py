"""A real tracking server that serves artifacts over HTTP, a registered model in it, and cans."""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from small_cans import make_can

from cannery.cans.open import Can
from cannery.engines.asking import free_port
from cannery.processes import run, started

LOG = """
import sys, mlflow
from sklearn.dummy import DummyClassifier
mlflow.set_tracking_uri(sys.argv[1])
with mlflow.start_run() as run:
    info = mlflow.sklearn.log_model(
        DummyClassifier().fit([[0], [1]], [0, 1]), name="model", serialization_format="pickle",
        pip_requirements=["scikit-learn"])
client = mlflow.MlflowClient()
client.create_registered_model("churn")
for _ in range(2):
    version = client.create_model_version(
        "churn", source=info.model_uri, run_id=run.info.run_id, model_id=info.model_id)
client.set_registered_model_alias("churn", "champion", "1")
client.transition_model_version_stage("churn", "1", "Production")
print(run.info.run_id, info.model_id)
"""

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """Run `mlflow server` with one model of two versions; yield its address and what is in it."""
    folder = tmp_path_factory.mktemp("tracking")
    port = free_port()
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    words += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--workers", "1"]
    words += ["--serve-artifacts", "--artifacts-destination", str(folder / "artifacts")]
    with (
        (folder / "log").open("wb") as out,
        started(words, env=os.environ | QUIET, cwd=folder, stdout=out, stderr=out) as process,
    ):
        uri = f"http://127.0.0.1:{port}"
        for _ in range(600):
            assert process.poll() is None, (folder / "log").read_text()
            with suppress(httpx.TransportError):
                if httpx.get(f"{uri}/health").status_code == 200:
                    break
            time.sleep(0.2)
        logged = run(
            [sys.executable, "-W", "ignore", "-c", LOG, uri], env=os.environ | QUIET, cwd=folder
        )
        assert logged.ok, logged.complaint
        run_id, model_id = logged.stdout.decode().split()[-2:]
        yield SimpleNamespace(
            uri=uri, port=port, run_id=run_id, model_id=model_id, artifacts=folder / "artifacts"
        )


@pytest.fixture
def can(tmp_path: Path) -> Can:
    """A sealed can."""
    return make_can(tmp_path / "churn.can")


@contextmanager
def forwarded(port: int) -> Iterator[int]:
    """Offer a loopback port that leads to `port`; when the block ends, nobody listens there any more."""
    listener = socket.create_server(("127.0.0.1", 0))

    def carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def serve(near: socket.socket) -> None:
        with near, socket.create_connection(("127.0.0.1", port)) as far:
            answer = threading.Thread(target=carry, args=(far, near))
            answer.start()
            carry(near, far)
            answer.join()

    def accept() -> None:
        with suppress(OSError):
            while True:
                threads.append(threading.Thread(target=serve, args=(listener.accept()[0],)))
                threads[-1].start()

    threads = [threading.Thread(target=accept)]
    threads[0].start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in threads:
            thread.join()


@pytest.fixture
def forward(server: SimpleNamespace) -> Callable[[], object]:
    """Return a context manager: a port that leads to the server until the block ends."""
    return lambda: forwarded(server.port)


@pytest.fixture
def port() -> int:
    """A loopback port that nobody uses."""
    return free_port()
