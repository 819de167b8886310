"""Votes, stacks, bags, boosts, calibrations and thresholds."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_comparison import as_frame, assert_same, compare, expected, hugging, tree_thresholds
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    BaggingRegressor,
    GradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

X, Y = make_classification(300, 5, n_informative=5, n_redundant=0, n_classes=3, random_state=0)
WORDS = np.array(["low", "mid", "high"])[Y]
B = np.array(["no", "yes"])[(Y > 0).astype(int)]
XR, YR = make_regression(300, 5, noise=5.0, random_state=0)


def _members():
    return [
        ("tree", DecisionTreeClassifier(max_depth=4, random_state=0)),
        ("line", make_pipeline(StandardScaler(), LogisticRegression())),
        ("wood", RandomForestClassifier(5, random_state=0)),
    ]


@pytest.mark.parametrize("weights", [None, [2, 1, 0.5]])
@pytest.mark.parametrize("voting", ["soft", "hard"])
@pytest.mark.parametrize("y", [B, WORDS], ids=["two", "three"])
def test_votes_are_counted(y, voting, weights):
    """Soft and hard votes, weighted or not; a tie goes to the first class."""
    model = VotingClassifier(_members(), voting=voting, weights=weights).fit(X, y)
    assert_same(model, X)


@pytest.mark.parametrize("weights", [None, [2, 1]])
def test_predictions_are_averaged(weights):
    """A voting regressor."""
    members = [("a", LinearRegression()), ("b", DecisionTreeRegressor(max_depth=5, random_state=0))]
    assert_same(VotingRegressor(members, weights=weights).fit(XR, YR), XR)


@pytest.mark.parametrize("passthrough", [False, True])
@pytest.mark.parametrize("y", [B, WORDS], ids=["two", "three"])
def test_a_stack_of_classifiers(y, passthrough):
    """The final estimator sees probabilities, scores, and the columns where asked."""
    members = [*_members(), ("ridge", RidgeClassifier())]
    model = StackingClassifier(members, LogisticRegression(), cv=2, passthrough=passthrough)
    assert_same(model.fit(X, y), X)


def test_a_stack_of_regressors():
    """The final estimator sees the predictions."""
    members = [("a", Ridge()), ("b", RandomForestRegressor(5, random_state=0))]
    model = StackingRegressor(members, DecisionTreeRegressor(max_depth=4), cv=2).fit(XR, YR)
    assert_same(model, XR, tolerance=1e-9)


@pytest.mark.parametrize("member", [None, LogisticRegression()], ids=str)
@pytest.mark.parametrize("y", [B, WORDS], ids=["two", "three"])
def test_a_bag_of_classifiers(y, member):
    """Members see columns of their own."""
    model = BaggingClassifier(member, n_estimators=6, max_features=3, random_state=0).fit(X, y)
    assert_same(model, X)


@pytest.mark.parametrize("member", [None, Ridge()], ids=str)
def test_a_bag_of_regressors(member):
    """Trees in one node, anything else one by one."""
    model = BaggingRegressor(member, n_estimators=6, max_features=0.6, random_state=0)
    assert_same(model.fit(XR, YR), XR)


@pytest.mark.parametrize("y", [B, WORDS], ids=["two", "three"])
def test_a_boost_of_votes(y):
    """AdaBoost adds the weights of the trees that vote for a class."""
    tree = DecisionTreeClassifier(max_depth=2)
    model = AdaBoostClassifier(tree, n_estimators=10, random_state=0).fit(X, y)
    converted = assert_same(model, X)
    rows = hugging(X, tree_thresholds(model))
    compare(converted(as_frame(rows)), expected(model, rows), 1e-12)


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
@pytest.mark.parametrize("y", [B, WORDS], ids=["two", "three"])
@pytest.mark.parametrize("inner", [LinearSVC(random_state=0), RandomForestClassifier(5)], ids=str)
def test_calibrated_probabilities(inner, y, method):
    """Sigmoid and isotonic, from scores and from probabilities, far outside the sample too."""
    model = CalibratedClassifierCV(inner, method=method, cv=2).fit(X, y)
    assert_same(model, np.vstack([X, X * 30]))


@pytest.mark.parametrize("threshold", ["auto", 0.8])
@pytest.mark.parametrize("positive", [None, "no", "yes"])
def test_a_fixed_threshold_decides_the_label(threshold, positive):
    """The label is that of the threshold; probabilities stay."""
    inner = GradientBoostingClassifier(n_estimators=5)
    model = FixedThresholdClassifier(inner, threshold=threshold, pos_label=positive).fit(X, B)
    assert_same(model, X)


def test_a_fixed_threshold_on_scores():
    """A threshold may be laid on the decision function."""
    model = FixedThresholdClassifier(
        LogisticRegression(), threshold=0.3, response_method="decision_function", pos_label="no"
    )
    assert_same(model.fit(X, B), X)


def test_a_tuned_threshold_decides_the_label():
    """The threshold found by cross-validation is applied."""
    model = TunedThresholdClassifierCV(LogisticRegression(), cv=2, thresholds=20)
    model.fit(X, (B == "yes").astype(int))
    assert model.best_threshold_ != 0.5
    assert_same(model, X)
