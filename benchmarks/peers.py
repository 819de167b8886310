"""Other servers of a can's graph, as their manuals show: peers.py KIND PORT, with CANNERY_CAN set.

They ask ONNX Runtime for the same graph, without any check of a request. Each stands in an environment
of its own, which `serving.py` makes.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

CAN = Path(os.environ["CANNERY_CAN"])
TYPES = {"float64": np.float64, "float32": np.float32, "int64": np.int64, "string": object}


class Model:
    """The graph, fed column by column."""

    def __init__(self) -> None:
        self.feeds = json.loads((CAN / "can.json").read_text())["feeds"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            (CAN / "model.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
        )

    def score(self, records: list[dict[str, Any]]) -> list[float]:
        """Return the probabilities of the second class."""
        inputs = {
            feed["input"]: np.array(
                [[record[name] for name in feed["features"]] for record in records],
                dtype=TYPES[feed["dtype"]],
            )
            for feed in self.feeds
        }
        (probabilities,) = self.session.run(["probabilities"], inputs)
        return [float(value) for value in probabilities[:, 1]]


def fastapi(port: int) -> None:
    """FastAPI on uvicorn."""
    import uvicorn
    from fastapi import FastAPI

    model, app = Model(), FastAPI()

    @app.post("/predict")
    async def predict(asked: dict[str, list[dict[str, float | int | str]]]) -> list[float]:
        return model.score(asked["records"])

    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="error")


def litserve(port: int) -> None:
    """LitServe, one worker, which imports its part by name."""
    import litserve as ls
    from peers_litserve import Api

    ls.LitServer(Api(), accelerator="cpu", workers_per_device=1).run(
        host="127.0.0.1", port=port, generate_client_file=False, log_level="error"
    )


def bentoml(port: int) -> None:
    """BentoML, one worker; it imports its service by name."""
    place = f"{Path(__file__).parent.name}.peers_bentoml:Churn"
    words = ["serve", place, "--port", str(port), "--host", "127.0.0.1"]
    os.chdir(Path(__file__).parent.parent)
    os.execv(sys.executable, [sys.executable, "-m", "bentoml", *words])


def kserve(port: int) -> None:
    """KServe's SDK, one worker, its first protocol."""
    from kserve import Model as Served
    from kserve import ModelServer

    class Churn(Served):
        def load(self) -> bool:
            self.model = Model()
            self.ready = True
            return True

        def predict(self, payload: Any, headers: Any = None) -> Any:
            return {"predictions": self.model.score(payload["instances"])}

    churn = Churn("churn")
    churn.load()
    ModelServer(http_port=port, enable_grpc=False, workers=1, access_log_format=None).start([churn])


def mlserver(port: int) -> None:
    """MLServer without a pool of workers, the Open Inference Protocol; it imports its model by name."""
    import asyncio

    from mlserver import MLServer, ModelSettings, Settings

    async def serve() -> None:
        ports = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2}
        server = MLServer(Settings(parallel_workers=0, host="127.0.0.1", debug=False, **ports))
        await server.start([ModelSettings(name="churn", implementation="peers_mlserver.Churn")])

    asyncio.run(serve())


KINDS = {k.__name__: k for k in (bentoml, fastapi, kserve, litserve, mlserver)}

if __name__ == "__main__":
    KINDS[sys.argv[1]](int(sys.argv[2]))
