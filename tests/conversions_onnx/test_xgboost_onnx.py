"""XGBoost: sums in float32, in the order of the trees."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb
from onnx_comparison import as_frame, assert_same, compare, expected, hugging, load
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification, make_regression
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    Normalizer,
    OneHotEncoder,
    PolynomialFeatures,
    StandardScaler,
)

from cannery.conversions.onnx.answers import last_below_half
from cannery.conversions.onnx.xgboost import _logistic, _rounded_to, booster_of, numeric_splits
from cannery.errors import ConversionError
from cannery.serving.boosters import as_estimator

X, Y = make_classification(500, 6, n_informative=5, n_redundant=0, n_classes=3, random_state=0)
B = (Y > 0).astype(int)
XR, YR = make_regression(500, 6, noise=3.0, random_state=0)
HOLES = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
ZEROS = np.where(np.random.default_rng(1).random(X.shape) < 0.3, 0.0, X)
POSITIVE = np.exp(YR / 100)
BOTH = np.column_stack([YR, 1 - YR])
VECTORS = "multi_output_tree"
ALONE = {"n_jobs": 1}
ODD = np.array([np.nan, 0.0, -0.0, 1e-40, -1e-40, 1e30, -1e30, 1e300, -1e300])


def _rows(model, x):
    """Return rows at the thresholds, and rows with odd numbers."""
    splits = [
        (int(column), float(np.nextafter(np.float32(limit), np.float32(np.inf))))
        for columns, limits in numeric_splits(model)
        for column, limit in zip(columns, limits, strict=True)
    ]
    odd = np.repeat(x[:6], len(ODD), axis=0)
    odd[np.arange(len(odd)), np.arange(len(odd)) % x.shape[1]] = np.tile(ODD, 6)
    return np.concatenate([hugging(x, sorted(set(splits))), odd])


def _same(model, x, tolerance):
    converted = assert_same(model, x, tolerance=tolerance)
    rows = _rows(model, x)
    for some in (rows, rows[:1], rows[:129]):
        compare(converted(as_frame(some)), expected(model, some), tolerance)


@pytest.mark.parametrize(
    ("model", "x", "y"),
    [
        (xgb.XGBClassifier(**ALONE, n_estimators=200), X, B),
        (xgb.XGBClassifier(**ALONE, n_estimators=1, max_depth=1), HOLES, B),
        (xgb.XGBClassifier(**ALONE, n_estimators=30, base_score=0.3, subsample=0.7), HOLES, B),
        (xgb.XGBClassifier(**ALONE, n_estimators=30), HOLES, Y),
        (xgb.XGBClassifier(**ALONE, n_estimators=10, objective="multi:softmax"), X, Y),
        (xgb.XGBClassifier(**ALONE, n_estimators=20, booster="dart", rate_drop=0.3), HOLES, B),
        (xgb.XGBClassifier(**ALONE, n_estimators=20, booster="dart", rate_drop=0.3), X, Y),
        (xgb.XGBRFClassifier(**ALONE, n_estimators=30), X, Y),
        (xgb.XGBClassifier(**ALONE, n_estimators=20, missing=0.0), ZEROS, B),
        (xgb.XGBClassifier(**ALONE, n_estimators=9, objective="binary:hinge"), HOLES, B),
        (xgb.XGBClassifier(**ALONE, n_estimators=9, objective="reg:logistic"), HOLES, B),
        (xgb.XGBClassifier(**ALONE, n_estimators=9, multi_strategy=VECTORS), HOLES, Y),
    ],
    ids=[
        *("binary", "stump", "base score", "classes", "softmax", "dart", "dart of classes"),
        *("forest", "zero is missing", "hinge", "logistic regression", "vector leaves"),
    ],
)
def test_a_classifier_is_exact_at_its_thresholds(model, x, y):
    """Labels agree, and probabilities to the digits of float32, beside thresholds and with NaN."""
    _same(model.fit(x, y), x, 2e-7)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_regressor_sums_in_the_same_order(depth):
    """Predictions agree to the last bit, far from zero too, where a sum in double would differ."""
    _same(xgb.XGBRegressor(**ALONE, n_estimators=100, max_depth=depth).fit(XR, YR + 1000), XR, 0.0)


@pytest.mark.parametrize(
    ("model", "y"),
    [
        (xgb.XGBRegressor(**ALONE, n_estimators=40, booster="dart", rate_drop=0.3), YR + 1000),
        (xgb.XGBRegressor(**ALONE, n_estimators=20, base_score=12.3), YR),
        (xgb.XGBRFRegressor(**ALONE, n_estimators=30), YR),
        (xgb.XGBRegressor(**ALONE, n_estimators=10), BOTH),
        (xgb.XGBRegressor(**ALONE, n_estimators=10, multi_strategy=VECTORS), BOTH),
        (
            xgb.XGBRegressor(
                **ALONE, n_estimators=5, objective="reg:quantileerror", quantile_alpha=[0.1]
            ),
            YR,
        ),
        (xgb.XGBRegressor(**ALONE, n_estimators=20, objective="reg:absoluteerror"), YR),
    ],
    ids=["dart", "base score", "forest", "two targets", "vector leaves", "quantile", "absolute"],
)
def test_every_kind_of_regressor_agrees_to_the_last_bit(model, y):
    """What is added, and what it starts from, is rounded as XGBoost rounds it."""
    _same(model.fit(XR, y), XR, 0.0)


@pytest.mark.parametrize("objective", ["count:poisson", "reg:gamma", "reg:tweedie", "survival:cox"])
def test_a_logarithmic_link_is_undone(objective):
    """The exponential is rounded to float32."""
    model = xgb.XGBRegressor(**ALONE, n_estimators=30, objective=objective)
    _same(model.fit(XR, POSITIVE), XR, 2e-7)


def test_fitting_that_stopped_early_answers_with_the_best_iteration():
    """Later trees are left out, with several trees in each round and for each class."""
    model = xgb.XGBClassifier(
        **ALONE, n_estimators=200, early_stopping_rounds=3, num_parallel_tree=2
    )
    model.fit(X[:300], Y[:300], eval_set=[(X[300:], Y[300:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    _same(model, X, 2e-7)


@pytest.mark.parametrize(
    ("kind", "y"),
    [
        (xgb.XGBRegressor, YR),
        (xgb.XGBRegressor, BOTH),
        (xgb.XGBClassifier, B),
        (xgb.XGBClassifier, Y),
    ],
    ids=["regressor", "two targets", "classifier", "classes"],
)
def test_a_linear_booster_adds_in_the_order_of_its_columns(kind, y):
    """A missing number adds nothing; what is rounded after every column is rounded here."""
    model = kind(**ALONE, booster="gblinear", n_estimators=9).fit(HOLES, y)
    assert_same(model, 100 * HOLES, tolerance=2e-7)


@pytest.mark.parametrize(
    ("objective", "label"),
    [
        *(("binary:logistic", B), ("binary:hinge", B), ("binary:logitraw", B), ("reg:logistic", B)),
        *(("multi:softmax", Y), ("multi:softprob", B), ("rank:pairwise", Y)),
        ("reg:squarederror", BOTH),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_plain_booster_answers_by_its_objective(objective, label):
    """Labels and shares where it tells classes apart, and its own prediction elsewhere."""
    options = {"objective": objective, "nthread": 1}
    if objective.startswith("multi"):
        options["num_class"] = len(np.unique(label))
    booster = as_estimator(xgb.train(options, xgb.DMatrix(HOLES, label), 9))
    assert_same(booster, HOLES, tolerance=2e-7)


def test_a_plain_booster_asks_all_its_rounds():
    """Where fitting stopped early, estimators leave later rounds out, and boosters don't."""
    rows, held = xgb.DMatrix(X[:300], B[:300]), xgb.DMatrix(X[300:], B[300:])
    options = {"objective": "binary:logistic", "nthread": 1}
    stopped = {"evals": [(held, "held")], "early_stopping_rounds": 9, "verbose_eval": False}
    booster = xgb.train(options, rows, 300, **stopped)
    assert booster.best_iteration + 1 < booster.num_boosted_rounds()
    assert_same(as_estimator(booster), X, tolerance=2e-7)


