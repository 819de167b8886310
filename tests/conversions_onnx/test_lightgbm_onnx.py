"""LightGBM: sums in double, zeros and missing values as each split has learned them."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from onnx_comparison import as_frame, assert_same, compare, expected, hugging, load
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification, make_regression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from cannery.conversions.onnx.lightgbm import NEAR_ZERO, numeric_splits
from cannery.errors import ConversionError
from cannery.serving.boosters import as_estimator

X, Y = make_classification(500, 6, n_informative=5, n_redundant=0, n_classes=3, random_state=0)
B = (Y > 0).astype(int)
XR, YR = make_regression(500, 6, noise=3.0, random_state=0)
HOLES = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
ZEROS = np.where(np.random.default_rng(1).random(X.shape) < 0.3, 0.0, X)
POSITIVE = np.exp(YR / 100)
SMALL = [f(NEAR_ZERO) for f in (lambda z: z, lambda z: np.nextafter(z, 1), lambda z: z / 2)]
ODD = np.array([np.nan, 0.0, -0.0, *SMALL, *(-s for s in SMALL), 1e300, -1e300])
FOREST = {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.7}


def _classifier(**options):
    return lgb.LGBMClassifier(**{"n_estimators": 20, "verbose": -1, "n_jobs": 1} | options)


def _regressor(**options):
    return lgb.LGBMRegressor(**{"n_estimators": 20, "verbose": -1, "n_jobs": 1} | options)


def _same(model, x, tolerance=1e-14):
    converted = assert_same(model, x, tolerance=tolerance)
    splits = {
        (int(column), float(limit))
        for columns, limits in numeric_splits(model)
        for column, limit in zip(columns, limits, strict=True)
    }
    odd = np.repeat(x[:6], len(ODD), axis=0)
    odd[np.arange(len(odd)), np.arange(len(odd)) % x.shape[1]] = np.tile(ODD, 6)
    rows = np.concatenate([hugging(x, sorted(splits)), odd]) if splits else odd
    compare(converted(as_frame(rows)), expected(model, rows), tolerance)


@pytest.mark.parametrize(
    ("options", "x", "y"),
    [
        ({"n_estimators": 200}, X, B),
        ({"n_estimators": 1, "max_depth": 1}, HOLES, B),
        ({"subsample": 0.7, "subsample_freq": 1, "sigmoid": 2.5}, HOLES, B),
        ({}, HOLES, np.array(["low", "middle", "high"])[Y]),
        ({"objective": "multiclassova", "sigmoid": 1.7}, HOLES, Y),
        ({"boosting_type": "dart"}, HOLES, B),
        ({"boosting_type": "goss"}, HOLES, Y),
        (FOREST, HOLES, B),
        (FOREST, X, Y),
        ({"num_leaves": 200, "min_child_samples": 1}, X, B),
        ({"min_split_gain": 1e9}, X, B),
    ],
    ids=[
        *("many trees", "stump", "sigmoid", "classes", "one against all", "dart", "goss"),
        *("forest", "forest of classes", "deep", "no split"),
    ],
)
def test_a_classifier_is_exact_at_its_thresholds(options, x, y):
    """Labels agree and probabilities lie within 1e-14, beside thresholds and with NaN."""
    _same(_classifier(**options).fit(x, y), x)


@pytest.mark.parametrize(
    ("options", "x"),
    [
        ({"use_missing": False}, HOLES),
        ({"zero_as_missing": True}, np.where(np.isnan(HOLES), HOLES, ZEROS)),
        ({"zero_as_missing": True}, ZEROS),
        ({}, ZEROS),
    ],
    ids=["NaN is zero", "zero and NaN are missing", "zero is missing", "zeros"],
)
def test_zero_and_missing_values_take_their_side(options, x):
    """Numbers of at most 1e-35 are zero, and each split says where zero and NaN go."""
    _same(_classifier(**options).fit(x, B), x)


@pytest.mark.parametrize(
    "options",
    [
        *({"objective": o} for o in ("regression", "regression_l1", "huber", "quantile", "mape")),
        *({"boosting_type": o} for o in ("dart", "goss")),
        {"reg_sqrt": True},
        FOREST,
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_a_regressor_agrees_to_the_last_bit(options):
    """The trees are added in turn, and a forest is averaged at the end."""
    _same(_regressor(**options).fit(XR, YR), XR, 0.0)


@pytest.mark.parametrize("objective", ["poisson", "gamma", "tweedie"])
def test_a_logarithmic_link_is_undone(objective):
    """Predictions lie within 1e-14 of the original's, relative to them."""
    _same(_regressor(objective=objective).fit(XR, POSITIVE), XR)


