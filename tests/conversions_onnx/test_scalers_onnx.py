"""Transformers of numbers: alone, and in front of a tree that takes them into its thresholds."""

from __future__ import annotations

import re

import numpy as np
import pytest
from onnx_comparison import assert_same
from sklearn.datasets import make_classification
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.feature_selection import (
    SelectFromModel,
    SelectKBest,
    SelectPercentile,
    VarianceThreshold,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)

X, Y = make_classification(300, 5, n_informative=4, n_redundant=0, random_state=0)
X = X * 7 + 0.1
WIDE = np.vstack([X, X * 100, -X, X * 1e-9, np.zeros((1, 5))])
P = np.abs(WIDE)

TRANSFORMERS = [
    StandardScaler(),
    StandardScaler(with_mean=False),
    StandardScaler(with_std=False),
    MinMaxScaler((-1, 2)),
    MinMaxScaler(clip=True),
    MaxAbsScaler(),
    RobustScaler(),
    RobustScaler(with_centering=False),
    RobustScaler(with_scaling=False, unit_variance=True),
    Binarizer(threshold=0.4),
    KBinsDiscretizer(4, encode="ordinal", quantile_method="averaged_inverted_cdf"),
    KBinsDiscretizer(3, encode="onehot", strategy="uniform"),
    KBinsDiscretizer(5, encode="onehot-dense", strategy="kmeans", random_state=0),
    PolynomialFeatures(2),
    PolynomialFeatures((2, 3), interaction_only=True, include_bias=False),
    PolynomialFeatures(3),
    FunctionTransformer(),
    FunctionTransformer(np.abs),
    FunctionTransformer(np.square),
    FunctionTransformer(np.clip, kw_args={"a_min": -0.5, "a_max": 0.7}),
    FunctionTransformer(np.clip, kw_args={"a_min": 0.1, "a_max": None}),
    VarianceThreshold(0.1),
    SelectKBest(k=3),
    SelectPercentile(percentile=50),
    SelectFromModel(LogisticRegression()),
]


def named(model: object) -> str:
    """Return the name of a case, the same in every process: functions are written with their address."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(model))


@pytest.mark.parametrize("model", TRANSFORMERS, ids=named)
def test_a_transformer_is_exact_to_the_last_bit(model):
    """Rows far outside the training range, tiny ones and zeros give the same doubles."""
    model.fit(X, Y)
    assert_same(model, WIDE, tolerance=0.0)


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_a_normalizer_divides_by_the_norm(norm):
    """Rows are scaled; a row of zeros stays as it is."""
    assert_same(Normalizer(norm=norm).fit(X), WIDE, tolerance=1e-15)


@pytest.mark.parametrize(
    "function",
    [
        *(np.log1p, np.sqrt, np.exp, np.log, np.expm1, np.negative, np.log2, np.log10, np.exp2),
        *(np.sinh, np.arcsinh, np.cbrt, np.tanh, np.reciprocal, np.positive, np.floor, np.ceil),
        *(np.rint, np.sign),
    ],
    ids=lambda f: f.__name__,
)
def test_a_function_of_numpys_keeps_its_digits(function):
    """Tiny arguments keep their digits too."""
    rows = np.minimum(P[:-1], 300.0)
    model = FunctionTransformer(function).fit(rows)
    assert_same(model, rows, tolerance=1e-14)


@pytest.mark.parametrize(
    "function",
    [
        *(np.sinh, np.arcsinh, np.cbrt, np.rint, np.sign, np.sin, np.cos, np.arctan),
        *(np.radians, np.deg2rad, np.degrees, np.rad2deg),
    ],
    ids=lambda f: f.__name__,
)
def test_a_function_takes_both_signs(function):
    """Zeroes, halves, and numbers so large that the hyperbolic sine has no end."""
    rows = np.array(
        [[-1e15], [-3.0], [-0.5], [-1e-9], [0.0], [1e-9], [0.5], [2.5], [700.0], [1e15]]
    )
    with np.errstate(over="ignore"):
        model = FunctionTransformer(function).fit(rows)
        assert_same(model, rows, tolerance=1e-14)


@pytest.mark.parametrize("function", [np.arcsin, np.arccos, np.tan], ids=lambda f: f.__name__)
def test_an_angle_is_exact_up_to_its_edges(function):
    """At both ends, where the inverse sine is steepest, and in between."""
    edges = [-1.0, np.nextafter(-1, 0), -1e-9, -0.0, 5e-324, 0.5, np.nextafter(1, 0), 1.0]
    rows = np.concatenate([edges, np.linspace(-1, 1, 201)])[:, None]
    assert_same(FunctionTransformer(function).fit(rows), rows, tolerance=1e-14)


@pytest.mark.parametrize(
    "model",
    [PCA(3), PCA(2, whiten=True), IncrementalPCA(2), TruncatedSVD(2, random_state=0)],
    ids=str,
)
def test_a_projection_is_a_product_of_matrices(model):
    """Projections agree but for the order in which products are added."""
    assert_same(model.fit(X), WIDE, tolerance=1e-12)


@pytest.mark.parametrize("model", TRANSFORMERS, ids=named)
@pytest.mark.parametrize("tree", [GradientBoostingClassifier, HistGradientBoostingClassifier])
def test_a_tree_behind_a_transformer_is_exact(model, tree):
    """The tree answers the same, whether the transformer was folded into its thresholds or not."""
    if getattr(model, "encode", "") == "onehot" and tree is HistGradientBoostingClassifier:
        model = KBinsDiscretizer(3, encode="onehot-dense", strategy="uniform")
    small = {"n_estimators": 5} if tree is GradientBoostingClassifier else {"max_iter": 5}
    pipeline = make_pipeline(model, tree(random_state=0, **small)).fit(X, Y)
    assert_same(pipeline, WIDE, tolerance=1e-14)


@pytest.mark.parametrize("function", [np.log1p, np.sqrt], ids=str)
@pytest.mark.parametrize("tree", [GradientBoostingClassifier, HistGradientBoostingClassifier])
def test_a_tree_behind_a_logarithm_is_exact(function, tree):
    """A function that is not defined everywhere is folded only where NaN is refused."""
    small = {"n_estimators": 5} if tree is GradientBoostingClassifier else {"max_iter": 5}
    pipeline = make_pipeline(FunctionTransformer(function), tree(random_state=0, **small))
    rows = np.abs(X)
    assert_same(pipeline.fit(rows, Y), P, tolerance=1e-14)
