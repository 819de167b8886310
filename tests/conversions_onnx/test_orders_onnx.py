"""Many rows are walked in another order than few, and every row gets its own answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from audit_sources import make_source
from lightgbm import LGBMClassifier
from onnx_comparison import Converted, as_frame, compare, expected, hugging, load, tree_thresholds
from originals import NUMBERS, TEXTS, churn_pipeline
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cannery.audits.audit import audit
from cannery.conversions.onnx import forests
from cannery.conversions.onnx.orders import SORTED
from cannery.serving import scorer
from cannery.signatures import Batch, Feature, Output, Signature

X, Y = make_classification(600, 5, n_informative=4, n_redundant=0, n_classes=3, random_state=0)
HOLES = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)

MODELS: dict[str, tuple[Any, Any, Any]] = {
    "mixed leaves": (RandomForestClassifier(60, max_depth=6, random_state=0), X, Y),
    "pure leaves": (ExtraTreesClassifier(60, random_state=0), X, Y),
    "two classes": (RandomForestClassifier(60, random_state=0), X, Y > 0),
    "a number": (RandomForestRegressor(60, random_state=0), X, X[:, 0] * X[:, 1]),
    "two numbers": (RandomForestRegressor(60, random_state=0), X, X[:, :2] * X[:, 1:3]),
    "outliers": (IsolationForest(random_state=0), X, None),
    "missing values": (RandomForestClassifier(60, random_state=0), HOLES, Y > 0),
    "leaf by leaf": (LGBMClassifier(n_estimators=80, random_state=0, verbose=-1), HOLES, Y > 0),
    "bins": (HistGradientBoostingClassifier(max_iter=80, random_state=0), HOLES, Y > 0),
}  # fmt: skip


def sorts(converted: Converted) -> bool:
    """Tell whether the graph sorts its rows."""
    nodes = onnx.load_from_string(converted.data).graph.node
    inner = (n for node in nodes for a in node.attribute for n in a.g.node)
    return "TopK" in {node.op_type for node in inner}


def assert_same_in_any_order(
    model: Any, converted: Converted, frame: pd.DataFrame, tolerance: float = 1e-15
) -> None:
    """All rows at once are answered as few at a time, to the last bit, and as the original does."""
    assert sorts(converted)
    assert len(frame) > 2 * SORTED
    whole = converted(frame)
    parts = [converted(frame[at : at + 300]) for at in range(0, len(frame), 300)]
    for name, answers in whole.items():
        np.testing.assert_array_equal(answers, np.concatenate([part[name] for part in parts]))
    compare(whole, expected(model, frame), tolerance)


@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names:UserWarning")
@pytest.mark.parametrize("name", MODELS)
def test_rows_that_are_sorted_get_their_own_answers(name: str) -> None:
    """On the sample, on thresholds and one ulp beside them, with missing values, with equal rows."""
    model, x, y = MODELS[name]
    frame = as_frame(x)
    model.fit(frame, y)
    own = tree_thresholds(model)[:400] if hasattr(model, "estimators_") else []
    rows = np.concatenate([x, x[::-1], hugging(x, own) if own else x])
    assert_same_in_any_order(model, load(model, frame), as_frame(rows))


def test_texts_and_numbers_are_sorted_together(churn: pd.DataFrame) -> None:
    """Categories are told apart by equality, and sorted by their codes."""
    model = churn_pipeline(churn, RandomForestClassifier(60, max_depth=8, random_state=0))
    frame = churn[NUMBERS + TEXTS].copy()
    converted = load(model, frame)
    frame.loc[::3, "contract"] = "never seen"
    assert_same_in_any_order(model, converted, frame)


def test_few_questions_are_not_sorted_by() -> None:
    """Small forests are walked as the rows come."""
    model = RandomForestRegressor(20, max_depth=5, random_state=0).fit(X, X[:, 0])
    assert not sorts(load(model, as_frame(X)))


def test_one_split_sorts_as_well_as_many() -> None:
    """Where every tree asks for one of two columns with two values, there is little to sort by."""
    x = np.random.default_rng(0).integers(0, 2, (1500, 2)).astype(float)
    model = RandomForestClassifier(400, bootstrap=False, max_features=1, random_state=0)
    model.fit(as_frame(x), (x[:, 0] != x[:, 1]).astype(int))
    assert_same_in_any_order(model, load(model, as_frame(x)), as_frame(x))


def test_the_audit_finds_nothing_in_a_graph_that_sorts(tmp_path: Path) -> None:
    """What the graph makes on the way is as large as what comes in."""
    model = RandomForestClassifier(60, max_depth=6, random_state=0).fit(X, Y)
    data = load(model, as_frame(X)).data
    found = audit(make_source(tmp_path, {"model.onnx": data}, "model.onnx", "onnx"))
    assert (found.findings, found.verdict) == ((), "safe")


def test_a_large_graph_is_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second session for single rows would need its memory again."""
    model = RandomForestClassifier(60, max_depth=6, random_state=0).fit(X, Y)
    converted = load(model, as_frame(X))
    features = tuple(Feature(name=name, type="double") for name in as_frame(X))
    output = Output(name="p", tensor="probabilities", type="double", column=1)
    signature = Signature(features=features, outputs=(output,))
    opened = []
    session = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda *a, **k: opened.append(1) or session(*a, **k)
    )
    for large, times in ((len(converted.data) + 1, 2), (len(converted.data), 1)):
        monkeypatch.setattr(scorer, "_LARGE", large)
        opened.clear()
        made = scorer.onnx_scorer(converted.data, signature, converted.feeds)
        assert len(opened) == times
        row = Batch(numbers=X[:1], strings=np.empty((1, 0), dtype=object))
        np.testing.assert_array_equal(made.score(row)["probabilities"], model.predict_proba(X[:1]))


