"""Clusters and mixtures."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_comparison import assert_same
from sklearn.cluster import (
    AffinityPropagation,
    Birch,
    BisectingKMeans,
    KMeans,
    MeanShift,
    MiniBatchKMeans,
)
from sklearn.datasets import make_blobs
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture

X, _ = make_blobs(150, 4, centers=4, random_state=0)
FAR = np.vstack([X, X * 1.5 - 1.0])


@pytest.mark.parametrize(
    "model",
    [
        KMeans(4, n_init=1, random_state=0),
        MiniBatchKMeans(4, n_init=1, random_state=0),
        BisectingKMeans(6, random_state=0),
        MeanShift(),
        AffinityPropagation(random_state=0),
        Birch(n_clusters=3),
        Birch(n_clusters=None),
    ],
    ids=str,
)
def test_the_nearest_center(model):
    """The first of equals; bisections are gone down one by one."""
    assert_same(model.fit(X), FAR)


@pytest.mark.parametrize("kind", [GaussianMixture, BayesianGaussianMixture])
@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
def test_the_likeliest_component(kind, covariance):
    """Label and probabilities, for each kind of covariance."""
    model = kind(n_components=3, covariance_type=covariance, random_state=0)
    assert_same(model.fit(X), FAR, tolerance=1e-10)


@pytest.mark.parametrize("covariance", ["full", "tied"])
@pytest.mark.parametrize("size", [1e15, 1e17, 3e38])
def test_a_component_of_a_row_that_is_lost_far_out(covariance, size):
    """So far out that all components are equally likely, their shares sum to more than 1."""
    model = GaussianMixture(3, covariance_type=covariance, random_state=0).fit(X)
    rows = X[:4].copy()
    rows[[0, 1, 2], [0, 1, 0]] = size, -size, -size
    assert_same(model, rows, tolerance=1e-10)