def test_fitting_that_stopped_early_answers_with_the_best_iteration():
    """Later trees are left out."""
    model = _classifier(n_estimators=200)
    stop = lgb.early_stopping(3, verbose=False)
    model.fit(X[:300], Y[:300], eval_X=X[300:], eval_y=Y[300:], callbacks=[stop])
    assert 0 < model.best_iteration_ < 200
    _same(model, X)


def test_a_ranker_answers_its_score():
    """Scores agree to the last bit."""
    model = lgb.LGBMRanker(n_estimators=10, verbose=-1).fit(X, Y, group=[10] * 50)
    _same(model, X, 0.0)


@pytest.mark.parametrize("classes", [False, True])
def test_categorical_splits_become_sets(classes):
    """Known, unseen, missing, negative, broken and huge categories take the side of the original."""
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.integers(0, 70, 900), rng.normal(size=900), rng.integers(0, 5, 900)])
    x[::17, 0] = np.nan
    y = np.sin(np.nan_to_num(x[:, 0]) * 7) + 0.3 * x[:, 1] + x[:, 2] % 2
    options = {"cat_smooth": 1, "min_data_per_group": 5}
    model = _classifier(**options) if classes else _regressor(**options)
    model.fit(x, np.digitize(y, [0, 1]) if classes else y, categorical_feature=[0, 2])
    converted = assert_same(model, x, tolerance=1e-14)
    strange = np.repeat(x[:30], 12, axis=0)
    values = [-0.5, -1.0, -0.99, 0.5, 0.99, 33.999, 70.0, 71.0, 3e9, 1e300, -1e300, np.nan]
    strange[:, 0] = np.tile(values, 30)
    compare(converted(as_frame(strange)), expected(model, strange), 1e-14)
    strange[:, 2] = np.repeat([-0.5, -1.0, 4.7, 5.0, np.nan, 2.0], 60)
    compare(converted(as_frame(strange)), expected(model, strange), 1e-14)


