"""Transformed targets, isotonic and kernel regression, spread labels, and what holds another."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_comparison import assert_same
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.cross_decomposition import CCA, PLSCanonical, PLSRegression
from sklearn.datasets import make_classification, make_regression
from sklearn.dummy import DummyClassifier
from sklearn.feature_selection import RFE
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, LogisticRegression, RANSACRegressor, Ridge
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.semi_supervised import LabelPropagation, LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

X, Y = make_classification(150, 5, n_informative=5, n_redundant=0, n_classes=3, random_state=0)
WORDS = np.array(["low", "mid", "high"])[Y]
B = np.array(["no", "yes"])[(Y > 0).astype(int)]
SOME = np.where(np.arange(len(Y)) % 3, Y, -1)
XR, YR = make_regression(150, 5, n_targets=2, noise=5.0, random_state=0)
YR = YR / 50
SKEW = np.exp(YR[:, 0] / 2)


@pytest.mark.filterwarnings("ignore:.*in power:RuntimeWarning", "ignore:Some values in column")
@pytest.mark.parametrize(
    "transformer",
    [
        StandardScaler(),
        MinMaxScaler(),
        MaxAbsScaler(),
        RobustScaler(),
        PowerTransformer(),
        PowerTransformer("box-cox", standardize=False),
        QuantileTransformer(n_quantiles=30),
        QuantileTransformer(n_quantiles=30, output_distribution="normal"),
        make_pipeline(PowerTransformer(), MinMaxScaler()),
    ],
    ids=lambda t: f"{type(t).__name__}",
)
def test_a_transformed_target_comes_back(transformer):
    """The inverse of each transformation, step by step through a pipeline."""
    model = TransformedTargetRegressor(LinearRegression(), transformer=transformer)
    assert_same(model.fit(XR, SKEW), XR, tolerance=1e-11)


@pytest.mark.parametrize("lambda_", [0.0, 2.0, 1.0])
def test_the_edges_of_the_power_transformation(lambda_):
    """Where the exponent or its mirror image is 0 the power is an exponential."""
    model = TransformedTargetRegressor(LinearRegression(), transformer=PowerTransformer())
    model.fit(XR, YR[:, 0])
    model.transformer_.lambdas_[:] = lambda_
    assert_same(model, XR, tolerance=1e-11)


@pytest.mark.parametrize("bounds", ["clip", "nan"])
@pytest.mark.parametrize("increasing", [True, False])
def test_an_isotonic_regression(bounds, increasing):
    """Outside of its knots the nearest answer, or none."""
    x = np.round(XR[:, :1], 1)
    model = IsotonicRegression(out_of_bounds=bounds, increasing=increasing).fit(x, YR[:, 0])
    assert_same(model, x * 1.2)


@pytest.mark.parametrize("kernel", ["linear", "rbf", "poly", "laplacian", "cosine"])
def test_a_ridge_of_kernels(kernel):
    """One target or several."""
    assert_same(KernelRidge(kernel=kernel).fit(XR, YR), XR, tolerance=1e-9)
    assert_same(KernelRidge(kernel=kernel).fit(XR, YR[:, 0]), XR, tolerance=1e-9)


@pytest.mark.parametrize("model", [PLSRegression(2), PLSCanonical(2), CCA(2)], ids=str)
def test_partial_least_squares(model):
    """Columns are centred before they are weighed."""
    assert_same(model.fit(XR + 100.0, YR), XR, tolerance=1e-9)


def test_partial_least_squares_of_one_target():
    """One target is answered flat."""
    assert_same(PLSRegression(2, scale=False).fit(XR, YR[:, 0]), XR, tolerance=1e-11)


@pytest.mark.parametrize("kernel", ["rbf", "knn"])
@pytest.mark.parametrize("kind", [LabelPropagation, LabelSpreading])
def test_spread_labels(kind, kernel):
    """The shares of the rows that are alike."""
    model = kind(kernel=kernel, max_iter=5000).fit(X, SOME)
    assert_same(model, X * 1.05, tolerance=1e-11)


@pytest.mark.parametrize("y", [WORDS, B], ids=["three", "two"])
@pytest.mark.parametrize(
    "inner", [LogisticRegression(), DecisionTreeClassifier(max_depth=3), SVC()], ids=str
)
def test_a_temperature(inner, y):
    """Scores, or the logarithms of probabilities, over a temperature."""
    model = CalibratedClassifierCV(inner, method="temperature", cv=2).fit(X, y)
    assert_same(model, X, tolerance=1e-11)


def test_a_calibrated_member_that_has_not_seen_every_class():
    """What it has not seen gets nothing from it."""
    folds = [(np.flatnonzero(Y < 3)[::2], np.arange(150)), (np.arange(0, 150, 3), np.arange(150))]
    model = CalibratedClassifierCV(GaussianNB(), cv=folds).fit(X, WORDS)
    assert_same(model, X, tolerance=1e-11)


@pytest.mark.parametrize(
    ("model", "x", "y"),
    [
        (SelfTrainingClassifier(GaussianNB()), X, SOME),
        (RANSACRegressor(random_state=0), XR, YR),
        (FixedThresholdClassifier(FrozenEstimator(GaussianNB().fit(X, B)), pos_label="no"), X, B),
        (CalibratedClassifierCV(FrozenEstimator(GaussianNB().fit(X, WORDS))), X, WORDS),
        (RFE(LogisticRegression(), n_features_to_select=3), X, WORDS),
        (make_pipeline(StandardScaler(), RFE(Ridge(), n_features_to_select=2)), XR, YR[:, 0]),
        (make_pipeline(RFE(Ridge(), n_features_to_select=3), KNeighborsClassifier()), X, Y),
        (DummyClassifier(strategy="prior"), X, np.stack([Y, Y > 0], axis=1)),
        (DummyClassifier(strategy="constant", constant=[1, 0]), X, np.stack([Y, Y > 0], axis=1)),
    ],
    ids=lambda v: type(v).__name__ if hasattr(v, "fit") else "",
)
def test_what_holds_another_answers_as_it(model, x, y):
    """Self-training, consensus, frozen members, eliminated columns, and baselines of several labels."""
    assert_same(model.fit(x, y), x, tolerance=1e-11)
