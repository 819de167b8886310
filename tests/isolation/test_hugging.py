"""Rows beside split thresholds: adjacent values on which a tree changes its mind."""

from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor, VotingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.multioutput import RegressorChain
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PowerTransformer, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from cannery.conversions.onnx.lightgbm import numeric_splits
from cannery.isolation.hugging import hug
from cannery.signatures import Batch, Feature

FEATURES = (Feature(name="a", type="double"), Feature(name="b", type="double"))
NUMBERS = np.random.default_rng(0).normal(5.0, 3.0, size=(300, 2))
TARGET = NUMBERS[:, 0] * 2 + np.sin(NUMBERS[:, 1])
BATCH = Batch(numbers=NUMBERS, strings=np.empty((300, 0), dtype=object))


def pairs_of(model: Any, features: tuple[Feature, ...] = FEATURES, batch: Batch = BATCH) -> Any:
    """Return the rows for a model as [pairs, (lower, upper), columns]."""
    rows = hug(model, batch, features, lambda b: b.numbers, cap=400, seed=1)
    return rows.numbers.reshape(-1, 4, rows.numbers.shape[1])[:, :2]


@pytest.mark.parametrize("scaled", [False, True])
def test_the_cast_to_float32_changes_between_neighbours(scaled: bool) -> None:
    """Both values of a pair are adjacent doubles, and lie on two sides of a threshold of the tree."""
    steps = [StandardScaler()] if scaled else []
    model = make_pipeline(*steps, DecisionTreeRegressor(max_depth=4)).fit(NUMBERS, TARGET)
    pairs = pairs_of(model)
    assert len(pairs) >= 10
    moved = np.abs(pairs[:, 1] - pairs[:, 0]).argmax(axis=1)
    at = np.arange(len(pairs))
    low, high = pairs[at, 0, moved], pairs[at, 1, moved]
    assert np.array_equal(np.nextafter(low, np.inf), high)
    thresholds = model[-1].tree_.threshold
    single = model[0].transform(pairs.reshape(-1, 2)) if scaled else pairs.reshape(-1, 2)
    single = single.astype(np.float32).astype(float).reshape(pairs.shape)
    crossed = (single[at, 0, moved, None] <= thresholds) != (
        single[at, 1, moved, None] <= thresholds
    )
    assert crossed.any(axis=1).all()


def test_pipelines_within_an_ensemble_are_hugged() -> None:
    """Members that can be indexed are walked as what they are, behind their own steps."""
    member = make_pipeline(StandardScaler(), DecisionTreeRegressor(max_depth=3))
    model = VotingRegressor([("a", member), ("b", member)]).fit(NUMBERS, TARGET)
    pairs = pairs_of(model)
    assert len(pairs) >= 5
    at, moved = np.arange(len(pairs)), np.abs(pairs[:, 1] - pairs[:, 0]).argmax(axis=1)
    low, high = pairs[at, 0, moved], pairs[at, 1, moved]
    assert np.array_equal(np.nextafter(low, np.inf), high)
    assert (model.predict(pairs[:, 0]) != model.predict(pairs[:, 1])).any()


def test_histogram_trees_are_hugged_in_double() -> None:
    """The lower value of a pair is the threshold itself, since nothing is cast."""
    model = HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=5).fit(NUMBERS, TARGET)
    pairs = pairs_of(model)
    nodes = np.concatenate([p.nodes for stage in model._predictors for p in stage])
    thresholds = set(nodes["num_threshold"][nodes["is_leaf"] == 0].tolist())
    moved = np.abs(pairs[:, 1] - pairs[:, 0]).argmax(axis=1)
    assert set(pairs[np.arange(len(pairs)), 0, moved].tolist()) <= thresholds


def test_boosters_are_hugged_as_they_compare() -> None:
    """LightGBM's thresholds are doubles that still pass; XGBoost's are floats that no longer do."""
    model = lightgbm.LGBMRegressor(n_estimators=5, verbose=-1).fit(NUMBERS, TARGET)
    pairs = pairs_of(model)
    thresholds = {t for _, each in numeric_splits(model) for t in each.tolist()}
    moved = np.abs(pairs[:, 1] - pairs[:, 0]).argmax(axis=1)
    assert set(pairs[np.arange(len(pairs)), 0, moved].tolist()) <= thresholds
    pairs = pairs_of(xgboost.XGBRegressor(n_estimators=5, n_jobs=1).fit(NUMBERS, TARGET))
    moved = np.abs(pairs[:, 1] - pairs[:, 0]).argmax(axis=1)
    single = pairs[np.arange(len(pairs)), :, moved].astype(np.float32)
    assert np.array_equal(np.nextafter(single[:, 0], np.float32(np.inf)), single[:, 1])


def test_whole_numbers_stay_whole() -> None:
    """A feature that is sent as an integer is moved by one."""
    whole = np.round(NUMBERS)
    model = DecisionTreeRegressor(max_depth=4).fit(whole, TARGET)
    features = tuple(Feature(name=n, type="long") for n in "ab")
    batch = Batch(numbers=whole, strings=BATCH.strings)
    pairs = pairs_of(model, features, batch)
    assert len(pairs)
    assert np.array_equal(pairs, np.trunc(pairs))
    assert set(np.abs(pairs[:, 1] - pairs[:, 0]).max(axis=1).tolist()) == {1.0}


def test_the_cap_holds_and_the_seed_decides() -> None:
    """A large forest gives no more rows than asked for, and the same ones every time."""
    model = RandomForestRegressor(n_estimators=20, random_state=0).fit(NUMBERS, TARGET)
    first = hug(model, BATCH, FEATURES, lambda b: b.numbers, cap=100, seed=3)
    again = hug(model, BATCH, FEATURES, lambda b: b.numbers, cap=100, seed=3)
    assert 80 <= len(first) <= 100
    assert np.array_equal(first.numbers, again.numbers)


def test_a_model_without_trees_has_no_thresholds() -> None:
    """Nothing is hugged in a linear model."""
    model = LinearRegression().fit(NUMBERS, TARGET)
    assert len(hug(model, BATCH, FEATURES, lambda b: b.numbers, cap=100, seed=0)) == 0


def test_what_a_chain_hands_on_is_no_column_to_be_moved() -> None:
    """Its later members split on the answers of those before, too."""
    numbers = BATCH.numbers
    model = RegressorChain(DecisionTreeRegressor(max_depth=4)).fit(
        numbers, np.stack([numbers[:, 0], 2 * numbers[:, 0] + numbers[:, 1]], axis=1)
    )
    assert len(pairs_of(model))


def test_numbers_that_a_step_does_not_take_are_left_where_they_are() -> None:
    """An encoder refuses categories that it has not seen, a power what is not above 0."""
    numbers = np.column_stack([np.arange(300) % 3 * 10.0, np.abs(NUMBERS[:, 1]) + 0.1])
    columns = ColumnTransformer(
        [
            ("kind", OneHotEncoder(sparse_output=False), [0]),
            ("size", PowerTransformer(method="box-cox"), [1]),
        ]
    )
    model = make_pipeline(columns, DecisionTreeRegressor(max_depth=4)).fit(numbers, TARGET)
    batch = Batch(numbers=numbers, strings=BATCH.strings)
    features = (
        Feature(name="kind", type="long"),
        Feature(name="size", type="double", least=5e-324),
    )
    rows = hug(model, batch, features, lambda b: b.numbers, cap=400, seed=1).numbers
    assert len(rows)
    assert set(rows[:, 0]) == {0.0, 10.0, 20.0}
    assert np.isfinite(model.predict(rows)).all()
