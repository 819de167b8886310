"""Odd but honest models pass: what the public options of estimators take, and what is put into them."""

from __future__ import annotations

import io
import pickle
import warnings
from typing import Any

import cloudpickle
import joblib
import odd_models
import pickles as p
import pytest
import scipy.stats
import skops.io
from audit_sources import AuditBytes
from bent import LABELS, ROWS
from sklearn.model_selection import RandomizedSearchCV
from sklearn.tree import DecisionTreeClassifier
from skops.io.exceptions import UnsupportedTypeException

MODELS = odd_models.MODELS

REVIEWED = {
    "a bound method of frames", "a method of arrays", "a method of frames", "a method of sparse matrices",
    "a tokenizer of re", "a tokenizer of str", "neighbours in a map of a file",
}  # fmt: skip
"""skops writes them under names that do not exist, or as what it is not."""


def dumped(value: Any) -> bytes:
    """Save by joblib into memory."""
    stream = io.BytesIO()
    joblib.dump(value, stream)
    return stream.getvalue()


@pytest.mark.parametrize("name", MODELS)
def test_an_odd_model_is_safe(name: str, audit_bytes: AuditBytes) -> None:
    """As a pickle, by joblib and, where skops can hold it as it is, in its form."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MODELS[name]()
    for protocol in (2, 4, 5):
        assert audit_bytes(pickle.dumps(model, protocol)).findings == ()
    assert audit_bytes(dumped(model), "joblib").findings == ()
    try:
        data = skops.io.dumps(model)
    except (UnsupportedTypeException, AttributeError, RecursionError):
        return
    if name not in REVIEWED:
        assert audit_bytes(data, "skops").findings == ()


@pytest.mark.parametrize("kind", odd_models.VALUES)
def test_what_is_put_into_models_is_safe(kind: str, audit_bytes: AuditBytes) -> None:
    """Values of Python, numpy and pandas."""
    for value in odd_models.VALUES[kind]:
        for protocol in (2, 4, 5):
            found = audit_bytes(pickle.dumps([value, value], protocol))
            assert found.findings == (), repr(value)
        assert audit_bytes(dumped([value]), "joblib").findings == (), repr(value)


def test_a_search_over_integers_by_cloudpickle_is_safe(audit_bytes: AuditBytes) -> None:
    """It binds the method that a distribution keeps again, by names of its own."""
    search = RandomizedSearchCV(
        DecisionTreeClassifier(), {"max_depth": scipy.stats.randint(1, 4)}, n_iter=2, cv=2
    ).fit(ROWS, LABELS)
    assert audit_bytes(cloudpickle.dumps(search)).findings == ()


@pytest.mark.parametrize(
    ("kind", "home", "method", "owner"),
    [
        ("FunctionType", "scipy.stats._discrete_distns", "randint_gen._entropy", "uniform_gen"),
        ("MethodType", "scipy.stats._discrete_distns", "randint_gen.rvs", "randint_gen"),
        ("MethodType", "numpy", "save", "randint_gen"),
        ("MethodType", "os", "system", "randint_gen"),
    ],
)
def test_no_other_method_is_bound(
    kind: str, home: str, method: str, owner: str, audit_bytes: AuditBytes
) -> None:
    """Neither another type, nor another function, nor one of another owner."""
    bind = p.call(p.name("cloudpickle.cloudpickle", "_builtin_type"), p.text(kind))
    made = p.made(p.name("scipy.stats._discrete_distns", owner))
    function = p.stack_name(p.text(home), p.text(method))
    found = audit_bytes(p.make_pickle(p.listed(p.call(bind, function, made))))
    assert found.verdict == "unsafe"