def test_the_time_of_survival_is_undone():
    """The model of accelerated failure answers the exponential of its margin."""
    rows = xgb.DMatrix(XR)
    rows.set_float_info("label_lower_bound", POSITIVE)
    rows.set_float_info("label_upper_bound", POSITIVE + 1)
    booster = xgb.train({"objective": "survival:aft", "nthread": 1}, rows, 9)
    assert_same(as_estimator(booster), XR, tolerance=2e-7)


def test_the_start_is_rounded_as_the_c_library_does():
    """The logarithm of this base score is not the nearest float there."""
    model = xgb.XGBRegressor(
        **ALONE, n_estimators=3, base_score=1.0130885, objective="count:poisson"
    )
    model.fit(XR, POSITIVE)
    start = booster_of(model).start[0]
    empty = xgb.train(
        {"objective": "count:poisson", "base_score": 1.0130885}, xgb.DMatrix(XR, POSITIVE), 0
    )
    assert empty.predict(xgb.DMatrix(XR), output_margin=True)[0] == start


def test_a_ranker_answers_its_margin():
    """Scores agree to the last bit."""
    model = xgb.XGBRanker(**ALONE, n_estimators=10).fit(X, Y, qid=np.repeat(np.arange(50), 10))
    _same(model, X, 0.0)


