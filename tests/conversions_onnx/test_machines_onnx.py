"""Support vector machines: kernels, votes, ties and coupled probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_comparison import assert_same
from sklearn.datasets import load_digits, load_iris, make_classification, make_regression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR, NuSVC, NuSVR, OneClassSVM

X, Y = make_classification(120, 5, n_informative=5, n_redundant=0, n_classes=4, random_state=0)
WORDS = np.array(["a", "b", "c", "d"])[Y]
B = np.array(["no", "yes"])[(Y > 1).astype(int)]
XR, YR = make_regression(120, 5, noise=5.0, random_state=0)
FAR = np.vstack([X, X * 1.3 + 0.1, X[:20] * 30])
KERNELS = ("rbf", "linear", "poly", "sigmoid")


@pytest.mark.filterwarnings("ignore:The `probability` parameter:FutureWarning")
@pytest.mark.parametrize("probability", [False, True])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("y", [B, WORDS, Y > 0], ids=["two", "four", "truth"])
def test_a_classifier(kernel, y, probability):
    """Labels, decision values, and probabilities turn by turn as libsvm couples them."""
    model = SVC(kernel=kernel, probability=probability, random_state=0).fit(X, y)
    assert_same(model, FAR, tolerance=1e-10)


@pytest.mark.parametrize("options", [{"break_ties": True}, {"decision_function_shape": "ovo"}])
def test_duels_and_broken_ties(options):
    """A label by votes or by confidence; scores of pairs or of classes."""
    assert_same(SVC(C=0.01, **options).fit(X, WORDS), FAR, tolerance=1e-10)


@pytest.mark.filterwarnings("ignore:The `probability` parameter:FutureWarning")
def test_nu_machines_and_many_classes():
    """Ten classes of eight by eight pixels, 45 duels a row."""
    digits = load_digits()
    x, y = digits.data[:300], digits.target[:300]
    assert_same(NuSVC(nu=0.1, probability=True, random_state=0).fit(x, y), x, tolerance=1e-10)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("kind", [SVR, NuSVR])
def test_a_regressor(kind, kernel):
    """The sum over support vectors."""
    assert_same(kind(kernel=kernel, C=10.0).fit(XR, YR), XR * 2, tolerance=1e-10)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_detector_of_outliers(kernel):
    """The label is 1 or -1, the score its decision function."""
    assert_same(OneClassSVM(kernel=kernel).fit(X), FAR, tolerance=1e-10)


def test_columns_far_from_zero_lose_no_digit():
    """Distances are taken around the middle of the support vectors."""
    iris = load_iris()
    x = iris.data + 1e6
    assert_same(SVC().fit(x, iris.target), x, tolerance=1e-9)
    assert_same(make_pipeline(StandardScaler(), SVC()).fit(x, iris.target), x, tolerance=1e-9)


def test_what_is_too_large_to_be_squared_is_infinitely_far():
    """Differences are taken before they are squared: no support vector is near, and nothing is NaN."""
    far = np.repeat(X[:6], 2, axis=0)
    far[:, 1] = np.tile([1e200, -1e200], 6)
    far[::3, 3] = 1e300
    assert_same(SVC().fit(X, WORDS), far)
    assert_same(OneClassSVM().fit(X), far)
