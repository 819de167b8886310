"""Gradient boosting of both kinds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from onnx_comparison import as_frame, assert_same, compare, expected, hugging, tree_thresholds
from sklearn.datasets import make_classification, make_regression
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.tree import DecisionTreeRegressor

X, Y = make_classification(500, 6, n_informative=5, n_redundant=0, n_classes=3, random_state=0)
B = (Y > 0).astype(int)
XR, YR = make_regression(500, 6, noise=3.0, random_state=0)
POSITIVE = np.exp(YR / 100)


@pytest.mark.parametrize(
    ("model", "y"),
    [
        (GradientBoostingClassifier(n_estimators=20), B),
        (GradientBoostingClassifier(n_estimators=10), Y),
        (GradientBoostingClassifier(n_estimators=10, loss="exponential"), B),
        (GradientBoostingClassifier(n_estimators=10, init="zero", subsample=0.7), B),
        (GradientBoostingClassifier(n_estimators=10, init=DummyClassifier(strategy="prior")), Y),
    ],
    ids=str,
)
def test_a_boosted_classifier_is_exact_at_its_thresholds(model, y):
    """Labels agree and probabilities lie within 1e-14, one ulp beside a threshold too."""
    model.set_params(random_state=0).fit(X, y)
    converted = assert_same(model, X, tolerance=1e-14)
    rows = hugging(X, tree_thresholds(model))
    compare(converted(as_frame(rows)), expected(model, rows), 1e-14)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "quantile"])
def test_a_boosted_regressor_sums_in_the_same_order(loss):
    """Predictions agree to the last bit: the start value and every tree are added in turn."""
    model = GradientBoostingRegressor(n_estimators=30, loss=loss, random_state=0).fit(XR, YR)
    converted = assert_same(model, XR, tolerance=0.0)
    rows = hugging(XR, tree_thresholds(model))
    compare(converted(as_frame(rows)), expected(model, rows), 0.0)


def test_boosting_may_start_from_a_tree():
    """An initial regression tree is added to the sum."""
    model = GradientBoostingRegressor(n_estimators=5, init=DecisionTreeRegressor(max_depth=3))
    assert_same(model.fit(XR, YR), XR)


@pytest.mark.parametrize(
    ("model", "x", "y"),
    [
        (HistGradientBoostingClassifier(max_iter=15), X, B),
        (HistGradientBoostingClassifier(max_iter=8), X, Y),
        (HistGradientBoostingRegressor(max_iter=15), XR, YR),
        (HistGradientBoostingRegressor(max_iter=8, loss="poisson"), XR, POSITIVE),
        (HistGradientBoostingRegressor(max_iter=8, loss="gamma"), XR, POSITIVE),
        (HistGradientBoostingRegressor(max_iter=8, loss="quantile", quantile=0.8), XR, YR),
    ],
    ids=str,
)
def test_histogram_boosting_compares_doubles(model, x, y):
    """Rows at its thresholds, and with NaN, get the original's answer."""
    x = x.copy()
    x[np.random.default_rng(0).random(x.shape) < 0.1] = np.nan
    model.set_params(random_state=0).fit(x, y)
    converted = assert_same(model, x, tolerance=1e-14)
    rows = hugging(x, _histogram_thresholds(model))
    compare(converted(as_frame(rows)), expected(model, rows), 1e-14)


def _histogram_thresholds(model):
    nodes = np.concatenate([p.nodes for stage in model._predictors for p in stage])
    inner = nodes[nodes["is_leaf"] == 0]
    return sorted(
        set(zip(inner["feature_idx"].tolist(), inner["num_threshold"].tolist(), strict=True))
    )


@pytest.mark.parametrize("strings", [True, False])
def test_categorical_splits_become_sets(strings):
    """Known, unseen and missing categories take the side of the original, at every split."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"a": rng.normal(size=600), "k": rng.integers(0, 30, 600), "b": rng.normal(size=600)}
    )
    y = np.sin(frame["k"] * 7) + 0.3 * frame["a"] + 0.1 * rng.normal(size=600)
    frame["k"] = frame["k"].map("c{:02d}".format).astype(object) if strings else frame["k"] * 3.0
    frame.loc[::17, "k"] = None if not strings else np.nan
    model = HistGradientBoostingRegressor(
        categorical_features=["k"], max_iter=20, min_samples_leaf=5
    )
    model.fit(frame, y)
    converted = assert_same(model, frame, tolerance=1e-14)
    strange = frame.head(50).assign(k="never" if strings else 4.5)
    compare(converted(strange), expected(model, strange), 1e-14)


def test_categories_of_a_frame_and_three_classes():
    """Categorical columns found by their dtype, split by a classifier of three classes."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"k": rng.choice(list("abcdefgh"), 500), "x": rng.normal(size=500)})
    frame["k"] = frame["k"].astype("category")
    y = (frame["k"].cat.codes + (frame["x"] > 0)) % 3
    model = HistGradientBoostingClassifier(max_iter=10, categorical_features="from_dtype")
    assert_same(model.fit(frame, y), frame, tolerance=1e-14)
