"""Fitted estimators whose indices lead nowhere: compiled code would follow them and end the process."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import skops.io
from churn_cans import SIGNATURE
from numpy.random import MT19937, Generator, Philox, RandomState
from scipy import sparse
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import BallTree, KernelDensity, KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from cannery.errors import CanError
from cannery.serving.estimators import skops_scorer
from cannery.serving.natives import native_problem

ROWS = np.random.default_rng(0).random((60, 4))
ROWS[:, 0] = np.arange(60) % 5
LABELS = np.arange(60) % 3
FAR = 1 << 30


def bent_tree(field: str, value: int) -> Any:
    """Return a pipeline with a tree whose first node says `value`."""
    model = make_pipeline(StandardScaler(), DecisionTreeClassifier()).fit(ROWS, LABELS)
    tree = model[-1].tree_
    state = tree.__getstate__()
    state["nodes"][field][0] = value
    tree.__setstate__(state)
    return model


def other_columns() -> Any:
    """Return a tree that takes fewer columns than it looks at."""
    model = DecisionTreeClassifier().fit(ROWS, LABELS)
    model.n_features_in_ = 1
    return model


def wider_tree(kind: type, **options: Any) -> Any:
    """Return an ensemble with one tree of another width."""
    model = kind(**options).fit(ROWS, LABELS)
    wide = kind(**options).fit(np.hstack([ROWS, ROWS]), LABELS)
    np.ravel(np.asarray(model.estimators_, object))[-1].__dict__.update(
        np.ravel(np.asarray(wide.estimators_, object))[-1].__dict__
    )
    return model


def bent_histogram(field: str) -> Any:
    """Return boosted trees of which one node leads astray."""
    model = HistGradientBoostingClassifier(max_iter=2).fit(ROWS, LABELS)
    nodes = model._predictors[0][0].nodes.copy()
    nodes[field][0] = FAR
    model._predictors[0][0].nodes = nodes
    return model


def bent_neighbours(part: int) -> Any:
    """Return a tree of neighbours whose rows, or nodes, lie elsewhere."""
    model = KNeighborsClassifier(algorithm="kd_tree", leaf_size=5).fit(ROWS, LABELS)
    state = [v.copy() if isinstance(v, np.ndarray) else v for v in model._tree.__getstate__()]
    (state[1] if part == 1 else state[2]["idx_end"])[0] = FAR
    model._tree.__setstate__(tuple(state))
    return model


def bent_matrix() -> Any:
    """Return a matrix that would write behind its end when it is turned."""
    matrix = sparse.csr_matrix(np.eye(5))
    matrix.indices[:] = FAR
    return {"weights": [matrix]}


def bent_source(kind: type, key: str) -> Any:
    """Return a source of randomness that reads far behind its numbers."""
    bits = kind(0)
    state = bits.state
    (state if key in state else state["state"])[key] = FAR
    bits.state = state
    return bits


HOSTILE: dict[str, Callable[[], Any]] = {
    "left child": lambda: bent_tree("left_child", FAR),
    "circle": lambda: bent_tree("right_child", 0),
    "feature": lambda: bent_tree("feature", FAR),
    "columns": other_columns,
    "forest": lambda: wider_tree(RandomForestClassifier, n_estimators=3),
    "boosting": lambda: wider_tree(GradientBoostingClassifier, n_estimators=3),
    "isolation": lambda: wider_tree(IsolationForest, n_estimators=3),
    "histogram child": lambda: bent_histogram("left"),
    "histogram feature": lambda: bent_histogram("feature_idx"),
    "neighbours' rows": lambda: bent_neighbours(1),
    "neighbours' nodes": lambda: bent_neighbours(2),
    "sparse matrix": bent_matrix,
    "mersenne twister": lambda: [bent_source(MT19937, "pos")],
    "philox": lambda: (Generator(bent_source(Philox, "buffer_pos")),),
    "random state": lambda: {"random_state": RandomState(bent_source(MT19937, "pos"))},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_leads_nowhere_is_found(name: str) -> None:
    """Each of these opens without complaint, and would be followed when it is asked."""
    assert native_problem(HOSTILE[name]()) is not None


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(StandardScaler(), DecisionTreeClassifier()),
        RandomForestClassifier(n_estimators=3),
        GradientBoostingClassifier(n_estimators=3, random_state=RandomState(3)),
        IsolationForest(n_estimators=3, max_features=0.5),
        HistGradientBoostingClassifier(max_iter=3, categorical_features=[0]),
        KNeighborsClassifier(algorithm="ball_tree", leaf_size=5),
        KernelDensity(),
        LogisticRegression(),
    ],
)
def test_what_was_fitted_holds(model: Any) -> None:
    """No honest model is refused, nor one that was never fitted."""
    assert native_problem(model) is None
    assert native_problem(pickle.loads(pickle.dumps(model.fit(ROWS, LABELS)))) is None


def test_other_parts_hold_too() -> None:
    """Trees of neighbours, matrices of every form and sources of randomness stand for themselves."""
    forms = [kind(np.eye(4)) for kind in (sparse.coo_matrix, sparse.bsr_array, sparse.csc_matrix)]
    assert native_problem([BallTree(ROWS), *forms, MT19937(1), Generator(Philox(2))]) is None


def test_a_skops_file_that_leads_nowhere_is_not_served() -> None:
    """Where a model is served there is no sandbox around it."""
    data = skops.io.dumps(bent_tree("feature", FAR))
    with pytest.raises(CanError, match="would read memory that is not its own"):
        skops_scorer(data, SIGNATURE, task="classifier", trusted=("sklearn.tree._tree.Tree",))
