"""A small graph written by hand, and the can around it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from cannery.blobs import canonical_json
from cannery.cans.manifest import AuditSummary, CanManifest, CanSource, Feed
from cannery.cans.open import Can
from cannery.cans.seal import seal
from cannery.signatures import Canary, Feature, Output, Signature

SIGNATURE = Signature(
    features=(
        Feature(name="tenure", type="long"),
        Feature(name="charges", type="double"),
        Feature(name="contract", type="string"),
    ),
    outputs=(
        Output(name="label", type="string", tensor="label", classes=("No", "Yes")),
        Output(name="churn", type="double", tensor="probabilities", column=1, probability=True),
    ),
)


def probability(tenure: float, charges: float, contract: str) -> float:
    """Return what the graph answers, computed without it."""
    z = -0.05 * tenure + 0.01 * charges + (0.5 if contract == "month" else 0.0)
    return float(1 / (1 + np.exp(-z)))


def graph(weight: float = -0.05) -> bytes:
    """Return a logistic model of SIGNATURE."""
    nodes = [
        helper.make_node(
            "LabelEncoder",
            ["texts"],
            ["code32"],
            domain="ai.onnx.ml",
            keys_strings=["month"],
            values_floats=[0.5],
            default_float=0.0,
        ),
        helper.make_node("Cast", ["code32"], ["code"], to=TensorProto.DOUBLE),
        helper.make_node("MatMul", ["numbers", "weights"], ["weighted"]),
        helper.make_node("Add", ["weighted", "code"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["yes"]),
        helper.make_node("Sub", ["one", "yes"], ["no"]),
        helper.make_node("Concat", ["no", "yes"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["index"], axis=1, keepdims=0),
        helper.make_node(
            "LabelEncoder",
            ["index"],
            ["label"],
            domain="ai.onnx.ml",
            keys_int64s=[0, 1],
            values_strings=["No", "Yes"],
        ),
    ]
    constants = {"weights": np.array([[weight], [0.01]]), "one": np.array([1.0])}
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "churn",
            [
                helper.make_tensor_value_info("numbers", TensorProto.DOUBLE, [None, 2]),
                helper.make_tensor_value_info("texts", TensorProto.STRING, [None, 1]),
            ],
            [
                helper.make_tensor_value_info("label", TensorProto.STRING, [None]),
                helper.make_tensor_value_info("probabilities", TensorProto.DOUBLE, [None, 2]),
            ],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 4)],
        ir_version=10,
    )
    return model.SerializeToString()


def make_can(
    folder: Path, *, name: str = "churn", version: str = "1", weight: float = -0.05
) -> Can:
    """Seal the graph into a can at `folder`."""
    digest = "sha256:" + "0" * 64
    manifest = CanManifest(
        name=name,
        version=version,
        source=CanSource(given="model.onnx", resolved="model.onnx", digest=digest, format="onnx"),
        runtime="onnx",
        model="model.onnx",
        task="classifier",
        signature=SIGNATURE,
        feeds=(
            Feed(input="numbers", dtype="float64", features=("tenure", "charges")),
            Feed(input="texts", dtype="string", features=("contract",)),
        ),
        files={},
        audit=AuditSummary(verdict="safe", names=0, policy=digest, sandbox="none"),
    )
    record = {"tenure": 2, "charges": 89.1, "contract": "month"}
    answer = {"label": "Yes", "churn": probability(2, 89.1, "month")}
    files = {
        "model.onnx": graph(weight),
        "canary.json": canonical_json(Canary(records=(record,), outputs=(answer,))),
    }
    return seal(manifest, files, folder)
