"""Fitted estimators whose indices lead nowhere: compiled code would follow them and end the process."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import skops.io
from bent import BENT, FAR, HONEST, LABELS, ROWS, bent_tree
from churn_cans import SIGNATURE
from numpy.random import MT19937, Generator, Philox
from scipy import sparse
from sklearn.base import clone
from sklearn.neighbors import BallTree

from cannery.errors import CanError
from cannery.serving.estimators import estimator_scorer
from cannery.serving.natives import native_problem


@pytest.mark.parametrize("name", BENT)
def test_what_leads_nowhere_is_found(name: str) -> None:
    """Each of these opens without complaint, and would be followed when it is asked."""
    assert native_problem(BENT[name]()) is not None


@pytest.mark.parametrize("model", HONEST, ids=lambda model: type(model).__name__)
def test_what_was_fitted_holds(model: Any) -> None:
    """No honest model is refused, nor one that was never fitted."""
    assert native_problem(model) is None
    fitted = clone(model).fit(ROWS, LABELS)
    assert native_problem(pickle.loads(pickle.dumps(fitted))) is None


def test_other_parts_hold_too() -> None:
    """Trees of neighbours, matrices of every form and sources of randomness stand for themselves."""
    forms = [kind(np.eye(4)) for kind in (sparse.coo_matrix, sparse.bsr_array, sparse.csc_matrix)]
    assert native_problem([BallTree(ROWS), *forms, MT19937(1), Generator(Philox(2))]) is None


def test_a_skops_file_that_leads_nowhere_is_not_served() -> None:
    """Where a model is served there is no sandbox around it."""
    data = skops.io.dumps(bent_tree("feature", FAR))
    with pytest.raises(CanError, match="would read memory that is not its own"):
        estimator_scorer(data, SIGNATURE, task="classifier", trusted=("sklearn.tree._tree.Tree",))
