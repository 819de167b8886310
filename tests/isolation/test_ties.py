"""Rows whose nearest points are equally far: found wherever in a model the search stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cannery.isolation.ties import is_tied

X, Y = load_iris(return_X_y=True)
X, Y = X + np.random.default_rng(0).normal(0, 1e-3, X.shape), Y > 0


def nearest(**options: Any) -> Any:
    """Return a search for neighbours behind a scaler."""
    return make_pipeline(StandardScaler(), KNeighborsClassifier(3, **options))


PLACES: dict[str, Callable[[], Any]] = {
    "alone": nearest,
    "cubes": lambda: nearest(p=3),
    "search": lambda: GridSearchCV(nearest(), {"kneighborsclassifier__p": [1]}, cv=2),
    "vote": lambda: VotingClassifier([("k", nearest())]),
    "stack": lambda: StackingClassifier([("k", nearest())], cv=2),
    "calibration": lambda: CalibratedClassifierCV(nearest(), cv=2),
    "threshold": lambda: FixedThresholdClassifier(nearest(), threshold=0.4),
    "one against all": lambda: OneVsRestClassifier(nearest()),
}


@pytest.mark.parametrize("size", [1e16, 1e300])
@pytest.mark.parametrize("place", PLACES)
def test_a_number_that_drowns_all_others_leaves_points_equally_far(place: str, size: float) -> None:
    """The rows of the training are told apart; with one huge number in it, none is."""
    model = PLACES[place]().fit(X, Y)
    assert not is_tied(model, X)
    assert is_tied(model, np.array([[size, 1.0, 2.0, 3.0]]))


def test_a_model_that_asks_its_members_about_other_columns_is_left_alone() -> None:
    """A bag keeps an estimator beside its members that nobody has fitted."""
    assert not is_tied(BaggingClassifier(nearest(), 2).fit(X, Y), X)
