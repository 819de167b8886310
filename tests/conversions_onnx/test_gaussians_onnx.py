"""Gaussian processes: kernels, several targets, and the classifier's probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_comparison import as_frame, assert_same, features_of, load
from sklearn.datasets import make_classification, make_regression
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    DotProduct,
    Exponentiation,
    ExpSineSquared,
    Matern,
    PairwiseKernel,
    RationalQuadratic,
    WhiteKernel,
)

from cannery.conversions.onnx.convert import convert
from cannery.errors import ConversionError
from cannery.isolation.describing import describe

X, Y = make_classification(60, 4, n_informative=4, n_redundant=0, n_classes=3, random_state=0)
WORDS = np.array(["low", "mid", "high"])[Y]
XR, YR = make_regression(60, 4, n_targets=2, noise=5.0, random_state=0)
KERNELS = (
    None,
    RBF([1.0, 2.0, 3.0, 4.0]),
    *(Matern(nu=nu) for nu in (0.5, 1.5, 2.5, np.inf)),
    RationalQuadratic(alpha=0.7),
    ExpSineSquared(20.0, periodicity=3.0) + WhiteKernel(1.0),
    DotProduct() ** 2,
    ConstantKernel(2.0) * RBF() + WhiteKernel(0.5),
    Exponentiation(RBF(), 2),
    PairwiseKernel(metric="laplacian"),
)


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_a_process_is_exact(kernel):
    """A regression, and classifications whose rows far away are told apart by the last bit."""
    regressor = GaussianProcessRegressor(kernel, alpha=1e-2, optimizer=None, normalize_y=True)
    assert_same(regressor.fit(XR, YR[:, 0]), XR * 1.1, tolerance=1e-10)
    far = np.vstack([X, X * 1.3 + 0.1, X * 10])
    for y in (WORDS, Y > 0):
        model = GaussianProcessClassifier(kernel, optimizer=None).fit(X, y)
        assert_same(model, far, tolerance=1e-10)


def test_processes_one_against_one():
    """Every pair of classes has a process of its own; probabilities there are none."""
    kernel = RBF([1.0, 2.0, 3.0, 4.0])
    model = GaussianProcessClassifier(kernel, optimizer=None, multi_class="one_vs_one")
    model.fit(X, WORDS)
    assert not describe(model).probabilities
    frame = as_frame(X * 1.1)
    assert (load(model, frame)(frame)["label"] == model.predict(frame.to_numpy())).all()


def test_several_targets():
    """One covariance, several columns of weights."""
    assert_same(GaussianProcessRegressor(RBF(), alpha=1e-2).fit(XR, YR), XR, tolerance=1e-9)


def test_a_kernel_of_bessel_functions_is_refused():
    """Its smoothness is told."""
    model = GaussianProcessRegressor(Matern(nu=0.7), optimizer=None).fit(XR, YR[:, 0])
    with pytest.raises(ConversionError, match=r"nu=0\.7"):
        convert(model, features_of(as_frame(XR)), "model")
