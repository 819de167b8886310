"""Detectors of outliers: scores, and labels at the very threshold."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_comparison import as_frame, assert_same, compare, expected, hugging, tree_thresholds
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import SGDOneClassSVM
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X = np.random.default_rng(0).normal(size=(201, 4))
FAR = np.vstack([X, X * 3])


@pytest.mark.parametrize(
    "settings",
    [{}, {"contamination": 0.1}, {"max_features": 0.5}, {"bootstrap": True, "max_samples": 50}],
    ids=str,
)
def test_a_forest_of_isolation(settings):
    """Scores are those of all trees; 21 rows lie on the threshold or below, one exactly on it."""
    model = IsolationForest(n_estimators=20, random_state=0, **settings).fit(X)
    assert_same(model, FAR)


def test_rows_beside_the_splits_of_isolation():
    """A scaler before the forest is folded into its splits."""
    model = IsolationForest(n_estimators=10, random_state=0, contamination=0.1).fit(X)
    converted = assert_same(model, X)
    rows = hugging(X, tree_thresholds(model))
    compare(converted(as_frame(rows)), expected(model, rows), 1e-12)
    assert_same(make_pipeline(StandardScaler(), model).fit(X), FAR)


@pytest.mark.parametrize("model", [EllipticEnvelope(random_state=0), SGDOneClassSVM()], ids=str)
def test_an_envelope_and_a_hyperplane(model):
    """The offset of the envelope is the score of a row of the training."""
    assert_same(model.fit(X), FAR, tolerance=1e-11)