def test_a_label_changes_where_the_rounded_probability_exceeds_one_half():
    """Margins so small that float32 rounds their probability to one half give the first class."""
    limit = np.float32(last_below_half(_logistic, np.float32))
    above = np.nextafter(limit, np.float32(1))
    rows = xgb.DMatrix(X[:2], base_margin=[limit, above])
    treeless = xgb.train({"objective": "binary:logistic"}, xgb.DMatrix(X, B), num_boost_round=0)
    assert (treeless.predict(rows) > 0.5).tolist() == [False, True]


def _frame():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": X[:, 0], "b": 100 * X[:, 1], "n": rng.integers(0, 9, 500)})
    frame["s"] = rng.choice(list("wxyz"), 500).astype(object)
    frame.loc[::13, "a"] = np.nan
    return frame, ((X[:, 0] > 0) ^ (frame["s"] == "x")).astype(int)


@pytest.mark.parametrize("sparse", [0.0, 1.0], ids=["dense", "sparse"])
def test_zero_is_missing_in_a_sparse_matrix_alone(sparse):
    """Behind a column transformer, unseen categories and the mean of a scaled column are as they are."""
    frame, y = _frame()
    frame.loc[::7, "b"] = 0.0
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = make_column_transformer(
        (numbers, ["a", "b"]),
        (OneHotEncoder(handle_unknown="ignore"), ["s"]),
        remainder="passthrough",
        sparse_threshold=sparse,
    )
    model = make_pipeline(columns, xgb.XGBClassifier(**ALONE, n_estimators=30)).fit(frame, y)
    converted = assert_same(model, frame, tolerance=2e-7)
    strange = frame.assign(s="never", n=0)
    strange["a"] = numbers.fit(frame[["a", "b"]])[0].statistics_[0]
    compare(converted(strange), expected(model, strange), 2e-7)


@pytest.mark.parametrize(
    "step",
    [Normalizer(), PolynomialFeatures(), SimpleImputer(strategy="most_frequent"), MaxAbsScaler()],
    ids=lambda step: type(step).__name__,
)
def test_a_matrix_stays_sparse_through_further_steps(step):
    """What takes a sparse matrix and answers one leaves its zeros missing."""
    frame, y = _frame()
    encoder = make_column_transformer(
        (OneHotEncoder(), ["s", "n"]), (StandardScaler(), ["b"]), sparse_threshold=1.0
    )
    model = make_pipeline(encoder, step, xgb.XGBClassifier(**ALONE, n_estimators=20)).fit(frame, y)
    assert_same(model, frame, tolerance=2e-7)