@pytest.mark.parametrize("options", [{}, {"zero_as_missing": True}], ids=["plain", "zero"])
def test_a_pipeline_is_folded_into_the_thresholds(options):
    """Scaled numbers and unseen categories get the original's answer, at rows around each mean too."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": X[:, 0], "b": 100 * X[:, 1]})
    frame["s"] = rng.choice(list("wxyz"), 500).astype(object)
    columns = make_column_transformer(
        (StandardScaler(), ["a", "b"]), (OneHotEncoder(handle_unknown="ignore"), ["s"])
    )
    y = ((X[:, 0] > 0) ^ (frame["s"] == "x")).astype(int)
    model = make_pipeline(columns, _classifier(**options)).fit(frame, y)
    converted = assert_same(model, frame, tolerance=1e-14)
    strange = frame.assign(s="never")
    strange.loc[::2, "a"] = columns.named_transformers_["standardscaler"].mean_[0]
    compare(converted(strange), expected(model, strange), 1e-14)


@pytest.mark.parametrize("y", [B, Y], ids=["binary", "classes"])
@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_a_calibrated_booster_is_asked_for_what_scikit_learn_asks(method, y):
    """The raw scores are calibrated where the original calibrates them."""
    model = CalibratedClassifierCV(_classifier(), method=method, cv=2).fit(X, y)
    assert_same(model, X, tolerance=1e-14)


def test_named_columns_may_come_in_another_order():
    """Columns are found by the names of fitting."""
    frame = as_frame(X)
    model = _classifier().fit(frame, B)
    compare(load(model, frame[frame.columns[::-1]])(frame), expected(model, frame), 1e-14)


@pytest.mark.parametrize("objective", ["cross_entropy", "cross_entropy_lambda", "binary"])
def test_a_regressor_of_shares_is_exact(objective):
    """The logistic function, or that of a rate, is applied to the sum."""
    y = B.astype(float) if objective == "binary" else 1 / (1 + np.exp(-YR / 100))
    _same(_regressor(objective=objective).fit(XR, y), XR)


def test_a_classifier_may_be_fitted_by_cross_entropy():
    """Its sum is not scaled by the parameter of the logistic function."""
    _same(_classifier(objective="cross_entropy", sigmoid=2.0).fit(X, B), X)


@pytest.mark.parametrize(
    ("objective", "label"),
    [("binary", B), ("multiclass", Y), ("multiclassova", Y), ("regression", YR), (None, YR)],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_plain_booster_answers_by_its_objective(objective, label):
    """Labels and shares where it tells classes apart, and its own prediction elsewhere."""
    options = {"objective": objective or _squared, "verbose": -1, "num_threads": 1}
    if str(objective).startswith("multi"):
        options["num_class"] = 3
    booster = lgb.train(options, lgb.Dataset(HOLES, label), 9)
    _same(as_estimator(booster), HOLES)


def _squared(sums, rows):
    return sums - rows.get_label(), np.ones_like(sums)


@pytest.mark.parametrize("x", [X, HOLES, ZEROS], ids=["whole", "holes", "zeros"])
@pytest.mark.parametrize(
    "options", [{}, {"boosting_type": "dart"}, {"use_missing": False}], ids=str
)
def test_leaves_that_hold_lines(x, options):
    """Slopes meet the row; where one of their columns is missing, the leaf answers its own value."""
    options = {"linear_tree": True, "n_estimators": 12, **options}
    _same(_regressor(**options).fit(x, YR), x, tolerance=1e-8)
    _same(_classifier(**options).fit(x, Y), x, tolerance=1e-8)


def test_a_single_leaf_holds_a_line():
    """A tree without a split answers what LightGBM answers."""
    model = _regressor(linear_tree=True, min_split_gain=1e9).fit(HOLES, YR)
    assert_same(model, HOLES, tolerance=1e-12)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"pred_early_stop": True}, "pred_early_stop"),
        ({"objective": lambda y, p: (p - y, np.ones_like(y))}, "function"),
    ],
    ids=["stops early", "own objective"],
)
def test_what_would_not_be_exact_is_refused(options, reason):
    """The reason is told."""
    y = 1 / (1 + np.exp(-YR / 100))
    with pytest.raises(ConversionError, match=reason):
        load(_regressor(**options).fit(XR, y), as_frame(XR))


@pytest.mark.parametrize("y", [B, Y], ids=["binary", "classes"])
@pytest.mark.parametrize("count", [3, 30, 300])
def test_categories_of_a_frame_are_asked_by_membership(y, count):
    """Texts and numbers, few and many; a missing or an unknown one is in no set."""
    rng = np.random.default_rng(count)
    frame = as_frame(X).assign(n=rng.integers(0, 9, 500))
    frame["s"] = [f"c{i}" for i in rng.integers(0, count, 500)]
    framed = frame.astype({"n": "category", "s": "category"})
    options = {"min_data_per_group": 2, "cat_smooth": 1.0, "max_cat_to_onehot": 1}
    model = _classifier(min_child_samples=3, **options).fit(framed, (y + (frame["n"] == 3)) % 3)
    strange, asked = frame.copy(), framed.copy()
    strange.loc[::3, "s"] = asked.loc[::3, "s"] = np.nan
    strange.loc[1::3, "s"] = "never"
    asked.loc[1::3, "s"] = np.nan  # what pandas makes of it
    converted = load(model, frame)
    compare(converted(frame), expected(model, framed), 1e-14)
    compare(converted(strange), expected(model, asked), 1e-14)


def test_categories_in_an_order_are_numbers_by_their_places():
    """LightGBM notes their lists and not their places, which fit one way only; or else it is refused."""
    frame = as_frame(X).assign(size=np.tile(["small", "mid", "large", "huge"], 125))
    frame["s"] = np.tile(list("vwxyz"), 100)
    sizes = pd.CategoricalDtype(["small", "mid", "large", "huge"], ordered=True)
    framed = frame.astype({"size": sizes, "s": "category"})
    label = (B + (frame["size"] == "large")) % 2
    converted = load(model := _classifier().fit(framed, label), frame)
    compare(converted(frame), expected(model, framed), 1e-14)
    strange, asked = frame.copy(), framed.copy()
    strange.loc[::3, "size"], asked.loc[::3, "size"] = "tiny", np.nan
    compare(converted(strange), expected(model, asked), 1e-14)
    framed.insert(0, "n", np.arange(500) % 3)
    with pytest.raises(ConversionError, match="can't be told"):
        load(_classifier().fit(framed, label), frame.assign(n=framed["n"]))


def test_columns_that_were_numbered_and_framed_are_told_apart_or_refused():
    """The booster lists the places of all its categories, and the values of a frame's alone."""
    frame = as_frame(X).assign(s=np.tile(list("vwxyz"), 100), n=np.arange(500) % 4)
    framed = frame.astype({"s": "category"})
    model = _classifier().fit(framed, B, categorical_feature=["n", "s"])
    with pytest.raises(ConversionError, match="can't be told"):
        load(model, frame)
