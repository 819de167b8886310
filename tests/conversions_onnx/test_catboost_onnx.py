"""CatBoost: borders in float32, sums in double."""

from __future__ import annotations

import catboost as cb
import numpy as np
import pandas as pd
import pytest
from onnx_comparison import as_frame, assert_same, compare, expected, hugging, load
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cannery.conversions.onnx.catboost import numeric_splits
from cannery.conversions.onnx.cbm import read
from cannery.errors import ConversionError

X, Y = make_classification(400, 6, n_informative=5, n_redundant=0, n_classes=3, random_state=0)
B = (Y > 0).astype(int)
XR, YR = make_regression(400, 6, noise=3.0, random_state=0)
HOLES = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
POSITIVE = np.exp(YR / 100)
BOTH = np.column_stack([YR, -YR])
QUIET = {"verbose": 0, "thread_count": 1, "allow_writing_files": False, "depth": 4}
ODD = np.array([0.0, -0.0, 1e-40, -1e-40, 1e30, -1e30, 1e300, -1e300])


def _classifier(iterations=20, **options):
    return cb.CatBoostClassifier(**QUIET, iterations=iterations, **options)


def _regressor(iterations=20, **options):
    return cb.CatBoostRegressor(**QUIET, iterations=iterations, **options)


def _same(model, x):
    """Compare on the rows, beside every border, and with odd numbers."""
    converted = assert_same(model, x)
    splits = {
        (int(column), float(limit))
        for columns, limits in numeric_splits(model)
        for column, limit in zip(columns, limits, strict=True)
    }
    odd = np.repeat(x[:6], len(ODD), axis=0)
    odd[np.arange(len(odd)), np.arange(len(odd)) % x.shape[1]] = np.tile(ODD, 6)
    with np.errstate(over="ignore"):  # NaN has a border of its own, the least float
        beside = hugging(x, sorted(splits))
    for rows in (beside, odd, odd[:1]):
        compare(converted(as_frame(rows)), expected(model, rows), 1e-12)


@pytest.mark.parametrize(
    ("model", "x", "y"),
    [
        (_classifier(), X, B),
        (_classifier(iterations=1), X, B > 0),
        (_classifier(), HOLES, B.astype(float)),
        (_classifier(nan_mode="Max"), HOLES, np.where(B, "yes", "no")),
        (_classifier(grow_policy="Lossguide"), HOLES, B),
        (_classifier(grow_policy="Depthwise", min_data_in_leaf=20), X, B),
        (_classifier(loss_function="CrossEntropy"), X, B),
        (_classifier(loss_function="MultiClass"), X, B),
        (_classifier(auto_class_weights="Balanced", boost_from_average=True), X, B),
    ],
    ids=[
        *("binary", "one tree", "holes", "holes last", "lossguide", "depthwise"),
        *("cross entropy", "two of many", "weights"),
    ],
)
def test_a_classifier_of_two_classes_is_exact(model, x, y):
    """Labels agree and probabilities to 1e-12, beside borders too."""
    _same(model.fit(x, y), x)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"nan_mode": "Max"},
        {"grow_policy": "Lossguide"},
        {"loss_function": "MultiClassOneVsAll"},
        {"boosting_type": "Ordered"},
    ],
    ids=lambda options: "-".join(map(str, options.values())) or "plain",
)
def test_a_classifier_of_many_classes_is_exact(options):
    """Labels, which CatBoost answers as a column, and the share of every class agree."""
    _same(_classifier(**options).fit(HOLES, np.array(["a", "b", "c"])[Y]), HOLES)


@pytest.mark.parametrize(
    ("model", "y"),
    [
        (_regressor(), YR + 1000),
        (_regressor(grow_policy="Depthwise"), YR),
        (_regressor(model_shrink_rate=0.1), YR),
        (_regressor(loss_function="MultiRMSE"), BOTH),
        (_regressor(loss_function="MultiQuantile:alpha=0.1,0.9"), YR),
        (_regressor(loss_function="RMSEWithUncertainty"), YR),
        *(
            (_regressor(loss_function=loss), YR)
            for loss in ("MAE", "Quantile:alpha=0.3", "LogCosh")
        ),
        *((_regressor(loss_function=loss), POSITIVE) for loss in ("Poisson", "Cox")),
        (_regressor(loss_function="Tweedie:variance_power=1.5"), POSITIVE),
        (_regressor(loss_function="SurvivalAft"), np.column_stack([POSITIVE, POSITIVE + 1])),
    ],
    ids=lambda value: getattr(value, "_init_params", {}).get("loss_function", ""),
)
def test_a_regressor_is_exact(model, y):
    """What is added, scaled and shifted, and the exponential where CatBoost takes it, agree."""
    _same(model.fit(XR, y), XR)


def test_a_ranker_answers_its_sum():
    """Scores agree."""
    model = cb.CatBoostRanker(**QUIET, iterations=9, loss_function="YetiRank")
    _same(model.fit(X, Y, group_id=np.repeat(np.arange(40), 10)), X)


def test_the_plain_class_answers_its_sum_whatever_the_loss():
    """It is no classifier, though it knows the classes."""
    model = cb.CatBoost({**QUIET, "iterations": 9, "loss_function": "Logloss"}).fit(X, B)
    compare(load(model, as_frame(X))(as_frame(X)), {"prediction": model.predict(X)}, 1e-12)


@pytest.mark.parametrize("threshold", [0.1, 0.9, 0.0, 1.0])
def test_a_threshold_of_its_own_decides_the_label(threshold):
    """It is kept in the model, and not one half."""
    model = _classifier().fit(X, B)
    model.set_probability_threshold(threshold)
    _same(model, X)


def test_the_best_iteration_is_the_last_that_answers():
    """The model is cut where fitting stopped improving."""
    model = _classifier(iterations=200, early_stopping_rounds=5)
    model.fit(X[:300], B[:300], eval_set=(X[300:], B[300:]))
    assert len(read(model._serialize_model()).tree_sizes) == model.get_best_iteration() + 1
    _same(model, X)


def test_scale_and_bias_are_taken_over():
    """They may be set by hand."""
    model = _regressor().fit(XR, YR)
    model.set_scale_and_bias(0.3, -7.0)
    _same(model, XR)


def test_it_stands_in_pipelines_and_ensembles():
    """Behind an imputer and a scaler, and beside another classifier."""
    first = make_pipeline(SimpleImputer(), StandardScaler(), _classifier())
    assert_same(first.fit(HOLES, B), HOLES)
    both = VotingClassifier([("a", _classifier()), ("b", _classifier(iterations=3))], voting="soft")
    assert_same(both.fit(X, B), X)


def test_categories_are_left_to_its_own_file():
    """Statistics of the target stand in for them, and are looked up by hash."""
    frame = pd.DataFrame({"a": X[:, 0], "s": np.where(X[:, 1] > 0, "x", "y")})
    model = _classifier(cat_features=["s"]).fit(frame, B)
    with pytest.raises(ConversionError, match="categories"):
        load(model, frame)


@pytest.mark.parametrize(
    "data", [b"", b"CBM1", b"CBM1\0\0\0\0", b"CBM1" + bytes(40), b"CBM1" + b"\xff" * 60]
)
def test_bytes_that_are_no_model_are_refused(data):
    """Whatever stands behind the magic."""
    with pytest.raises(ConversionError, match="CatBoost"):
        read(data)
