"""scipy's trees of points and distributions of several columns, pandas' sparse columns: judged as they lie in memory."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from copyreg import _reconstructor as _make  # type: ignore[attr-defined]
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from audit_sources import AuditBytes
from bent import FAR, Told
from scipy import stats
from scipy.spatial import KDTree, cKDTree
from scipy.spatial.distance import cdist

POINTS = np.random.default_rng(0).random((60, 3))
ZEROS = pd.DataFrame({"a": [0, 0, 1.0, 0], "b": [1, 0, 0, 2], "c": list("abcd")})


def sparse_frame(kind: str) -> pd.DataFrame:
    """Return a frame with sparse columns, whose places are listed or told by blocks."""
    columns = {name: pd.arrays.SparseArray(ZEROS[name], kind=kind) for name in "ab"}
    return pd.DataFrame(columns).assign(c=ZEROS["c"])


HONEST: dict[str, Callable[[], Any]] = {
    "tree": lambda: cKDTree(POINTS, leafsize=4),
    "tree of Python": lambda: KDTree(POINTS),
    "tree in a box": lambda: cKDTree(POINTS, boxsize=2, balanced_tree=False),
    "tree of nothing": lambda: cKDTree(np.empty((0, 2))),
    "normal": lambda: stats.multivariate_normal([0, 0], np.eye(2)),
    "t": lambda: stats.multivariate_t([0, 0], np.eye(2), df=3),
    "dirichlet": lambda: stats.dirichlet([1, 2]),
    "wishart": lambda: stats.wishart(3, np.eye(2)),
    "density": lambda: stats.gaussian_kde(POINTS.T),
    "density by a rule": lambda: stats.gaussian_kde(POINTS.T, "silverman", weights=np.ones(60)),
    "listed zeros": lambda: sparse_frame("integer"),
    "blocks of zeros": lambda: sparse_frame("block"),
    "a sparse column": lambda: sparse_frame("block")["b"],
    "dummies": lambda: pd.get_dummies(ZEROS["c"], sparse=True),
}


@pytest.mark.parametrize("name", HONEST)
def test_what_scipy_and_pandas_made_is_safe(name: str, audit_bytes: AuditBytes) -> None:
    """Alone and beside a model, in pickles and joblib's files."""
    value = {"kept": HONEST[name](), "distance": cdist(POINTS[:2], POINTS[:2])}
    for protocol in (2, 3, 4, 5):
        assert audit_bytes(pickle.dumps(value, protocol)).findings == ()
    stream = io.BytesIO()
    joblib.dump(value, stream)
    assert audit_bytes(stream.getvalue(), "joblib").findings == ()


def tree(**changes: Any) -> Any:
    """Return a tree of points whose state or nodes are changed by name."""
    names = ("nodes", "data", "n", "m", "leafsize", "maxes", "mins", "places", "box", "sides")
    state = dict(zip(names, cKDTree(POINTS, leafsize=4).__getstate__(), strict=True))
    nodes = state["nodes"].view("<i8").reshape(-1, 9).copy()
    for place, number in changes.pop("edits", {}).items():
        nodes[place] = number
    state["nodes"] = nodes.reshape(-1).view("S1")
    return Told(_make, (cKDTree, object, None), tuple((state | changes).values()))


def deep() -> Any:
    """Return a tree that is a chain."""
    size = 5_001
    nodes = np.zeros((size, 9), "<i8")
    nodes[1::2, 0] = nodes[-1, 0] = -1
    inner = np.arange(0, size - 1, 2)
    nodes[inner, 7], nodes[inner, 8] = inner + 1, inner + 2
    return tree(nodes=nodes.reshape(-1).view("S1"))


def column(places: Any, values: Any) -> Any:
    """Return a sparse column of these places and values."""
    kind = type(pd.arrays.SparseArray([0.0])._sparse_index)
    state = {
        "_sparse_index": Told(kind, places, None),
        "_sparse_values": values,
        "_dtype": pd.SparseDtype("f8"),
    }
    return Told(_make, (pd.arrays.SparseArray, object, None), state)


def small(*numbers: int) -> Any:
    """Return an array of the numbers that pandas takes for places."""
    return np.array(numbers, dtype="i4")


def density(**changes: Any) -> Any:
    """Return a density with other attributes."""
    made = stats.gaussian_kde(POINTS.T)
    made.__dict__.update(changes)
    return made


BENT: dict[str, Callable[[], Any]] = {
    "child far away": lambda: tree(edits={(0, 7): FAR}),
    "child before the first": lambda: tree(edits={(0, 8): -1}),
    "child of itself": lambda: tree(edits={(0, 7): 0}),
    "child of two": lambda: tree(edits={(1, 7): 3, (1, 8): 3}),
    "column that is not there": lambda: tree(edits={(0, 0): 3}),
    "rows that are not there": lambda: tree(edits={(2, 4): FAR}),
    "rows again and again": lambda: tree(edits={(4, 3): 0, (4, 4): 60}),
    "no nodes": lambda: tree(nodes=np.array([], "S1")),
    "half a node": lambda: tree(nodes=np.zeros(36, "u1").view("S1")),
    "nodes of other bytes": lambda: tree(nodes=np.zeros(72 // 8, "S8")),
    "places far away": lambda: tree(places=np.full(60, FAR)),
    "places of few": lambda: tree(places=np.arange(3)),
    "places of other numbers": lambda: tree(places=np.arange(60, dtype="i4")),
    "more rows": lambda: tree(n=FAR),
    "other numbers": lambda: tree(data=POINTS.astype("f4")),
    "other bounds": lambda: tree(mins=np.zeros(1)),
    "other sides": lambda: tree(sides=np.zeros(3)),
    "a chain": deep,
    "no state": lambda: Told(_make, (cKDTree, object, None), None),
    "a place far away": lambda: column((3, small(FAR)), np.ones(1)),
    "a place before the first": lambda: column((3, small(-1)), np.ones(1)),
    "places out of order": lambda: column((3, small(1, 0)), np.ones(2)),
    "places that are not checked": lambda: column((3, small(0), False), np.ones(1)),
    "fewer values": lambda: column((3, small(0, 1)), np.ones(1)),
    "weights of few": lambda: density(_weights=np.ones(2)),
    "a matrix of few": lambda: density(cho_cov=np.ones((1, 1))),
}


@pytest.mark.parametrize("name", BENT)
def test_what_would_be_read_beyond_its_end_is_unsafe(name: str, audit_bytes: AuditBytes) -> None:
    """Compiled code takes nodes, places and counts as they are."""
    for protocol in (2, 4):
        found = audit_bytes(pickle.dumps([BENT[name]()], protocol))
        assert found.verdict == "unsafe"
        assert {finding.rule for finding in found.findings} == {"hostile-native"}
