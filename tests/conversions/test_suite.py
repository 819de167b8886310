"""The conversion suite in short: a few of its models, one of each kind, through the line's own conversion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import SparsePCA
from sklearn.dummy import DummyClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder
from suite import Case, run
from suite_cases import cases

from cannery.isolation.describing import describe
from cannery.serving.estimators import table_of
from cannery.signatures import NULL_STRING, Batch, Feature, Signature

CASES = {case.name: case for case in cases()}
EQUAL = (
    "SVC(kernel=poly, probability=True), three classes",
    "FixedThresholdClassifier(estimator=LogisticRegression(max_iter=500), threshold=0.3), two classes",
    "HistGradientBoostingRegressor(loss=poisson, max_iter=10)",
    "IsolationForest(n_estimators=20)",
    "QuantileTransformer(n_quantiles=60, output_distribution=normal)",
    "FeatureAgglomeration(n_clusters=3)",
    "IterativeImputer(max_iter=5), two classes",
    "churn with nulls: standard, one-hot, logistic",
    "churn: power, target, xgboost",
)


def test_the_suite_is_large_enough() -> None:
    """At least 150 models, each under a name of its own."""
    found = cases()
    assert len(found) >= 150
    assert len({(c.group, c.name) for c in found}) == len(found)


@pytest.mark.parametrize("name", EQUAL)
def test_a_model_of_the_suite_becomes_an_equal_graph(name: str) -> None:
    """Audited, converted, audited again, and equal on every kind of row."""
    found = run(CASES[name])
    assert (found.outcome, found.reason) == ("equal", "")
    assert {"sample", "extreme"} <= set(found.kinds)
    assert found.maximum <= 1e-6


def _sparse() -> tuple[Any, pd.DataFrame]:
    x = np.random.default_rng(0).normal(size=(60, 4))
    frame = pd.DataFrame(x, columns=list("abcd"))
    steps = (SparsePCA(2, max_iter=5, random_state=0), LogisticRegression())
    return make_pipeline(*steps).fit(frame, x[:, 0] > 0), frame


def test_an_original_that_refuses_single_rows_is_asked_for_two() -> None:
    """One of its steps forgets that one row is a table, too; the graph does not."""
    found = run(Case(name="sparse components", group="pipelines", make=_sparse))
    assert (found.outcome, found.reason) == ("equal", "")


NONE_STEPS = {
    "encoded": [OneHotEncoder(handle_unknown="ignore")],
    "filled": [SimpleImputer(strategy="most_frequent", missing_values=None), OrdinalEncoder()],
    "not filled": [SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")],
}


@pytest.mark.parametrize("steps", NONE_STEPS.values(), ids=NONE_STEPS)
def test_a_missing_text_that_was_none_in_training_is_none_again(steps: list[Any]) -> None:
    """To scikit-learn None is not NaN: original, graph and schema take it as the model has learned it."""
    random = np.random.default_rng(0)
    texts = pd.Series(random.choice(["a", "b", "c"], 300), dtype=object)
    frame = pd.DataFrame(
        {"n": random.normal(size=300), "s": texts.mask(random.random(300) < 0.1, None)}
    )
    table = ColumnTransformer([("s", make_pipeline(*steps), ["s"])], remainder="passthrough")
    model = make_pipeline(table, LogisticRegression()).fit(
        frame, frame["s"].isna() ^ (frame["n"] > 1)
    )
    assert [column.none for column in describe(model).columns] == [False, True]
    found = run(Case(name="none", group="pipelines", make=lambda: (model, frame)))
    assert (found.outcome, found.reason) == ("equal", "")
    features = (Feature(name="n", type="double"), Feature(name="s", type="string", none=True))
    rows = Batch(
        numbers=frame[["n"]].to_numpy(), strings=frame[["s"]].fillna(NULL_STRING).to_numpy(object)
    )
    seen = table_of(rows, Signature(features=features, outputs=()), named=True)
    assert (model.predict_proba(seen) == model.predict_proba(frame)).all()


def test_ties_that_no_graph_can_settle_are_left_to_skops() -> None:
    """A tree's search takes the same of equally far points whatever comes with a row, if all rows have some."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.integers(0, 2, (200, 3)), columns=list("abc"))
    model = KNeighborsClassifier(algorithm="kd_tree").fit(frame, random.integers(0, 2, 200))
    found = run(Case(name="ties", group="classifiers", make=lambda: (model, frame)))
    assert (found.outcome, found.runtime) == ("fallback", "skops")
    assert found.rows > 200
    assert "equally far" in found.reason


def test_a_model_that_answers_at_random_is_refused_with_that_reason() -> None:
    """It is no function of the row, and nothing could answer the same."""
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(100, 3)), columns=list("abc"))
    model = DummyClassifier(strategy="uniform").fit(frame, frame["a"] > 0)
    found = run(Case(name="random", group="classifiers", make=lambda: (model, frame)))
    assert found.outcome == "refused"
    assert "when others come with it" in found.reason


def test_the_suite_in_a_sandbox_finds_the_same() -> None:
    """With the original in a worker's process, the answer is that of the process at hand."""
    case = CASES["churn with nulls: standard, one-hot, logistic"]
    near, far = run(case), run(case, worker=True)
    assert (near.outcome, near.rows, near.maximum) == (far.outcome, far.rows, far.maximum)
