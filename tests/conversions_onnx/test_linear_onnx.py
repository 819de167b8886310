"""Linear models, discriminant analysis, naive Bayes, networks, baselines and clusters."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_comparison import assert_same
from sklearn.datasets import make_classification, make_regression
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import (
    ElasticNet,
    GammaRegressor,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
    TweedieRegressor,
)
from sklearn.naive_bayes import ComplementNB, GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.svm import LinearSVC, LinearSVR

X, Y = make_classification(300, 5, n_informative=5, n_redundant=0, n_classes=3, random_state=0)
B = (Y > 0).astype(int)
XR, YR = make_regression(300, 5, noise=5.0, random_state=0)
COUNTS = np.random.default_rng(0).integers(0, 9, (300, 5)).astype(float)

CLASSIFIERS = [
    LogisticRegression(),
    LogisticRegression(C=100.0, fit_intercept=False),
    RidgeClassifier(),
    Perceptron(),
    LinearSVC(random_state=0),
    SGDClassifier(random_state=0),
    SGDClassifier(loss="log_loss", random_state=0),
    SGDClassifier(loss="modified_huber", random_state=0),
    LinearDiscriminantAnalysis(),
    GaussianNB(),
    MLPClassifier((7, 4), max_iter=30, random_state=0),
    MLPClassifier((5,), activation="tanh", max_iter=30, random_state=0),
    DummyClassifier(strategy="prior"),
    DummyClassifier(strategy="most_frequent"),
    DummyClassifier(strategy="constant", constant=1),
]
REGRESSORS = [
    LinearRegression(),
    Ridge(alpha=0.1),
    Lasso(alpha=0.1),
    ElasticNet(),
    HuberRegressor(max_iter=500),
    SGDRegressor(random_state=0),
    LinearSVR(random_state=0, max_iter=20_000),
    MLPRegressor(hidden_layer_sizes=(6,), activation="logistic", max_iter=30, random_state=0),
    DummyRegressor(),
    DummyRegressor(strategy="quantile", quantile=0.3),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("y", [B, Y, np.array(["a", "b", "c"])[Y]], ids=["two", "three", "words"])
@pytest.mark.parametrize("model", CLASSIFIERS, ids=str)
def test_a_classifier_of_numbers_is_exact(model, y):
    """Two classes, three, and classes that are words; rows far away from the sample too."""
    if isinstance(model, DummyClassifier) and model.strategy == "constant":
        model = DummyClassifier(strategy="constant", constant=y[0])
    model.fit(X, y)
    assert_same(model, np.vstack([X, X * 20]), tolerance=1e-12)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("model", REGRESSORS, ids=str)
def test_a_regressor_of_numbers_is_exact(model):
    """Predictions agree but for the order in which products are added."""
    assert_same(model.fit(XR, YR), np.vstack([XR, XR * 20]), tolerance=1e-12)


@pytest.mark.parametrize(
    "model", [PoissonRegressor(), GammaRegressor(), TweedieRegressor(power=0)], ids=str
)
def test_a_generalised_linear_model_applies_its_link(model):
    """The inverse link is applied to the linear predictor."""
    assert_same(model.fit(XR, np.exp(YR / 200)), XR, tolerance=1e-12)


@pytest.mark.parametrize(
    "model",
    [LinearRegression(), MLPRegressor(hidden_layer_sizes=(4,), max_iter=20), DummyRegressor()],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_several_targets_are_columns(model):
    """A regressor of two targets answers [N, 2]."""
    assert_same(model.fit(XR, np.column_stack([YR, XR[:, 0]])), XR, tolerance=1e-12)


@pytest.mark.parametrize("model", [MultinomialNB(), ComplementNB()], ids=str)
@pytest.mark.parametrize("y", [B, Y], ids=["two", "three"])
def test_counts_are_weighed(model, y):
    """Naive Bayes on counts."""
    assert_same(model.fit(COUNTS, y), COUNTS, tolerance=1e-12)


@pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::sklearn.exceptions.ConvergenceWarning"
)
def test_cross_validated_regression_is_a_regression():
    """LogisticRegressionCV is converted with the strength that it chose."""
    assert_same(LogisticRegressionCV(Cs=2, cv=2).fit(X, Y), X, tolerance=1e-12)
