"""Nearest neighbours: metrics, weights, radii, outliers, and ties that are refused."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_comparison import as_frame, assert_same, features_of
from sklearn.datasets import load_iris, make_classification, make_regression
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    LocalOutlierFactor,
    NearestCentroid,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
)

from cannery.conversions.onnx.convert import convert
from cannery.errors import ConversionError

X, Y = make_classification(150, 5, n_informative=5, n_redundant=0, n_classes=3, random_state=0)
WORDS = np.array(["low", "mid", "high"])[Y]
XR, YR = make_regression(150, 5, noise=5.0, random_state=0)
YR = YR / 50
FAR = np.vstack([X, X * 1.3 + 0.1, X[:20] * 30])

METRICS = (
    {"metric": "euclidean"},
    {"metric": "manhattan"},
    {"metric": "chebyshev"},
    {"metric": "minkowski", "p": 3},
    {"metric": "cosine", "algorithm": "brute"},
)
ALGORITHMS = ("brute", "kd_tree", "ball_tree")


def _settings():
    for metric in METRICS:
        for algorithm in ("brute",) if "algorithm" in metric else ALGORITHMS:
            yield {"algorithm": algorithm, **metric}


@pytest.mark.filterwarnings("ignore:Outlier label low:UserWarning")
@pytest.mark.parametrize(
    "settings", list(_settings()), ids=lambda s: "-".join(map(str, s.values()))
)
def test_the_nearest_answer(settings):
    """Labels, probabilities and means; rows of the training itself too."""
    assert_same(KNeighborsClassifier(**settings).fit(X, WORDS), FAR)
    assert_same(KNeighborsRegressor(3, **settings).fit(XR, YR), XR * 1.1)
    radius = 0.9 if settings["metric"] == "cosine" else 3.0
    classifier = RadiusNeighborsClassifier(radius, outlier_label="low", **settings)
    assert_same(classifier.fit(X, WORDS), FAR)


@pytest.mark.filterwarnings("ignore:One or more samples have no neighbors:UserWarning")
@pytest.mark.parametrize("metric", METRICS[:4], ids=lambda s: s["metric"])
def test_the_nearest_weigh_more(metric):
    """A row of the training answers for itself, and no neighbour at all is NaN."""
    settings = {**metric, "weights": "distance", "algorithm": "kd_tree"}
    assert_same(KNeighborsClassifier(**settings).fit(X, WORDS), FAR)
    assert_same(KNeighborsRegressor(**settings).fit(XR, YR), XR)
    assert_same(RadiusNeighborsRegressor(3.0, **settings).fit(XR, YR), XR * 1.1)
    model = RadiusNeighborsClassifier(3.0, outlier_label="mid", **settings).fit(X, WORDS)
    assert_same(model, FAR)


@pytest.mark.filterwarnings("ignore:Outlier label most_frequent:UserWarning")
@pytest.mark.parametrize("label", ["most_frequent", 0, 2])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
def test_rows_without_a_neighbour(metric, algorithm, label):
    """Whether they get a probability, too, depends on the search, as in scikit-learn."""
    model = RadiusNeighborsClassifier(1.5, outlier_label=label, algorithm=algorithm, metric=metric)
    assert_same(model.fit(X, Y), FAR)


def test_several_numbers_at_once():
    """One neighbourhood, several answers."""
    both = np.stack([YR, XR[:, 0]], axis=1)
    assert_same(KNeighborsRegressor().fit(XR, both), XR * 1.1)


@pytest.mark.parametrize("settings", [{}, {"n_neighbors": 5, "metric": "manhattan"}])
def test_local_outliers(settings):
    """The density around a row beside that around its neighbours."""
    model = LocalOutlierFactor(novelty=True, contamination=0.1, **settings).fit(X)
    assert_same(model, FAR, tolerance=1e-10)


@pytest.mark.parametrize("y", [WORDS, Y > 0], ids=["three", "two"])
@pytest.mark.parametrize(
    "settings", [{}, {"metric": "manhattan"}, {"shrink_threshold": 0.1}, {"priors": "empirical"}]
)
def test_the_nearest_centroid(settings, y):
    """With priors the label goes by discriminant scores."""
    assert_same(NearestCentroid(**settings).fit(X, y), X * 1.1)


def _refusal(model, x):
    with pytest.raises(ConversionError) as caught:
        convert(model, features_of(as_frame(x)), "model")
    return caught.value.message


def test_equally_far_points_of_different_classes_are_refused():
    """Which of them counts depends on the order of the search."""
    iris = load_iris()
    x = np.round(iris.data)
    assert "equally far" in _refusal(KNeighborsClassifier().fit(x, iris.target), x)


def test_what_depends_on_rounding_or_can_not_refuse_a_row_is_refused():
    """Weights by brute force; radii without a label for outliers."""
    model = KNeighborsClassifier(algorithm="brute", weights="distance").fit(X, Y)
    assert "from batch to batch" in _refusal(model, X)
    assert "without a neighbour" in _refusal(RadiusNeighborsClassifier(9.0).fit(X, Y), X)
    assert "metric" in _refusal(KNeighborsClassifier(metric="canberra").fit(X, Y), X)
