"""Several labels, and several numbers, at once."""

from __future__ import annotations

import numpy as np
import pytest
from catboost import CatBoostClassifier
from onnx_comparison import as_frame, assert_same, load
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, MultiTaskLasso, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier, RadiusNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier
from xgboost import XGBClassifier

X, Y = make_classification(150, 5, n_informative=5, n_redundant=0, n_classes=3, random_state=0)
YES_NO = np.stack([Y > 0, Y == 1, X[:, 0] > 0], axis=1).astype(int)
KINDS = np.stack([Y, (Y > 0).astype(int)], axis=1)
WORDS = np.stack([np.array(["a", "b", "c"])[Y], np.array(["a", "d"])[KINDS[:, 1]]], axis=1)
MANY_LABELS = {
    "loss_function": "MultiLogloss",
    "iterations": 8,
    "thread_count": 1,
    "verbose": 0,
    "allow_writing_files": False,
}
XR, YR = make_regression(150, 5, n_targets=2, noise=5.0, random_state=0)


@pytest.mark.parametrize("y", [YES_NO, KINDS, WORDS], ids=["yes or no", "kinds", "words"])
@pytest.mark.parametrize(
    "model",
    [
        DecisionTreeClassifier(max_depth=4),
        ExtraTreeClassifier(max_depth=4),
        RandomForestClassifier(4, max_depth=4, random_state=0),
        ExtraTreesClassifier(4, max_depth=4, random_state=0),
        KNeighborsClassifier(),
        RadiusNeighborsClassifier(9.0, outlier_label="most_frequent"),
    ],
    ids=lambda m: type(m).__name__,
)
def test_several_labels(model, y):
    """Labels and probabilities stand side by side."""
    if y is WORDS and isinstance(model, RadiusNeighborsClassifier):
        y = KINDS
    assert_same(model.fit(X, y), X)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("model", [RidgeClassifier(), MLPClassifier(4, max_iter=5)], ids=str)
def test_several_yes_or_no_labels(model):
    """One unit, one threshold for each label."""
    assert_same(model.fit(X, YES_NO), X)


@pytest.mark.parametrize("labels", [2, 3])
def test_boosters_of_several_labels(labels):
    """A margin for each label decides it: more than half, in the booster's own precision."""
    y = YES_NO[:, :labels]
    xgboost = XGBClassifier(n_estimators=8, n_jobs=1).fit(X, y)
    rows = as_frame(X)
    found = load(xgboost, rows)(rows)
    assert (found["label"] == xgboost.predict(X)).all()
    assert np.abs(found["probabilities"] - xgboost.predict_proba(X)).max() <= 1e-7
    assert_same(CatBoostClassifier(**MANY_LABELS).fit(X, y), X)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize(
    "model",
    [
        LinearRegression(),
        MultiTaskLasso(),
        DecisionTreeRegressor(max_depth=4),
        RandomForestRegressor(4, max_depth=4, random_state=0),
        MLPRegressor(hidden_layer_sizes=4, max_iter=5),
    ],
    ids=lambda m: type(m).__name__,
)
def test_several_numbers(model):
    """A regressor of two targets."""
    assert_same(model.fit(XR, YR), XR, tolerance=1e-11)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_network_of_rates():
    """The loss 'poisson' ends in an exponential."""
    model = MLPRegressor(hidden_layer_sizes=4, max_iter=5, loss="poisson", random_state=0)
    assert_same(model.fit(XR, np.abs(YR[:, 0]) / 100), XR)
