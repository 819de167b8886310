"""Pipelines, column transformers, unions, searches and transformed targets."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_comparison import assert_same, compare, expected, load
from sklearn.compose import (
    ColumnTransformer,
    TransformedTargetRegressor,
    make_column_selector,
    make_column_transformer,
)
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)
from sklearn.tree import DecisionTreeClassifier

NUMBERS = ["tenure", "monthly_charges", "total_charges", "num_services"]
STRINGS = ["contract", "payment_method"]


def _split(churn):
    return churn.drop(columns="churn"), churn["churn"]


def lesson(**settings):
    """Return the lesson's pipeline."""
    columns = ColumnTransformer(
        [
            ("num", StandardScaler(), NUMBERS),
            ("cat", OneHotEncoder(handle_unknown="ignore"), STRINGS),
        ]
    )
    return Pipeline([("columns", columns), ("model", GradientBoostingClassifier(**settings))])


@pytest.mark.parametrize("seed", range(5))
def test_the_lessons_pipeline_is_exact_beside_every_threshold(churn, seed):
    """Five refits agree on the sample, on unseen categories, and one ulp beside each threshold."""
    x, y = _split(churn.sample(900, random_state=seed, ignore_index=True))
    model = lesson(n_estimators=60, random_state=seed).fit(x, y)
    converted = assert_same(model, x, tolerance=1e-15)
    rows = _beside_thresholds(model, x)
    compare(converted(rows), expected(model, rows), 1e-15)
    strange = x.head(20).assign(contract="Weekly", payment_method="")
    compare(converted(strange), expected(model, strange), 1e-15)


def _beside_thresholds(model, x):
    """Return rows whose numbers lie on either side of the split thresholds, as near as doubles can."""
    scaler = model[0].named_transformers_["num"]
    rows = []
    for member in model[1].estimators_.ravel():
        tree = member.tree_
        for feature, threshold in zip(tree.feature, tree.threshold, strict=True):
            if 0 <= feature < len(NUMBERS):
                mean, scale = scaler.mean_[feature], scaler.scale_[feature]
                low, high = _boundary(mean, scale, threshold)
                for value in (low, high, threshold * scale + mean):
                    rows.append((NUMBERS[feature], value))
    rng = np.random.default_rng(0)
    chosen = [rows[i] for i in rng.permutation(len(rows))[:900]]
    frame = x.iloc[rng.integers(0, len(x), len(chosen))].reset_index(drop=True)
    frame = frame.astype(dict.fromkeys(NUMBERS, float))
    for at, (name, value) in enumerate(chosen):
        frame.loc[at, name] = value
    return frame


def _boundary(mean, scale, threshold):
    """Return the two adjacent doubles between which float32((x - mean) / scale) passes the threshold."""
    low = threshold * scale + mean - 1e-3 * scale
    high = low + 2e-3 * scale
    while np.nextafter(low, high) != high:
        middle = (low + high) / 2
        if float(np.float32((middle - mean) / scale)) <= threshold:
            low = middle
        else:
            high = middle
    return low, high


SELECTIONS = {
    "names": NUMBERS[:2],
    "positions": [0, 2],
    "negative positions": [-1, 0],
    "slice": slice(0, 2),
    "slice of names": slice("tenure", "total_charges"),
    "mask": [True, False, True, False, False, True],
    "selector": make_column_selector(dtype_include="number"),
}


@pytest.mark.parametrize("columns", SELECTIONS.values(), ids=SELECTIONS)
@pytest.mark.parametrize("remainder", ["drop", MinMaxScaler(), "passthrough"], ids=str)
def test_columns_are_chosen_in_every_way(churn, columns, remainder):
    """By name, position, slice, mask and selector, with each kind of remainder."""
    x, y = _split(churn)
    x = x[[*NUMBERS[:2], "total_charges", *STRINGS, "num_services"]]
    if remainder != "drop":
        x = x.drop(columns=STRINGS).assign(a=1.5, b=x["tenure"] * 2)
    model = make_pipeline(
        ColumnTransformer([("s", StandardScaler(), columns)], remainder=remainder),
        DecisionTreeClassifier(max_depth=5, random_state=0),
    )
    assert_same(model.fit(x, y), x, tolerance=0.0)


