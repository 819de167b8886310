"""Transformers that bend, project, spread or fill columns, alone and in front of trees and linear models."""

from __future__ import annotations

import numpy as np
import pytest
from lightgbm import LGBMClassifier
from onnx_comparison import as_frame, assert_same, compare, expected, load
from sklearn.base import clone
from sklearn.cluster import BisectingKMeans, FeatureAgglomeration, KMeans, MiniBatchKMeans
from sklearn.cross_decomposition import PLSSVD
from sklearn.decomposition import (
    PCA,
    FactorAnalysis,
    FastICA,
    IncrementalPCA,
    KernelPCA,
    MiniBatchSparsePCA,
    SparsePCA,
    TruncatedSVD,
)
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomTreesEmbedding,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.kernel_approximation import (
    AdditiveChi2Sampler,
    Nystroem,
    PolynomialCountSketch,
    RBFSampler,
    SkewedChi2Sampler,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import NeighborhoodComponentsAnalysis
from sklearn.neural_network import BernoulliRBM
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    PowerTransformer,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
)
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from xgboost import XGBClassifier

from cannery.errors import ConversionError

RNG = np.random.default_rng(0)
N = 300
X = np.column_stack(
    [
        RNG.normal(size=N),
        RNG.lognormal(size=N),
        RNG.integers(0, 6, N),
        RNG.uniform(-50, 4000, N).round(1),
    ]
)
"""A bell, a long tail, a few numbers that repeat, and large ones."""
Y = (X[:, 0] + np.log(X[:, 1]) > 0).astype(int)
FAR = np.vstack([X[:8] * 10, -X[:8], X[:4] + 1e-9, np.full((1, 4), 1e6), np.zeros((1, 4))])

BENDING = [
    PowerTransformer(),
    PowerTransformer(standardize=False),
    QuantileTransformer(n_quantiles=50),
    QuantileTransformer(n_quantiles=300),
    QuantileTransformer(n_quantiles=7, output_distribution="normal"),
    QuantileTransformer(n_quantiles=300, output_distribution="normal"),
]


@pytest.mark.parametrize("bend", BENDING, ids=str)
def test_a_bent_column_is_the_originals(bend):
    """Inside the range of the training and far outside; missing stays missing."""
    bend.fit(X)
    converted = assert_same(bend, X)
    holes = np.where(RNG.random(FAR.shape) < 0.3, np.nan, FAR)
    for rows in (FAR, holes, bend.quantiles_ if hasattr(bend, "quantiles_") else FAR):
        compare(converted(as_frame(rows)), expected(bend, rows), 1e-12)


def test_box_cox_takes_positive_numbers():
    """Only the columns above 0 are taken; a power near 0 is a logarithm."""
    positive = np.column_stack([X[:, 1], np.exp(RNG.normal(size=N)), X[:, 2] + 1])
    bend = PowerTransformer(method="box-cox").fit(positive)
    assert_same(bend, positive)
    bend.lambdas_[1] = 0.0
    assert_same(bend, positive)


@pytest.mark.parametrize("bend", BENDING, ids=str)
def test_a_tree_behind_a_bent_column_is_exact(bend):
    """The curve goes into the thresholds, so that no row takes another branch."""
    model = make_pipeline(clone(bend), RandomForestClassifier(10, random_state=0)).fit(X, Y)
    converted = assert_same(model, X, tolerance=1e-15)
    near = np.repeat(X, 3, axis=0)
    near[1::3] = np.nextafter(near[1::3], np.inf)
    near[2::3] = np.nextafter(near[2::3], -np.inf)
    for rows in (near, FAR):
        compare(converted(as_frame(rows)), expected(model, rows), 1e-15)


CURVED = [
    FunctionTransformer(np.log1p),
    make_pipeline(StandardScaler(), FunctionTransformer(np.sqrt)),
    make_pipeline(FunctionTransformer(np.sqrt), SimpleImputer(), StandardScaler()),
    make_pipeline(SimpleImputer(), FunctionTransformer(np.log1p), StandardScaler()),
    PowerTransformer(),
    QuantileTransformer(n_quantiles=40, output_distribution="normal"),
]


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:divide by zero")
@pytest.mark.parametrize("curve", CURVED, ids=str)
@pytest.mark.parametrize("kind", ["tree", "xgboost", "lightgbm"])
def test_trees_behind_a_curve_take_the_same_branch_beside_every_threshold(curve, kind):
    """Where the curve is not defined, and where a number is missing, they take the same one too."""
    sign = np.abs if "log" in str(curve) else np.positive  # nobody answers the logarithm of 0
    holes = np.where(RNG.random(X.shape) < 0.1, np.nan, sign(X) + 0.123)
    trees = {
        "tree": DecisionTreeClassifier(max_depth=7),
        "xgboost": XGBClassifier(n_estimators=5, n_jobs=1),
        "lightgbm": LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1),
    }[kind]
    model = make_pipeline(clone(curve), trees)
    model.fit(holes, Y)
    converted = load(model, as_frame(X))
    rows = np.vstack([_beside_steps(model, holes), sign(FAR) + 0.123, holes])
    compare(converted(as_frame(rows)), expected(model, rows), 2e-7)


