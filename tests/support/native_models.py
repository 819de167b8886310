"""Small models of the boosting libraries in their own files: honest, and edited by intent."""

from __future__ import annotations

import functools
import json
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import numpy as np
import pandas as pd
import xgboost
from sklearn.datasets import make_classification

X, Y = make_classification(200, 6, n_informative=4, n_classes=3, random_state=0)
X_AND_KINDS = pd.DataFrame({"a": pd.Categorical(list("abcdefghij") * 20), "b": X[:, 0]})
KINDS = [[f"k{i % 40}", "abc"[i % 3], float(v)] for i, v in enumerate(X[:, 0])]


@functools.cache
def xgboost_models() -> dict[str, xgboost.Booster]:
    """Return a booster of every kind that XGBoost saves."""
    common: dict[str, Any] = {"n_estimators": 3, "max_depth": 3}
    kinds = {"enable_categorical": True, "max_cat_to_onehot": 2}
    pairs = np.column_stack([X[:, 0], X[:, 1]])
    found = {
        "classes": xgboost.XGBClassifier(**common).fit(X, Y),
        "dart": xgboost.XGBClassifier(**common, booster="dart").fit(X, Y > 0),
        "linear": xgboost.XGBRegressor(n_estimators=3, booster="gblinear").fit(X, X[:, 0]),
        "pruned": xgboost.XGBRegressor(**common, gamma=50).fit(X, X[:, 0]),
        "kinds": xgboost.XGBRegressor(**common, **kinds).fit(X_AND_KINDS, X[:, 1]),
        "vectors": xgboost.XGBRegressor(**common, multi_strategy="multi_output_tree").fit(X, pairs),
    }
    return {name: model.get_booster() for name, model in found.items()}


@functools.cache
def lightgbm_models() -> dict[str, lightgbm.Booster]:
    """Return a booster of every kind that LightGBM saves."""
    common: dict[str, Any] = {"n_estimators": 3, "num_leaves": 7, "verbose": -1}
    forest = {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}
    found = {
        "classes": lightgbm.LGBMClassifier(**common).fit(X, Y),
        "linear": lightgbm.LGBMRegressor(**common, linear_tree=True).fit(X, X[:, 0]),
        "forest": lightgbm.LGBMRegressor(**common, **forest).fit(X, X[:, 0]),
        "constant": lightgbm.LGBMRegressor(**common).fit(X, np.ones(len(X))),
        "kinds": lightgbm.LGBMRegressor(**common, min_data_per_group=5, cat_smooth=1).fit(
            X_AND_KINDS, X_AND_KINDS["a"].cat.codes % 3
        ),
    }
    return {name: model.booster_ for name, model in found.items()}


@functools.cache
def catboost_models() -> dict[str, bytes]:
    """Return the file of a model of every kind that CatBoost saves."""
    common: dict[str, Any] = {
        "iterations": 3,
        "depth": 3,
        "verbose": 0,
        "allow_writing_files": False,
    }
    steps = {key: value for key, value in common.items() if key != "depth"}
    found = {
        "classes": catboost.CatBoostClassifier(**common).fit(X, Y),
        "steps": catboost.CatBoostClassifier(**steps, grow_policy="Lossguide").fit(X, Y),
        "borders": catboost.CatBoostRegressor(**common, border_count=1000).fit(X, X[:, 0]),
        "kinds": catboost.CatBoostClassifier(**common, cat_features=[0, 1]).fit(KINDS, Y),
    }
    files = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, model in found.items():
            path = Path(folder, "m.cbm")
            model.save_model(str(path))
            files[name] = path.read_bytes()
    return files


def honest_files() -> dict[str, bytes]:
    """Return every model in every form of its library."""
    files: dict[str, bytes] = {}
    for name, booster in xgboost_models().items():
        for form in ("json", "ubj"):
            files[f"xgboost {name} {form}"] = bytes(booster.save_raw(form))
    for name, model in lightgbm_models().items():
        files[f"lightgbm {name}"] = model.model_to_string().encode()
    for name, data in catboost_models().items():
        files[f"catboost {name}"] = data
    for booster_name in ("gbtree", "dart", "gblinear"):
        files[f"xgboost binary {booster_name}"] = old_xgboost(booster_name)
    return files


def edited_document(name: str, edit: Callable[[dict[str, Any]], Any], tree: int = 0) -> bytes:
    """Return the JSON of a model of XGBoost, its model (or one of its trees) changed."""
    document = json.loads(bytes(xgboost_models()[name].save_raw("json")))
    booster = document["learner"]["gradient_booster"]
    model = (booster if "model" in booster else booster["gbtree"])["model"]
    edit(
        {**document, "booster": booster, "model": model, "tree": (model.get("trees") or [{}])[tree]}
    )
    return json.dumps(document).encode()


def old_xgboost(booster: str = "gbtree", **changes: Any) -> bytes:
    """Return a model of one split in the binary form of the generations before JSON, with changes."""
    v: dict[str, Any] = {
        "columns": 2, "trees": 1, "nodes": 3, "left": 1, "right": 2, "feature": 1, "output": 0,
        "weights": 3, "drops": 1, "tail": b"", "objective": b"reg:squarederror",
    }  # fmt: skip
    v |= changes
    head = struct.pack("<fIiii 116x", 0.5, v["columns"], 0, 0, 0)
    for word in (v["objective"], booster.encode()):
        head += struct.pack("<Q", len(word)) + word
    if booster == "gblinear":
        body = struct.pack("<Ii 128x Q", v["columns"], 1, v["weights"]) + bytes(12)
        return b"binf" + head + body + v["tail"]
    body = struct.pack("<i 156x", v["trees"])
    body += struct.pack("<iiiiii 124x", 1, v["nodes"], 0, 0, 2, 0)
    body += struct.pack("<iiiIf", -1, v["left"], v["right"], v["feature"], 0.5)
    body += struct.pack("<iiiIf", 0, -1, -1, 0, 1.0) * 2 + bytes(16 * 3)
    body += struct.pack("<i", v["output"])
    if booster == "dart":
        body += struct.pack("<Q", v["drops"]) + bytes(4 * v["drops"])
    return b"binf" + head + body + v["tail"]
