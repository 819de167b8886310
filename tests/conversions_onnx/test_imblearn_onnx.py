"""imbalanced-learn: samplers are for training alone, and its ensembles are scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from imblearn.ensemble import (
    BalancedBaggingClassifier,
    BalancedRandomForestClassifier,
    EasyEnsembleClassifier,
    RUSBoostClassifier,
)
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import make_pipeline
from imblearn.under_sampling import RandomUnderSampler
from onnx_comparison import assert_same
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

X, Y = make_classification(300, 5, n_informative=4, n_redundant=0, weights=[0.8], random_state=0)
WORDS = np.array(["no", "yes"])[Y]


@pytest.mark.parametrize(
    "model",
    [
        BalancedRandomForestClassifier(8, random_state=0),
        BalancedBaggingClassifier(n_estimators=4, random_state=0),
        BalancedBaggingClassifier(LogisticRegression(), n_estimators=3, random_state=0),
        EasyEnsembleClassifier(3, random_state=0),
        RUSBoostClassifier(n_estimators=6, random_state=0),
    ],
    ids=["forest", "bag of trees", "bag of lines", "easy", "boost"],
)
def test_an_ensemble_of_balanced_samples(model):
    """Its members are asked as they are, without what sampled their rows."""
    assert_same(model.fit(X, WORDS), X, tolerance=1e-14)


@pytest.mark.parametrize("place", [0, 1], ids=["first", "in the middle"])
@pytest.mark.parametrize("sampler", [SMOTE(random_state=0), RandomUnderSampler(random_state=0)])
def test_a_sampler_in_a_pipeline_does_nothing_to_a_row(sampler, place):
    """Wherever it stands."""
    steps = [make_column_transformer((StandardScaler(), [0, 1]), remainder="passthrough")]
    steps.insert(place, sampler)
    model = make_pipeline(*steps, RandomForestClassifier(8, max_depth=5, random_state=0))
    assert_same(model.fit(X, Y), X, tolerance=1e-14)