def _beside_steps(model, x):
    """Return rows to both sides of places where the answer steps, found by bisection along a column."""
    low = x[RNG.integers(0, len(x), 20)]
    low = np.where(np.isnan(low), 1.0, low)
    columns = RNG.integers(0, x.shape[1], len(low))
    high, at = low.copy(), np.arange(len(low))
    high[at, columns] = low[at, columns] * RNG.choice([0.5, 1.5, 3.0], len(low)) + 0.7
    first = model.predict_proba(low)[:, 0]
    for _ in range(55):
        middle = (low + high) / 2
        same = model.predict_proba(middle)[:, 0] == first
        low, high = np.where(same[:, None], middle, low), np.where(same[:, None], high, middle)
    return np.vstack([low, high])


WAYS = [("constant", 1), ("constant", 3), ("linear", 2), ("linear", 3), ("continue", 0)]
WAYS += [("continue", 1), ("continue", 3), ("periodic", 1), ("periodic", 3)]


@pytest.mark.parametrize(("extrapolation", "degree"), WAYS)
def test_splines_go_on_beyond_their_knots(extrapolation, degree):
    """At the knots, between them, and beyond them, in each way of going on."""
    for settings in ({}, {"knots": "quantile", "include_bias": False, "sparse_output": True}):
        spline = SplineTransformer(5, degree, extrapolation=extrapolation, **settings)
        converted = assert_same(spline.fit(X[:, [0, 1, 3]]), X[:, [0, 1, 3]], tolerance=0.0)
        knots = np.stack([s.t[s.k : len(s.t) - s.k] for s in spline.bsplines_], axis=1)
        for rows in (knots, np.nextafter(knots, np.inf), FAR[:, [0, 1, 3]]):
            compare(converted(as_frame(rows)), expected(spline, rows), 0.0)


def test_trees_behind_splines_decide_alike():
    """To the last bit: some of their thresholds are values that rows of the training have."""
    x, y = X[:, [0, 1, 3]], X[:, 0] > X[:, 1]
    for last in (
        RandomForestClassifier(10, random_state=0),
        HistGradientBoostingClassifier(max_iter=10),
    ):
        model = make_pipeline(SplineTransformer(5), last).fit(x, y)
        assert_same(model, np.vstack([x, FAR[:, [0, 1, 3]]]), tolerance=1e-15)


def test_missing_numbers_have_no_spline():
    """With handle_missing='zeros' a missing number gives zeros."""
    spline = SplineTransformer(handle_missing="zeros").fit(X)
    holes = np.where(RNG.random(X.shape) < 0.3, np.nan, X)
    assert_same(spline, holes)


SCALED = (X - X.mean(axis=0)) / X.std(axis=0)
POSITIVE = np.abs(SCALED) + (X[:, [2]] > 2)
WIDE = np.hstack([SCALED, SCALED[:, ::-1] ** 2, RNG.normal(size=(N, 6))])
PROJECTIONS = [
    PCA(2),
    PCA(2, whiten=True),
    IncrementalPCA(3),
    TruncatedSVD(2),
    FactorAnalysis(2),
    FastICA(2, random_state=0),
    FastICA(whiten=False, random_state=0),
    SparsePCA(2, random_state=0),
    MiniBatchSparsePCA(2, random_state=0),
    KernelPCA(3),
    KernelPCA(3, kernel="rbf"),
    KernelPCA(3, kernel="poly", gamma=0.3),
    KernelPCA(3, kernel="sigmoid", gamma=0.1),
    KernelPCA(3, kernel="cosine"),
    Nystroem(n_components=20, random_state=0),
    Nystroem(n_components=20, kernel="laplacian", random_state=0),
    RBFSampler(n_components=30, random_state=0),
    PolynomialCountSketch(n_components=16, coef0=1, random_state=0),
    PolynomialCountSketch(degree=3, n_components=15, random_state=0),
    GaussianRandomProjection(5, random_state=0),
    SparseRandomProjection(5, random_state=0),
    NeighborhoodComponentsAnalysis(2, random_state=0, max_iter=5),
    FeatureAgglomeration(3),
    BernoulliRBM(5, random_state=0, n_iter=2),
    RandomTreesEmbedding(5, random_state=0),
]


@pytest.mark.filterwarnings("ignore:FastICA did not converge", "ignore:n_quantiles")
@pytest.mark.parametrize("projection", PROJECTIONS, ids=str)
def test_a_projection_is_the_originals(projection):
    """Alone, and in front of a model that adds its columns up."""
    assert_same(clone(projection).fit(WIDE, Y), WIDE, tolerance=1e-10)
    model = make_pipeline(clone(projection), LogisticRegression()).fit(WIDE, Y)
    assert_same(model, WIDE, tolerance=1e-10)


