"""One estimator for each class, pair, code or target; chains; and boosts of any members."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_comparison import as_frame, assert_same, load
from scipy.special import softmax
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import AdaBoostClassifier, AdaBoostRegressor, BaggingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import (
    ClassifierChain,
    MultiOutputClassifier,
    MultiOutputRegressor,
    RegressorChain,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

X, Y = make_classification(150, 5, n_informative=5, n_redundant=0, n_classes=3, random_state=0)
WORDS = np.array(["low", "mid", "high"])[Y]
B = np.array(["no", "yes"])[(Y > 0).astype(int)]
YES_NO = np.stack([Y > 0, Y == 1, X[:, 0] > 0], axis=1).astype(int)
KINDS = np.stack([Y, (Y > 0).astype(int)], axis=1)
XR, YR = make_regression(150, 5, n_targets=2, noise=5.0, random_state=0)
YR = YR / 50
FAR = np.vstack([X, X * 1.3 + 0.1])
MEMBERS = (
    DecisionTreeClassifier(max_depth=2),
    LogisticRegression(),
    SVC(),
    RidgeClassifier(),
    GaussianNB(),
    make_pipeline(StandardScaler(), DecisionTreeClassifier(max_depth=3)),
)


def _named(model):
    return type(model).__name__


@pytest.mark.parametrize("member", MEMBERS, ids=_named)
@pytest.mark.parametrize("y", [WORDS, B], ids=["three", "two"])
@pytest.mark.parametrize("kind", [OneVsRestClassifier, OneVsOneClassifier, OutputCodeClassifier])
def test_many_binary_classifiers_make_one(kind, y, member):
    """By decision function where there is one; of equals the class that scikit-learn takes."""
    assert_same(kind(member).fit(X, y), FAR, tolerance=1e-10)


@pytest.mark.parametrize("seed", [169, 291])
def test_codes_that_are_equally_far_fall_to_the_same_class(seed):
    """The last bit of a sum of squares decides, as in scikit-learn's matrix product."""
    member = make_pipeline(StandardScaler(), DecisionTreeClassifier(max_depth=3, random_state=seed))
    assert_same(OutputCodeClassifier(member, random_state=seed).fit(X, WORDS), FAR)


@pytest.mark.parametrize("member", MEMBERS, ids=_named)
def test_a_classifier_for_each_label(member):
    """Labels of 0 and 1, and labels of three kinds."""
    assert_same(OneVsRestClassifier(member).fit(X, YES_NO), FAR, tolerance=1e-10)
    assert_same(MultiOutputClassifier(member).fit(X, KINDS), FAR, tolerance=1e-10)


SURE = (
    OneVsRestClassifier(make_pipeline(PolynomialFeatures(2), LogisticRegression(max_iter=500))),
    OneVsRestClassifier(
        make_pipeline(StandardScaler(), MLPClassifier((4,), max_iter=5, random_state=0))
    ),
    CalibratedClassifierCV(RidgeClassifier(), cv=2),
)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("model", SURE, ids=["logistic", "network", "calibrated"])
def test_probabilities_that_are_all_tiny_are_weighed_against_each_other(model):
    """Far from the training every member may be sure that it is another class."""
    far = np.random.default_rng(0).normal(size=(400, 5)) * np.geomspace(1, 1e4, 400)[:, None]
    model.fit(X, WORDS)
    inner = getattr(model, "estimators_", None)
    if inner is not None:
        highest = np.max([one.predict_proba(far)[:, 1] for one in inner], axis=0)
        assert ((highest > 0) & (highest < 1e-17)).any()
    assert_same(model, far, tolerance=1e-9)


@pytest.mark.filterwarnings("ignore:Label 2 is present")
def test_a_class_that_every_row_has():
    """A member that has seen one class alone is a constant."""
    y = YES_NO.copy()
    y[:, 2] = 1
    assert_same(OneVsRestClassifier(LogisticRegression()).fit(X, y), X)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_a_chain_of_classifiers(method):
    """Each sees the answers of those before it, in an order of its own."""
    member = LogisticRegression()
    model = ClassifierChain(member, order=[2, 0, 1], chain_method=method).fit(X, YES_NO)
    assert_same(model, FAR, tolerance=1e-10)


@pytest.mark.parametrize("member", [Ridge(), DecisionTreeRegressor(max_depth=3)], ids=_named)
def test_regressors_side_by_side_and_in_a_chain(member):
    """One for each target."""
    assert_same(MultiOutputRegressor(member).fit(XR, YR), XR, tolerance=1e-11)
    assert_same(RegressorChain(member, order=[1, 0]).fit(XR, YR), XR, tolerance=1e-11)


@pytest.mark.parametrize("member", MEMBERS[:5], ids=_named)
@pytest.mark.parametrize("y", [WORDS, B], ids=["three", "two"])
def test_a_boost_and_a_bag_of_any_members(member, y):
    """Members without probabilities vote in a bag; in a boost all do."""
    assert_same(AdaBoostClassifier(member, n_estimators=4, random_state=0).fit(X, y), FAR)
    bag = BaggingClassifier(member, 4, max_features=0.6, random_state=0).fit(X, y)
    assert_same(bag, FAR, tolerance=1e-10)


def test_a_bag_whose_members_have_not_seen_every_class():
    """What a member does not know gets nothing from it."""
    model = BaggingClassifier(KNeighborsClassifier(2), 8, max_samples=4, random_state=1).fit(
        X, WORDS
    )
    assert any(len(m.classes_) < 3 for m in model.estimators_)
    assert_same(model, X, tolerance=1e-10)


@pytest.mark.parametrize("loss", ["linear", "square", "exponential"])
@pytest.mark.parametrize(
    "member", [DecisionTreeRegressor(max_depth=3, random_state=0), LinearRegression()], ids=_named
)
def test_a_boosted_regressor(member, loss):
    """The weighted median of its members."""
    model = AdaBoostRegressor(member, n_estimators=7, loss=loss, random_state=0)
    assert_same(model.fit(XR, YR[:, 0]), XR * 1.1, tolerance=1e-11)


@pytest.mark.parametrize("y", [Y, Y > 0], ids=["three", "two"])
@pytest.mark.parametrize(
    "member", [DecisionTreeClassifier(max_depth=2), GaussianNB()], ids=["trees", "others"]
)
def test_members_of_old_boosters_add_logarithms(member, y):
    """SAMME.R, as scikit-learn computed it until 1.5: of trees each leaf adds what it would."""
    model = AdaBoostClassifier(member, n_estimators=4, random_state=0).fit(X, y)
    model.algorithm, model.estimator_weights_ = "SAMME.R", np.ones(4)
    count, frame = len(model.classes_), as_frame(FAR)
    total = np.zeros((len(FAR), count))
    for one in model.estimators_:
        logs = np.log(np.clip(one.predict_proba(FAR), np.finfo(float).eps, None))
        total += (count - 1) * (logs - logs.mean(axis=1, keepdims=True))
    total /= 4
    scores = total * 2 if count == 2 else total
    shares = softmax(scores / 2 if count == 2 else scores / (count - 1), axis=1)
    got = load(model, frame)(frame)
    assert (got["label"] == model.classes_[total.argmax(axis=1)]).all()
    np.testing.assert_allclose(got["probabilities"], shares, rtol=0, atol=1e-12)
