"""A large forest is several nodes, and answers what one node answers, to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from audit_sources import make_source
from onnx_comparison import as_frame, compare, expected, load
from originals import NUMBERS, TEXTS
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from sklearn.tree import DecisionTreeRegressor
from xgboost import XGBClassifier, XGBRegressor

from cannery.audits.audit import audit
from cannery.conversions.onnx import groups

X, Y = make_classification(1200, 5, n_informative=4, n_redundant=0, n_classes=3, random_state=0)
HOLES = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
FIVE = (X[:, 0] * 9).astype(int) % 5

MODELS: dict[str, tuple[Any, Any, Any]] = {
    "a number": (RandomForestRegressor(60, random_state=0), HOLES, X[:, 0] * X[:, 1]),
    "mixed leaves": (RandomForestClassifier(60, max_depth=6, random_state=0), X, Y),
    "pure leaves": (ExtraTreesClassifier(60, random_state=0), X, Y),
    "five classes": (GradientBoostingClassifier(n_estimators=12, max_depth=5, random_state=0), X, FIVE),
    "sums in float32": (XGBRegressor(n_estimators=60, max_depth=5, n_jobs=1), HOLES, X[:, 0] * 1000),
    "margins in float32": (XGBClassifier(n_estimators=60, max_depth=5, n_jobs=1), HOLES, Y > 0),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut small forests, every ten trees too."""
    monkeypatch.setattr(groups, "_SPLITS", 100)
    monkeypatch.setattr(groups, "_SUMMED", 120)
    monkeypatch.setattr(groups, "_TREES", 10)


def ensembles(data: bytes) -> int:
    """Count the ensembles of a graph, those within a choice left out."""
    return sum(n.op_type == "TreeEnsemble" for n in onnx.load_from_string(data).graph.node)


@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names:UserWarning")
@pytest.mark.parametrize("name", MODELS)
def test_a_forest_in_groups_answers_what_one_node_answers(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For one row, for few and for many; and the same as the original."""
    model, x, y = MODELS[name]
    frame = as_frame(x)
    model.fit(frame, y)
    several = load(model, frame)
    monkeypatch.setattr(groups, "_SPLITS", 1 << 20)
    monkeypatch.setattr(groups, "_SUMMED", 1 << 20)
    one = load(model, frame)
    assert ensembles(several.data) >= 6 > ensembles(one.data)
    compare(several(frame), expected(model, frame), 1e-6 if "float32" in name else 1e-15)
    for rows in (frame[:0], frame[:1], frame[:70], frame):
        for output, answers in one(rows).items():
            np.testing.assert_array_equal(several(rows)[output], answers)


def test_sets_of_texts_are_asked_for_in_every_group(churn: pd.DataFrame) -> None:
    """The members of a set follow their split into its group."""
    kinds = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    encode = make_column_transformer((kinds, TEXTS), remainder="passthrough")
    frame = churn[NUMBERS + TEXTS].copy()
    model = make_pipeline(encode, RandomForestRegressor(30, max_depth=8, random_state=0))
    model.fit(frame, churn["churn"] == "Yes")
    converted = load(model, frame)
    nodes = onnx.load_from_string(converted.data).graph.node
    assert sum(a.name == "membership_values" for n in nodes for a in n.attribute) > 3
    frame.loc[::3, "contract"] = "never seen"
    compare(converted(frame), expected(model, frame), 0.0)


def test_the_audit_finds_nothing_in_a_graph_of_groups(tmp_path: Path) -> None:
    """What the groups answer is bounded by their trees."""
    model = RandomForestRegressor(60, random_state=0).fit(X, X[:, 0])
    data = load(model, as_frame(X)).data
    assert ensembles(data) > 6
    found = audit(make_source(tmp_path, {"model.onnx": data}, "model.onnx", "onnx"))
    assert (found.findings, found.verdict) == ((), "safe")


@pytest.mark.filterwarnings("ignore:X has feature names:UserWarning")
def test_trees_without_a_split_are_in_a_group_too() -> None:
    """They stand in the middle of the others, and at both ends."""
    model = RandomForestRegressor(57, max_depth=6, random_state=0).fit(X, X[:, 0] * X[:, 1])
    model.estimators_[::7] = [DecisionTreeRegressor().fit(X, np.full(len(X), 2.5))] * 9
    converted = load(model, as_frame(X))
    assert ensembles(converted.data) > 10
    compare(converted(as_frame(X)), expected(model, as_frame(X)), 0.0)