@pytest.mark.parametrize(
    "sampler",
    [
        AdditiveChi2Sampler(),
        AdditiveChi2Sampler(sample_steps=3),
        SkewedChi2Sampler(n_components=20, random_state=0),
    ],
    ids=str,
)
def test_a_map_of_positive_numbers_is_the_originals(sampler):
    """Zeros too."""
    positive = np.where(POSITIVE < 0.3, 0.0, POSITIVE)
    assert_same(sampler.fit(positive), positive, tolerance=1e-10)


@pytest.mark.parametrize(
    "cluster",
    [
        KMeans(4, n_init=1, random_state=0),
        MiniBatchKMeans(3, n_init=1, random_state=0),
        BisectingKMeans(3, random_state=0),
        LinearDiscriminantAnalysis(),
        LinearDiscriminantAnalysis(solver="eigen"),
    ],
    ids=str,
)
def test_a_predictor_in_the_middle_transforms(cluster):
    """What predicts at the end of a pipeline hands on columns inside of one."""
    labels = X[:, 2].astype(int) % 3
    model = make_pipeline(cluster, Ridge()).fit(SCALED, labels)
    assert_same(model, SCALED, tolerance=1e-9)


def test_scores_of_two_blocks_are_the_originals():
    """PLSSVD only transforms."""
    assert_same(PLSSVD(1).fit(SCALED, np.column_stack([Y, X[:, 3]])), SCALED)


WAVES = np.column_stack([SCALED[:, :2], np.cos(SCALED[:, 0]), RNG.normal(size=N)])
"""No two of its rows are equally far from a third, which no order of neighbours would settle."""
HOLES = np.where(RNG.random(WAVES.shape) < 0.2, np.nan, WAVES)
IMPUTERS = [
    IterativeImputer(random_state=0, max_iter=4),
    IterativeImputer(random_state=0, max_iter=3, add_indicator=True, min_value=-1, max_value=2),
    IterativeImputer(DecisionTreeRegressor(max_depth=3), random_state=0, max_iter=2),
    KNNImputer(),
    KNNImputer(n_neighbors=2, weights="distance", add_indicator=True),
]


@pytest.mark.filterwarnings("ignore:.*Early stopping criterion not reached")
@pytest.mark.parametrize("imputer", IMPUTERS, ids=str)
def test_an_imputer_that_looks_at_other_columns_fills_alike(imputer):
    """Rows with some holes, with none, and with nothing but holes."""
    imputer.fit(HOLES)
    empty = np.vstack([HOLES[:30], np.full((2, 4), np.nan), WAVES[:5]])
    converted = assert_same(imputer, HOLES, tolerance=1e-7)
    compare(converted(as_frame(empty)), expected(imputer, empty), 1e-7)


@pytest.mark.filterwarnings("ignore:Skipping features without any observed values")
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("kind", [KNNImputer, IterativeImputer])
def test_a_column_that_was_always_empty_is_left_out_or_kept(kind, keep):
    """`keep_empty_features` decides over it, as in SimpleImputer."""
    holes = HOLES.copy()
    holes[:, 1] = np.nan
    imputer = kind(keep_empty_features=keep).fit(holes)
    assert_same(imputer, holes, tolerance=1e-10)
    if kind is IterativeImputer:  # which before scikit-learn 1.5 told it by its statistics alone
        want = expected(imputer, holes)
        del imputer._is_empty_feature
        compare(load(imputer, as_frame(holes))(as_frame(holes)), want, 1e-10)


def test_an_imputer_of_many_rows_is_left_to_skops():
    """A graph would look through all rows of the training for each row."""
    many = KNNImputer().fit(np.tile(HOLES, (20, 1)))
    with pytest.raises(ConversionError, match="looks through more than"):
        load(many, as_frame(X))


def test_an_imputer_whose_neighbours_are_equally_far_is_left_to_skops():
    """Whole numbers are equally far from each other as soon as a column is missing."""
    rows = RNG.integers(0, 4, size=(60, 3)).astype(float)
    rows[:5, 0] = np.nan
    with pytest.raises(ConversionError, match="equally far from rows of different values"):
        load(KNNImputer(n_neighbors=2).fit(rows), as_frame(rows))


def test_a_spline_that_refuses_what_is_beyond_its_knots_answers_no_number_there():
    """Within them it answers alike; a caller can't take NaN for an answer."""
    x = X[:, [0, 1]]
    spline = SplineTransformer(5, extrapolation="error").fit(x)
    converted = assert_same(spline, x, tolerance=0.0)
    beyond = np.array([[x[:, 0].max() + 1e-9, x[0, 1]], [x[0, 0], x[:, 1].min() - 1e-9]])
    (made,) = converted(as_frame(beyond)).values()
    assert np.isnan(made).any(axis=1).all()
