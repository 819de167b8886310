"""Rows that a model leaves to chance: found wherever in a model the step stands that does so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import AffinityPropagation, Birch, MeanShift
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelPropagation

from cannery.isolation.chances import LOST, TIED, chances_of, hit

X, Y = load_iris(return_X_y=True)
X, Y = X + np.random.default_rng(0).normal(0, 1e-3, X.shape), Y > 0


def nearest(**options: Any) -> Any:
    """Return a search for neighbours behind a scaler."""
    return make_pipeline(StandardScaler(), KNeighborsClassifier(3, **options))


def left(model: Any, rows: Any) -> str | None:
    """Return why one of the rows is left to chance."""
    return hit(tuple(chances_of(model)), rows)


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
    assert left(model, X) is None
    assert left(model, np.array([[size, 1.0, 2.0, 3.0]])) == TIED


def test_a_model_that_asks_its_members_about_other_columns_is_left_alone() -> None:
    """A bag keeps an estimator beside its members that nobody has fitted."""
    assert left(BaggingClassifier(nearest(), 2).fit(X, Y), X) is None


HUGE = np.array([[1e16, 1.0, 2.0, 3.0]])


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (LabelPropagation(kernel="knn", n_neighbors=3), TIED),
        (MeanShift(bandwidth=1.0), LOST),
        (AffinityPropagation(random_state=0), LOST),
        (Birch(threshold=1.0, n_clusters=None), LOST),
        (NearestCentroid(), LOST),
    ],
    ids=lambda x: type(x).__name__,
)
def test_a_number_that_drowns_all_others_leaves_centres_equally_far(part: Any, reason: str) -> None:
    """Behind a scaler too: what is nearest is then a matter of rounding."""
    model = make_pipeline(StandardScaler(), part).fit(X, Y)
    assert left(model, X) is None
    assert left(model, HUGE) == reason


def test_a_cosine_of_a_huge_angle_is_noise() -> None:
    """In a union within a column transformer, of columns chosen by place."""
    waves = FeatureUnion([("w", RBFSampler(random_state=0)), ("x", "passthrough")])
    columns = ColumnTransformer([("w", waves, [1, 2])], remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression()).fit(X, Y)
    assert left(model, X) is None
    assert left(model, HUGE) is None
    assert left(model, HUGE[:, [1, 0, 2, 3]]) == LOST


def test_a_search_by_a_tree_is_steady_and_one_by_brute_force_is_not() -> None:
    """A tree's search answers a row always the same; the other depends on the rows beside it."""
    for algorithm, steady in (("kd_tree", True), ("ball_tree", True), ("brute", False)):
        (chance,) = chances_of(nearest(algorithm=algorithm).fit(X, Y))
        assert chance.steady is steady
