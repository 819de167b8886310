"""Encoders of categories and imputers, on unseen categories and missing values too."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from onnx_comparison import assert_same, compare, expected, load
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

RNG = np.random.default_rng(0)
N = 400
WORDS = pd.DataFrame(
    {
        "city": RNG.choice(
            ["Rome", "Oslo", "Bern", "Lima", "Kyiv"], N, p=[0.4, 0.3, 0.2, 0.08, 0.02]
        ),
        "size": RNG.choice(["S", "M", "L", "Oslo"], N),
    },
    dtype=object,
)
CODES = pd.DataFrame({"a": RNG.integers(0, 6, N), "b": RNG.choice([-1.5, 0.0, 2.25], N)})
Y = RNG.integers(0, 2, N)
UNSEEN = pd.DataFrame(
    {"city": ["Rome", "Paris", "", "S"], "size": ["XL", "M", "Rome", "Oslo"]}, dtype=object
)
STRANGE = pd.DataFrame({"a": [1.0, 17.0, 0.5], "b": [2.25, -0.0, 2.2500001]})

IGNORING = [
    OneHotEncoder(handle_unknown="ignore"),
    OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.int64),
    OneHotEncoder(handle_unknown="ignore", min_frequency=0.1),
    OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=60),
    OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=3),
    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, min_frequency=50),
    TargetEncoder(),
]
STRICT = [
    OneHotEncoder(),
    OneHotEncoder(drop="first"),
    OneHotEncoder(drop="if_binary"),
    OneHotEncoder(min_frequency=60, drop="first"),
    OrdinalEncoder(),
]


@pytest.mark.parametrize("encoder", IGNORING, ids=str)
@pytest.mark.parametrize(("frame", "strange"), [(WORDS, UNSEEN), (CODES, STRANGE)])
def test_an_encoder_answers_unseen_categories_like_the_original(encoder, frame, strange):
    """Strings and numbers, seen and unseen, give the same columns."""
    encoder.fit(frame, Y)
    converted = assert_same(encoder, frame, tolerance=0.0)
    compare(converted(strange), expected(encoder, strange), 0.0)


@pytest.mark.parametrize("encoder", STRICT, ids=str)
@pytest.mark.parametrize("frame", [WORDS, CODES])
def test_a_strict_encoder_answers_seen_categories(encoder, frame):
    """Dropped and grouped categories leave the same columns."""
    assert_same(encoder.fit(frame, Y), frame, tolerance=0.0)


@pytest.mark.filterwarnings("ignore:Found unknown categories")
def test_unknown_categories_beside_a_dropped_one_are_zeros():
    """With drop='first' an unseen category looks like the dropped one, as in the original."""
    encoder = OneHotEncoder(drop="first", handle_unknown="ignore").fit(WORDS)
    converted = load(encoder, WORDS)
    compare(converted(UNSEEN), expected(encoder, UNSEEN), 0.0)


@pytest.mark.parametrize("encoder", [IGNORING[0], IGNORING[3], IGNORING[5], IGNORING[7]], ids=str)
@pytest.mark.parametrize("missing", [None, np.nan])
def test_a_missing_string_is_a_category_of_its_own(encoder, missing):
    """A null that was seen in training has its own column, code or mean."""
    frame = WORDS.copy()
    frame.loc[::9, "city"] = missing
    encoder.fit(frame, Y)
    assert_same(encoder, frame, tolerance=0.0)


def test_a_missing_number_is_a_category_of_its_own():
    """NaN among numeric categories is told from all numbers."""
    frame = CODES.astype(float)
    frame.loc[::7, "b"] = np.nan
    assert_same(OneHotEncoder(handle_unknown="ignore").fit(frame), frame, tolerance=0.0)
    assert_same(OrdinalEncoder(encoded_missing_value=-2).fit(frame), frame, tolerance=0.0)


@pytest.mark.parametrize("encoder", IGNORING, ids=str)
@pytest.mark.parametrize(("frame", "strange"), [(WORDS, UNSEEN), (CODES, STRANGE)])
@pytest.mark.parametrize("kind", [RandomForestClassifier, HistGradientBoostingClassifier])
def test_trees_behind_an_encoder_are_exact(encoder, frame, strange, kind):
    """Trees ask for categories, or sets of them, and answer the same."""
    trees = kind(8, random_state=0) if kind is RandomForestClassifier else kind(max_iter=6)
    encoder = clone(encoder)
    if isinstance(encoder, OneHotEncoder) and kind is HistGradientBoostingClassifier:
        encoder.set_params(sparse_output=False)
    model = make_pipeline(encoder, trees).fit(frame, Y)
    converted = assert_same(model, frame, tolerance=1e-15)
    compare(converted(strange), expected(model, strange), 1e-15)


@pytest.mark.parametrize(
    "imputer",
    [
        SimpleImputer(),
        SimpleImputer(strategy="median", add_indicator=True),
        SimpleImputer(strategy="most_frequent"),
        SimpleImputer(strategy="constant", fill_value=-3.5, add_indicator=True),
        MissingIndicator(),
        MissingIndicator(features="all"),
    ],
    ids=str,
)
def test_an_imputer_fills_and_flags(imputer):
    """Missing numbers are filled, and flagged where asked, alone and in front of trees."""
    x = RNG.normal(size=(200, 4))
    x[RNG.random(x.shape) < 0.2] = np.nan
    x[:, 3] = RNG.normal(size=200)
    assert_same(imputer.fit(x), x, tolerance=0.0)
    tree = HistGradientBoostingClassifier(max_iter=5)
    assert_same(make_pipeline(imputer, tree).fit(x, Y[:200]), x, tolerance=1e-15)


def test_an_imputer_replaces_a_number_that_means_missing():
    """A sentinel is replaced, NaN is not concerned."""
    x = RNG.integers(-1, 5, (100, 3)).astype(float)
    assert_same(SimpleImputer(missing_values=-1, add_indicator=True).fit(x), x, tolerance=0.0)


@pytest.mark.filterwarnings("ignore:Skipping features without any observed values")
@pytest.mark.parametrize("keep", [False, True])
def test_a_column_without_values_is_left_out_or_kept(keep):
    """`keep_empty_features` decides over a column that was never seen."""
    x = RNG.normal(size=(50, 3))
    x[:, 1] = np.nan
    assert_same(SimpleImputer(keep_empty_features=keep).fit(x), x, tolerance=0.0)


@pytest.mark.parametrize("strategy", ["most_frequent", "constant"])
def test_a_missing_string_is_filled_before_it_is_encoded(strategy):
    """What an imputer puts in place of a null is encoded like that string."""
    frame = WORDS.copy()
    frame.loc[::9, "city"] = np.nan
    imputer = SimpleImputer(strategy=strategy, fill_value="Oslo", add_indicator=False)
    for encoder in (IGNORING[0], IGNORING[5]):
        model = make_pipeline(imputer, encoder).fit(frame)
        converted = assert_same(model, frame, tolerance=0.0)
        compare(converted(UNSEEN), expected(model, UNSEEN), 0.0)


FILLED = {
    "one-hot": OneHotEncoder(handle_unknown="ignore"),
    "ordinal": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    "target": TargetEncoder(target_type="binary", random_state=0),
}


@pytest.mark.parametrize("encoder", FILLED.values(), ids=FILLED)
def test_a_missing_number_among_texts_is_filled_with_a_text(encoder):
    """One imputer fills both: what was missing is then a category that was never seen."""
    frame = pd.DataFrame({"city": WORDS["city"], "a": CODES["a"].astype(float)})
    empty = frame.assign(a=frame["a"].where(RNG.random(N) < 0.9, np.nan))
    imputer = SimpleImputer(strategy="constant", fill_value="none")
    model = make_pipeline(imputer, encoder).fit(frame, Y)
    compare(load(model, frame)(empty), expected(model, empty), 0.0)


def test_what_was_filled_with_a_text_is_no_longer_missing():
    """To a second imputer, and to an indicator."""
    frame = pd.DataFrame({"city": WORDS["city"], "a": CODES["a"].astype(float)})
    empty = frame.assign(a=frame["a"].where(RNG.random(N) < 0.9, np.nan))
    steps = [SimpleImputer(strategy="constant", fill_value=text) for text in ("none", "other")]
    model = make_pipeline(*steps, MissingIndicator(features="all")).fit(empty)
    compare(load(model, frame)(empty), expected(model, empty), 0.0)