def test_a_column_transformer_weighs_drops_and_passes(churn):
    """Weights, 'drop', 'passthrough' and empty selections."""
    x, _ = _split(churn)
    model = ColumnTransformer(
        [
            ("a", StandardScaler(), ["tenure"]),
            ("b", "passthrough", ["num_services"]),
            ("c", "drop", ["contract"]),
            ("d", MinMaxScaler(), []),
            ("e", OneHotEncoder(), ["payment_method"]),
        ],
        transformer_weights={"a": 0.5, "e": 3.0},
    )
    assert_same(model.fit(x), x, tolerance=0.0)


def test_columns_that_the_model_drops_need_not_be_features(churn):
    """A signature without the dropped columns is enough, in any order."""
    x, y = _split(churn)
    model = make_pipeline(
        ColumnTransformer([("s", StandardScaler(), ["tenure", "num_services"])]), Ridge()
    )
    model.fit(x, (y == "Yes").astype(float))
    kept = x[["num_services", "tenure"]]
    compare(load(model, kept)(kept), expected(model, x), 1e-12)


def test_data_frames_between_steps_keep_their_names(churn):
    """With set_output(transform="pandas") a later step chooses by the names that an earlier one gave."""
    x, y = _split(churn)
    first = make_column_transformer(
        (StandardScaler(), NUMBERS), (OneHotEncoder(sparse_output=False), STRINGS)
    )
    second = make_column_transformer(
        (MinMaxScaler(), ["standardscaler__tenure"]),
        ("passthrough", make_column_selector("contract")),
    )
    model = make_pipeline(first, second, LogisticRegression()).set_output(transform="pandas")
    assert_same(model.fit(x, y), x)


def test_a_pipeline_of_everything(churn):
    """Imputers, encoders, unions and nested pipelines in front of a forest."""
    x, y = _split(churn)
    x = x.copy()
    x.loc[::11, "total_charges"] = np.nan
    x.loc[::13, "contract"] = np.nan
    numeric = Pipeline(
        [
            ("impute", SimpleImputer(strategy="median", add_indicator=True)),
            (
                "both",
                FeatureUnion(
                    [("s", StandardScaler()), ("m", MinMaxScaler()), ("p", "passthrough")]
                ),
            ),
            ("nothing", "passthrough"),
        ]
    )
    words = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="?"),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    )
    columns = ColumnTransformer([("n", numeric, NUMBERS), ("w", words, STRINGS)])
    model = make_pipeline(columns, RandomForestClassifier(15, random_state=0)).fit(x, y)
    converted = assert_same(model, x, tolerance=0.0)
    strange = x.head(30).assign(contract="Weekly")
    compare(converted(strange), expected(model, strange), 0.0)


@pytest.mark.parametrize("search", [GridSearchCV, RandomizedSearchCV])
def test_a_search_answers_with_its_best_estimator(churn, search):
    """The refitted estimator is converted."""
    x, y = _split(churn)
    space = {"model__max_depth": [1, 2]}
    settings = {"n_iter": 2} if search is RandomizedSearchCV else {}
    model = search(lesson(n_estimators=3), space, cv=2, **settings).fit(x, y)
    assert_same(model, x, tolerance=1e-15)


@pytest.mark.parametrize(
    "settings",
    [
        {"func": np.log1p, "inverse_func": np.expm1},
        {"func": np.sqrt, "inverse_func": np.square},
        {"func": np.log, "inverse_func": np.exp},
        {"transformer": StandardScaler()},
        {},
    ],
    ids=str,
)
def test_a_transformed_target_is_transformed_back(churn, settings):
    """The inverse function is applied to the prediction."""
    x = churn[NUMBERS]
    model = TransformedTargetRegressor(LinearRegression(), **settings).fit(
        x, churn["total_charges"]
    )
    assert_same(model, x)


def test_a_function_transformer_keeps_the_names_of_a_frame(churn):
    """Numpy's functions on a data frame answer a data frame, from which columns are chosen by name."""
    x, y = _split(churn)
    chosen = ColumnTransformer([("s", StandardScaler(), ["total_charges", "tenure"])])
    model = make_pipeline(FunctionTransformer(np.log1p), chosen, LogisticRegression())
    model.set_output(transform="pandas")
    assert_same(model.fit(x[NUMBERS], y), x[NUMBERS])


def test_an_array_is_taken_by_position():
    """A model fitted without names takes the features in their order."""
    x = np.random.default_rng(0).normal(size=(80, 3))
    model = make_pipeline(ColumnTransformer([("s", StandardScaler(), [2, 0])]), LinearRegression())
    model.fit(x, x[:, 0])
    assert_same(model, x)