def test_named_columns_may_come_in_another_order():
    """Columns are found by the names of fitting."""
    frame = as_frame(X)
    model = xgb.XGBClassifier(**ALONE, n_estimators=5).fit(frame, B)
    compare(load(model, frame[frame.columns[::-1]])(frame), expected(model, frame), 2e-7)


@pytest.mark.parametrize("value", [0.0, 0.1, -999.0, 1e-45, 3.0e38])
def test_the_doubles_that_become_a_float_are_known(value):
    """The ends of the interval become it, and their outer neighbours don't."""
    single = np.float32(value)
    low, high = _rounded_to(single)
    ends = np.array([low, high, np.nextafter(low, -np.inf), np.nextafter(high, np.inf)])
    assert (ends.astype(np.float32) == single).tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("model", "y", "reason"),
    [
        (xgb.XGBClassifier(**ALONE, objective="binary:logitraw", n_estimators=2), B, "logitraw"),
        (
            xgb.XGBRegressor(**ALONE, objective=lambda y, p: (p - y, np.ones_like(y))),
            YR,
            "function",
        ),
    ],
    ids=["raw logits", "own objective"],
)
def test_what_would_not_be_exact_is_refused(model, y, reason):
    """The reason is told."""
    with pytest.raises(ConversionError, match=reason):
        load(model.fit(XR, y), as_frame(XR))


@pytest.mark.parametrize("kind", [xgb.XGBClassifier, xgb.XGBRegressor])
@pytest.mark.parametrize("count", [3, 30, 300])
def test_categories_of_a_frame_are_asked_by_membership(kind, count):
    """Texts and numbers, one against the rest and in sets, few and many, and missing ones."""
    rng = np.random.default_rng(count)
    frame = pd.DataFrame({"a": X[:, 0], "n": rng.integers(0, 9, 500)})
    frame["s"] = [f"c{i}" for i in rng.integers(0, count, 500)]
    y = (X[:, 0] > 0) ^ (frame["s"].str[-1] < "5") ^ (frame["n"] == 3)
    framed = frame.astype({"n": "category", "s": "category"})
    framed.loc[::13, "s"] = frame.loc[::13, "s"] = np.nan
    options = {"n_estimators": 20, "enable_categorical": True, "max_cat_to_onehot": 4}
    model = kind(**ALONE, **options).fit(framed, y.astype(int))
    compare(load(model, frame)(frame), expected(model, framed), 2e-7)


def test_forgotten_categories_are_told(monkeypatch):
    """Before 3.1, a booster knew the codes of categories, and not the categories."""
    frame, y = _frame()
    frame["s"] = frame["s"].astype("category")
    model = xgb.XGBClassifier(**ALONE, n_estimators=2, enable_categorical=True).fit(frame, y)
    booster = model.get_booster()
    older = json.loads(bytes(booster.save_raw(raw_format="json")))
    del older["learner"]["gradient_booster"]["model"]["cats"]
    monkeypatch.setattr(booster, "save_raw", lambda **_: json.dumps(older).encode())
    with pytest.raises(ConversionError, match="does not know the categories"):
        load(model, frame.assign(s="w"))


def test_a_curve_over_probabilities_in_float32_agrees():
    """The steep parts of an isotonic curve show the last bit of what XGBoost answers."""
    inner = xgb.XGBClassifier(**ALONE, n_estimators=15)
    model = CalibratedClassifierCV(inner, method="isotonic", cv=2).fit(X, Y > 0)
    assert model.calibrated_classifiers_[0].calibrators[0].X_thresholds_.dtype == np.float32
    assert_same(model, X, tolerance=1e-15)
