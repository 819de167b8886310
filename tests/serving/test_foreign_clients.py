"""Clients of other projects ask the service as they would ask their own."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from churn_cans import RECORDS, MakeCan, expected, running

from cannery.indexes import index_environment
from cannery.processes import run

MLFLOW = """
import json, sys
import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

client = ScoringServerClient("127.0.0.1", int(sys.argv[1]))
client.ping()
answer = client.invoke(pd.DataFrame(json.loads(sys.argv[2])))
print(answer.get_predictions().to_json(orient="records"))
"""


def test_mlflows_own_client_is_answered(make_can: MakeCan) -> None:
    """It pings, sends a data frame, and makes a data frame of the answer."""
    with running(make_can().folder) as service:
        words = [sys.executable, "-c", MLFLOW, str(service.port), json.dumps(RECORDS)]
        said = run(words, timeout=120)
    assert said.status == 0, said.stderr.decode()
    answers = json.loads(said.stdout.splitlines()[-1])
    assert answers == [pytest.approx(expected(record)) for record in RECORDS]


TRITON = """
import json, sys
import numpy as np
import tritonclient.http as triton

client = triton.InferenceServerClient(f"127.0.0.1:{sys.argv[1]}")
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("churn")
types = {t["name"]: t["datatype"] for t in client.get_model_metadata("churn")["inputs"]}
numpy_of = {"INT64": np.int64, "FP64": np.float64, "BYTES": object}
records = json.loads(sys.argv[2])
for binary in (True, False):
    inputs = []
    for name, datatype in types.items():
        values = np.array([r[name] for r in records], dtype=numpy_of[datatype])
        inputs.append(triton.InferInput(name, list(values.shape), datatype))
        inputs[-1].set_data_from_numpy(values, binary_data=binary)
    outputs = [triton.InferRequestedOutput("churn_probability", binary_data=binary)]
    answer = client.infer("churn", inputs, outputs=outputs, request_compression_algorithm="gzip")
    print(json.dumps(answer.as_numpy("churn_probability").tolist()))
client.close()
"""


@pytest.mark.network
def test_tritons_client_is_answered(make_can: MakeCan) -> None:
    """It asks for the metadata and infers from it, by raw bytes and by JSON, packed by gzip.

    In an environment of its own: it wants other versions of what we use.
    """
    uv = [str(Path(sys.executable).with_name("uv")), "run", "--quiet", "--isolated", "--no-project"]
    with running(make_can().folder) as service:
        words = ["python", "-c", TRITON, str(service.port), json.dumps(RECORDS)]
        env = {**os.environ, **index_environment()}
        said = run([*uv, "--with", "tritonclient[http]==2.73.0", *words], env=env, timeout=240)
    assert said.status == 0, said.stderr.decode()
    wanted = [expected(record)["churn_probability"] for record in RECORDS]
    assert [json.loads(line) for line in said.stdout.splitlines()] == [pytest.approx(wanted)] * 2
