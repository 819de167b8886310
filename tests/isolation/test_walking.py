"""What the first steps of a fitted model tell of its columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMModel, LGBMRegressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)

from cannery.conversions.probes import made_up_rows
from cannery.conversions.schemas import features_of
from cannery.isolation.describing import describe

FRAME = pd.DataFrame(
    {
        "a": np.linspace(10.0, 30.0, 50),
        "b": np.linspace(-5.0, 5.0, 50) ** 3,
        "word": ["red", "blue"] * 25,
        "text": ["good day", "bad night"] * 25,
    }
)


@pytest.mark.parametrize(
    ("step", "seen"),
    [
        (MinMaxScaler(), True),
        (KBinsDiscretizer(4, quantile_method="averaged_inverted_cdf"), True),
        (QuantileTransformer(n_quantiles=20), True),
        (SplineTransformer(), True),
        (StandardScaler(), False),
        (RobustScaler(), False),
        (MaxAbsScaler(), False),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, bool) else "",
)
def test_a_scaler_tells_where_values_lie(step: object, seen: bool) -> None:
    """Only what training saw exactly is said in the schema; the rest still makes likely rows."""
    table = FRAME[["a", "b"]]
    model = make_pipeline(SimpleImputer(), step, LinearRegression()).fit(table, table["a"])
    columns = describe(model).columns
    for column in columns:
        assert column.span is not None
        low, high, exact = column.span
        assert exact is seen
        assert low <= table[column.name].median() <= high
    features = features_of(columns, named=True, recorded=None, sample=None)
    known = [(f.minimum, f.maximum) for f in features]
    assert known == ([(10.0, 30.0), (-125.0, 125.0)] if seen else [(None, None)] * 2)
    rows = made_up_rows(features, columns, 100, seed=0).numbers
    assert rows[:, 0].min() >= columns[0].span[0]
    assert rows[:, 0].max() <= columns[0].span[1]


def test_what_was_scaled_before_tells_nothing() -> None:
    """Edges of bins behind a scaler are not those of the caller's numbers."""
    steps = (StandardScaler(), KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"))
    model = make_pipeline(*steps, LinearRegression()).fit(FRAME[["a"]], FRAME["a"])
    (column,) = describe(model).columns
    assert column.span is not None
    assert column.span[2] is False


def test_columns_of_a_transformer_are_told_apart() -> None:
    """Numbers by their scaler, words by their encoder, and a text by what cuts it."""
    parts = ColumnTransformer(
        [
            ("n", MinMaxScaler(), ["b"]),
            ("w", OneHotEncoder(), ["word"]),
            ("t", TfidfVectorizer(), "text"),
        ]
    )
    model = make_pipeline(parts, LinearRegression()).fit(FRAME, FRAME["a"])
    features = features_of(describe(model).columns, named=True, recorded=None, sample=None)
    told = {f.name: (f.type, f.minimum, f.categories) for f in features}
    assert told == {
        "a": ("double", None, None),
        "b": ("double", -125.0, None),
        "word": ("string", None, ("blue", "red")),
        "text": ("string", None, None),
    }


@pytest.mark.parametrize("around", ["target", "search", "threshold", "calibration"])
def test_what_only_hands_its_rows_on_hides_no_categories(around: str) -> None:
    """So a caller is told by name which values are refused."""
    encoded = ColumnTransformer([("w", OneHotEncoder(), ["word"])], remainder="passthrough")
    last = Ridge() if around in ("target", "search") else LogisticRegression()
    inner = make_pipeline(encoded, last)
    model = {
        "target": lambda: TransformedTargetRegressor(inner, func=np.log1p, inverse_func=np.expm1),
        "search": lambda: GridSearchCV(inner, {"ridge__alpha": [1.0]}, cv=2),
        "threshold": lambda: FixedThresholdClassifier(inner, threshold=0.4),
        "calibration": lambda: CalibratedClassifierCV(inner, cv=2),
    }[around]()
    table = FRAME[["a", "word"]]
    target = table["a"] if around in ("target", "search") else table["a"].round() % 2 == 0
    word = describe(model.fit(table, target)).columns[1]
    assert (word.categories, word.unseen) == (("blue", "red"), False)


def test_an_encoder_of_targets_tells_which_missing_value_it_saw() -> None:
    """None and NaN are two categories to it, and only one of them was in training."""
    words = pd.DataFrame({"word": pd.Series(["a", None, "b"] * 10, dtype=object)})
    model = TargetEncoder(cv=2).fit(words, np.arange(30) % 2)
    (word,) = describe(model).columns
    assert (word.categories, word.unseen, word.none) == (("a", "b"), True, True)


def _encoded(columns: object, *, unknown: str = "error") -> ColumnTransformer:
    return ColumnTransformer([("words", OneHotEncoder(handle_unknown=unknown), columns)])


TAKEN = {
    "a stack": StackingClassifier(
        [
            ("strict", make_pipeline(_encoded(["word"]), LogisticRegression())),
            ("mild", make_pipeline(_encoded(["word"], unknown="ignore"), LogisticRegression())),
        ],
        cv=2,
    ),
    "a vote": VotingClassifier([("one", make_pipeline(_encoded([1]), LogisticRegression()))]),
    "a bag": BaggingClassifier(make_pipeline(_encoded([1]), LogisticRegression()), 2),
    "from a name on": make_pipeline(_encoded(slice("word", None)), LogisticRegression()),
    "from name to name": make_pipeline(_encoded(slice("word", "word")), LogisticRegression()),
    "from a place on": make_pipeline(_encoded(slice(1, None)), LogisticRegression()),
}


@pytest.mark.parametrize("model", TAKEN.values(), ids=TAKEN)
def test_categories_are_known_however_a_column_is_taken(model: object) -> None:
    """By the members of an ensemble too; an encoder that refuses others decides."""
    table = FRAME[["a", "word"]]
    model.fit(table, FRAME["text"])
    word = describe(model).columns[1]
    assert (word.categories, word.unseen) == (("blue", "red"), False)


def test_names_of_lightgbm_before_it_noted_them_for_scikit_learn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Frames with categories are made by the names that the booster itself keeps."""
    table = FRAME[["a", "b"]].assign(word=FRAME["word"].astype("category"))
    model = LGBMRegressor(n_estimators=2, min_child_samples=2, verbose=-1).fit(table, FRAME["a"])
    monkeypatch.delattr(LGBMModel, "feature_names_in_")
    described = describe(model)
    assert described.named
    assert [c.name for c in described.columns] == ["a", "b", "word"]
    assert described.columns[2].categorical
    plain = LGBMRegressor(n_estimators=2, verbose=-1).fit(table[["a", "b"]].to_numpy(), FRAME["a"])
    assert not describe(plain).named
