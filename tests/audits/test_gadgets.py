"""Gadgets made of listed names alone are not safe, in whatever form they come."""

from __future__ import annotations

import functools
import io
import pickle
import warnings
from collections import deque
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pickles as p
import pytest
from audit_sources import AuditBytes
from gadgets import GADGETS, PROGRAMS, bare_tree, categories, frame, levels
from scipy.sparse import csr_matrix
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer


def dumped(value: Any) -> bytes:
    """Save by joblib into memory."""
    stream = io.BytesIO()
    joblib.dump(value, stream, compress=("xz", 3))
    return stream.getvalue()


@pytest.mark.parametrize("name", GADGETS)
def test_a_gadget_of_listed_names_is_unsafe(name: str, audit_bytes: AuditBytes) -> None:
    """What makes it one is found: no policy can lift it."""
    gadget = GADGETS[name]()
    for protocol in (0, 2, 4, 5):
        assert audit_bytes(pickle.dumps(gadget, protocol)).verdict == "unsafe"
    assert audit_bytes(dumped(gadget), "joblib").verdict == "unsafe"


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_of_listed_names_is_not_safe(name: str, audit_bytes: AuditBytes) -> None:
    """Nor what only a program by hand can do with them."""
    assert audit_bytes(PROGRAMS[name]).verdict != "safe"
    assert audit_bytes(PROGRAMS[name], "joblib").verdict != "safe"


@pytest.mark.parametrize(
    "hold", [lambda t: [t], lambda t: deque([t]), lambda t: {t}, lambda t: {t: 1}]
)
def test_a_tree_that_others_ask_is_not_safe(hold: Any, audit_bytes: AuditBytes) -> None:
    """Compiled code reads as many columns as the tree says; only its own estimator counts those of the row."""
    for protocol in (2, 4):
        found = audit_bytes(pickle.dumps(bare_tree(hold), protocol))
        assert [f.rule for f in found.findings] == ["unchecked-native"]


def test_the_same_parts_put_together_honestly_are_safe(audit_bytes: AuditBytes) -> None:
    """The hand-made frames, levels and categories of these tests pass when nothing is wrong with them."""
    honest = [
        frame(values=np.zeros((1, 2))),
        levels([np.array([0, -1])]),
        categories(np.array([1, -1], dtype="i1")),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert audit_bytes(pickle.dumps(honest)).findings == ()


def test_frames_of_every_shape_are_safe(audit_bytes: AuditBytes) -> None:
    """Blocks of several types and orders, indexes of every kind, categories and missing values."""
    mixed = pd.DataFrame({0: [1, 2], 1: [1.5, None], 2: [True, False], 3: [3, 4]})
    mixed[4] = pd.Categorical([1, None])
    frames = [
        mixed, mixed[[3, 0]], mixed.T, mixed.iloc[:0], mixed[[]], pd.DataFrame(),
        mixed.set_index(0), mixed.set_index([0, 3]), pd.Series(dtype="f8"), mixed[4], mixed[1],
        pd.Series([1], index=pd.DatetimeIndex(["2026"])), pd.cut(pd.Series([1, 2, 3]), 2),
        pd.DataFrame({0: pd.array([1, None], dtype="Int64"), 1: pd.to_datetime(["2026", None])}),
    ]  # fmt: skip
    for protocol in (2, 4, 5):
        for one in frames:
            assert audit_bytes(pickle.dumps([one], protocol)).findings == (), repr(one)


def test_a_class_of_the_user_may_call_its_attributes_what_it_likes(audit_bytes: AuditBytes) -> None:
    """Only what callers call is kept free: what else its methods are called, no table knows."""
    own = p.name("acme.features", "Ratio")
    inner = p.built(p.made(p.name("sklearn.pipeline", "Pipeline")), p.items())
    for key, verdict in (("values", "review"), ("build", "review"), ("predict", "unsafe")):
        program = p.make_pickle(p.built(p.made(own), p.items(**{key: inner})))
        assert audit_bytes(program).verdict == verdict


HOLDERS: dict[str, Callable[[], Any]] = {
    "getter": lambda: SelectFromModel(LogisticRegression(), importance_getter=csr_matrix.toarray),
    "names": lambda: FunctionTransformer(np.log1p, feature_names_out=csr_matrix.toarray),
    "partial": lambda: FunctionTransformer(
        functools.partial(csr_matrix.toarray, LogisticRegression())
    ),
    "vectorize": lambda: FunctionTransformer(np.vectorize(csr_matrix.toarray, otypes="O")),
    "key": lambda: FunctionTransformer(functools.partial(max, [], key=csr_matrix.toarray)),
    "list": lambda: [csr_matrix.toarray],
}


@pytest.mark.parametrize("name", HOLDERS)
def test_a_method_of_matrices_is_safe_in_a_transformer_alone(
    name: str, audit_bytes: AuditBytes
) -> None:
    """Others call it on objects of the file, whose arrays compiled code would follow."""
    for protocol in (2, 4):
        assert audit_bytes(pickle.dumps(HOLDERS[name](), protocol)).verdict != "safe"
    honest = FunctionTransformer(csr_matrix.toarray, inverse_func=csr_matrix.tocsc)
    assert audit_bytes(pickle.dumps(honest, protocol)).findings == ()
