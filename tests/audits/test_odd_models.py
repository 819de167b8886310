"""Odd but honest models pass: what the public options of estimators take, and what is put into them."""

from __future__ import annotations

import io
import pickle
import warnings
from typing import Any

import joblib
import odd_models
import pytest
import skops.io
from audit_sources import AuditBytes
from skops.io.exceptions import UnsupportedTypeException

MODELS = odd_models.MODELS

REVIEWED = {"a tokenizer of re", "a tokenizer of str", "neighbours in a map of a file"}
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
