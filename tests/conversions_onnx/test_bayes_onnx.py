"""Naive Bayes and discriminant analyses."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_comparison import as_frame, assert_same, load
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument
from sklearn.datasets import make_classification
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from sklearn.naive_bayes import (
    BernoulliNB,
    CategoricalNB,
    ComplementNB,
    GaussianNB,
    MultinomialNB,
)

X, Y = make_classification(150, 5, n_informative=5, n_redundant=0, n_classes=3, random_state=0)
WORDS = np.array(["low", "mid", "high"])[Y]
COUNTS = np.round(np.abs(X) * 2)
TARGETS = {"three": WORDS, "two": Y > 0, "one": np.zeros(len(Y), dtype=int)}


@pytest.mark.parametrize("y", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize(
    "model",
    [
        GaussianNB(),
        MultinomialNB(),
        ComplementNB(norm=True),
        BernoulliNB(binarize=1.0),
        BernoulliNB(fit_prior=False),
        CategoricalNB(min_categories=20),
    ],
    ids=str,
)
def test_naive_bayes(model, y):
    """Counts, yes or no, categories, and plain numbers."""
    assert_same(model.fit(COUNTS, y), COUNTS[::-1], tolerance=1e-11)


def test_bits_are_taken_as_they_are():
    """Without a threshold the numbers themselves are multiplied."""
    bits = (COUNTS > 1).astype(float)
    assert_same(BernoulliNB(binarize=None).fit(bits, WORDS), bits)


@pytest.mark.parametrize("value", [-1.0, 9e9])
def test_an_unseen_category_is_refused(value):
    """The original raises on such a row, and so does the graph."""
    model = CategoricalNB().fit(COUNTS, WORDS)
    row = COUNTS[:1].copy()
    row[0, 0] = value
    with pytest.raises(InvalidArgument):
        load(model, as_frame(COUNTS))(as_frame(row))


@pytest.mark.parametrize("y", [WORDS, Y > 0], ids=["three", "two"])
@pytest.mark.parametrize(
    "model",
    [
        *(LinearDiscriminantAnalysis(solver=s) for s in ("svd", "lsqr", "eigen")),
        QuadraticDiscriminantAnalysis(),
        QuadraticDiscriminantAnalysis(reg_param=0.1),
    ],
    ids=str,
)
def test_discriminant_analyses(model, y):
    """One matrix for all classes, or one for each."""
    assert_same(model.fit(X, y), X * 2, tolerance=1e-11)
