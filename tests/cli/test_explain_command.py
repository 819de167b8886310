"""`cannery explain`: the exit code says whether the model becomes ONNX."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression


def test_a_model_that_converts_is_a_yes(tmp_path: Path, cannery_in: Any) -> None:
    """Nothing is written, and JSON goes to stdout."""
    rows = np.arange(20.0).reshape(10, 2)
    model = tmp_path / "line.pkl"
    model.write_bytes(pickle.dumps(LinearRegression().fit(rows, rows[:, 0])))
    done = cannery_in(tmp_path)("explain", model, "--json")
    told = json.loads(done.stdout)
    assert (done.status, told["converts"], told["obstacles"]) == (0, True, [])
    assert told["trials"][0]["runtime"] == "onnx"
    assert list(tmp_path.iterdir()) == [model]


def test_a_model_that_is_missing_is_an_error(tmp_path: Path, cannery_in: Any) -> None:
    """It is neither a yes nor a no."""
    missing = cannery_in(tmp_path)("explain", tmp_path / "none.pkl")
    assert missing.status == 2
    assert b"there is no" in missing.stderr