@pytest.mark.filterwarnings("ignore:X has feature names:UserWarning")
@pytest.mark.parametrize(("classes", "scaled"), [(2, False), (2, True), (3, False), (3, True)])
def test_votes_of_pure_leaves_are_counted_in_one_number(classes: int, scaled: bool) -> None:
    """An even number of trees has ties, which the first class wins; scaled rows are compared as doubles."""
    forest = ExtraTreesClassifier(60, random_state=0)
    model = make_pipeline(StandardScaler(), forest) if scaled else forest
    frame = as_frame(X)
    model.fit(frame, np.random.default_rng(1).integers(0, classes, len(X)))
    converted = load(model, frame)
    (ensemble,) = (
        n for n in onnx.load_from_string(converted.data).graph.node if n.op_type == "TreeEnsemble"
    )
    assert {a.name: a.i for a in ensemble.attribute}["n_targets"] == 1
    rows = np.random.default_rng(0).normal(size=(3000, X.shape[1]))
    votes = np.sort(model.predict_proba(as_frame(rows)), axis=1)
    assert (votes[:, -1] == votes[:, -2]).any()
    own = X if scaled else hugging(X, tree_thresholds(forest)[:400])
    assert_same_in_any_order(model, converted, as_frame(np.concatenate([rows, own])), 0.0)


@pytest.mark.filterwarnings("ignore:X has feature names:UserWarning")
@pytest.mark.parametrize(
    ("classes", "cells"), [(2, 1 << 16), (3, 1 << 16), (10, 1 << 16), (10, 4000)]
)
def test_mixed_leaves_are_averaged_in_the_order_of_the_trees(
    classes: int, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many rows come at once, one too, to the last bit: it decides between classes that are even.

    Where trees and classes are many, fewer rows are many.
    """
    monkeypatch.setattr(forests, "_CELLS", cells)
    random = np.random.default_rng(0)
    x = random.integers(0, 4, (500, 4)).astype(float)
    # every row stands there in all classes, a tenth of them left out: shares are almost even
    frame, y = as_frame(np.repeat(x, classes, axis=0)), np.tile(np.arange(classes), len(x))
    kept = random.random(len(y)) < 0.9
    model = RandomForestClassifier(50, max_depth=4, random_state=0).fit(frame[kept], y[kept])
    converted = load(model, frame)
    tables = [
        onnx.numpy_helper.to_array(c)
        for c in onnx.load_from_string(converted.data).graph.initializer
    ]
    leaves = [t.tree_.value[t.tree_.children_left < 0, 0] for t in model.estimators_]
    assert any(np.array_equal(t, np.unique(np.concatenate(leaves), axis=0)) for t in tables)
    rows = as_frame(x[:130])
    whole = expected(model, rows)
    backwards = sum(t.predict_proba(rows.to_numpy()) for t in model.estimators_[::-1]) / 50
    assert (backwards != whole["probabilities"]).any()
    for size in (1, 2, 7, 8, 63, 64, 65):
        parts = [converted(rows[at : at + size]) for at in range(0, len(rows), size)]
        for name, answers in whole.items():
            found = np.concatenate([part[name] for part in parts])
            np.testing.assert_array_equal(found, answers)


def test_labels_that_are_their_own_places_are_not_looked_up() -> None:
    """Classes 0, 1, 2 need no table; any others do."""
    for classes, looked_up in (([0, 1, 2], False), ([1, 2, 3], True), ([0.0, 1.0, 2.0], True)):
        model = ExtraTreesClassifier(1, random_state=0).fit(X, np.array(classes)[Y])
        converted = load(model, as_frame(X))
        nodes = onnx.load_from_string(converted.data).graph.node
        (maker,) = (node for node in nodes if "label" in node.output)
        assert (maker.op_type == "Gather") == looked_up
        np.testing.assert_array_equal(converted(as_frame(X))["label"], model.predict(X))
