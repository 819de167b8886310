"""The conversion suite in short: a few of its models, one of each kind, through the line's own conversion."""

from __future__ import annotations

import pytest
from suite import run
from suite_cases import cases

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


def test_the_suite_in_a_sandbox_finds_the_same() -> None:
    """With the original in a worker's process, the answer is that of the process at hand."""
    case = CASES["churn with nulls: standard, one-hot, logistic"]
    near, far = run(case), run(case, worker=True)
    assert (near.outcome, near.rows, near.maximum) == (far.outcome, far.rows, far.maximum)
