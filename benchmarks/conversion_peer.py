"""The common converters, used as their documentation shows: conversion_peer.py FOLDER ... (see conversion.py)."""

from __future__ import annotations

import json
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
from skl2onnx import convert_sklearn, update_registered_converter
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

OPSET = {"": 21, "ai.onnx.ml": 3}
TENSORS = {"string": StringTensorType, "long": Int64TensorType, "boolean": Int64TensorType}
NULL = "\0null"


def register() -> None:
    """Tell skl2onnx of the boosters, as onnxmltools documents it."""
    from lightgbm import LGBMClassifier, LGBMRegressor
    from xgboost import XGBClassifier, XGBRegressor, XGBRFClassifier

    proba = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    for kind, convert in (
        (LGBMClassifier, convert_lightgbm),
        (XGBClassifier, convert_xgboost),
        (XGBRFClassifier, convert_xgboost),
    ):
        update_registered_converter(
            kind, kind.__name__, calculate_linear_classifier_output_shapes, convert, options=proba
        )
    for kind, convert in ((LGBMRegressor, convert_lightgbm), (XGBRegressor, convert_xgboost)):
        update_registered_converter(
            kind, kind.__name__, calculate_linear_regressor_output_shapes, convert
        )


def converted(asked: dict[str, Any]) -> bytes:
    """Convert a model, from one tensor of floats where that will do, else from its columns."""
    columns = [(n, TENSORS.get(k, FloatTensorType)([None, 1])) for n, k in asked["features"]]
    ways: list[Any] = [columns]
    if all(kind != "string" for _, kind in asked["features"]):
        ways.insert(0, [("X", FloatTensorType([None, len(columns)]))])
    model = asked["model"]
    options: dict[Any, Any] = {CountVectorizer: {"locale": "C"}, TfidfVectorizer: {"locale": "C"}}
    if hasattr(model, "predict_proba"):
        options[id(model)] = {"zipmap": False}
    problem: Exception | None = None
    for types in ways:
        try:
            data = convert_sklearn(model, initial_types=types, target_opset=OPSET, options=options)
            graph: bytes = data.SerializeToString()
            # what can't be opened is no answer
            onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
            return graph
        except Exception as error:
            problem = problem or error
    raise RuntimeError(problem)


def session(asked: dict[str, Any]) -> Any:
    """Convert a model and open it."""
    return onnxruntime.InferenceSession(converted(asked), providers=["CPUExecutionProvider"])


def feeds(opened: Any, asked: dict[str, Any], numbers: Any, strings: Any) -> dict[str, Any]:
    """Return the inputs of a graph."""
    inputs = opened.get_inputs()
    if len(inputs) == 1 and inputs[0].name == "X":
        return {"X": numbers.astype(np.float32)}
    found, n, s = {}, 0, 0
    for name, kind in asked["features"]:
        if kind == "string":
            column, s = np.where(strings[:, [s]] == NULL, "", strings[:, [s]]), s + 1
        else:
            column, n = (
                numbers[:, [n]].astype(np.int64 if kind in ("long", "boolean") else np.float32),
                n + 1,
            )
        found[name] = column
    wanted = {i.name for i in inputs}
    return {name: value for name, value in found.items() if name in wanted}


def distance(ours: list[Any], raw: dict[str, Any]) -> float:
    """Return how far the outputs of a graph are from the original's, infinitely where a label changed."""
    farthest = 0.0
    for values, (name, wanted) in zip(ours, raw.items(), strict=False):
        got = np.asarray(values)
        got = got.reshape(wanted.shape) if got.size == wanted.size else got
        if got.shape != wanted.shape:
            return np.inf
        if name == "label":
            farthest = farthest if (got.astype(str) == wanted.astype(str)).all() else np.inf
            continue
        scale = 1.0 if name == "probabilities" else np.maximum(1.0, np.abs(wanted))
        away = np.where(got == wanted, 0.0, np.abs(got.astype(float) - wanted) / scale)
        farthest = max(farthest, float(np.nan_to_num(away, nan=np.inf).max(initial=0.0)))
    return farthest


def outcome(folder: Path) -> dict[str, Any]:
    """Return what came of one model."""
    asked = pickle.loads((folder / "model.pkl").read_bytes())
    began = time.perf_counter()
    try:
        opened = session(asked)
    except Exception as error:
        return {"outcome": "fails", "seconds": time.perf_counter() - began, "why": str(error)[:200]}
    seconds = time.perf_counter() - began
    try:
        farthest = max(
            distance(opened.run(None, feeds(opened, asked, numbers, strings)), raw)
            for numbers, strings, raw in asked["probes"]
        )
    except Exception as error:
        return {"outcome": "breaks", "seconds": seconds, "why": str(error)[:200]}
    kind = "matches" if farthest <= 1e-6 else "rounded" if farthest <= 1e-4 else "wrong"
    return {"outcome": kind, "seconds": seconds}


if __name__ == "__main__":
    onnxruntime.set_default_logger_severity(4)
    register()
    json.dump([outcome(Path(name)) for name in sys.argv[1:]], sys.stdout)
