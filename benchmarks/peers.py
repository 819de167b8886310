"""Other servers of a can's graph, as one would write them by hand: peers.py KIND PORT, with CANNERY_CAN set.

They ask ONNX Runtime for the same graph, without any check of a request. LitServe needs a Python of its
own, `pip install litserve onnxruntime numpy`, named by PEERS.
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
    """LitServe, one worker."""
    import litserve as ls

    class Api(ls.LitAPI):
        def setup(self, device: str) -> None:
            self.model = Model()

        def predict(self, asked: dict[str, Any]) -> list[float]:
            return self.model.score(asked["records"])

    ls.LitServer(Api(), accelerator="cpu", workers_per_device=1).run(
        host="127.0.0.1", port=port, generate_client_file=False, log_level="error"
    )


if __name__ == "__main__":
    {"fastapi": fastapi, "litserve": litserve}[sys.argv[1]](int(sys.argv[2]))
