"""Every honest model passes: each estimator of scikit-learn, in each form in which it is saved."""

from __future__ import annotations

import io
import pickle
import warnings
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pytest
import scipy.stats
import skops.io
from audit_sources import AuditBytes
from carried import VALUES
from estimators import churn, fitted
from sklearn.ensemble import RandomForestClassifier
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RandomizedSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import all_estimators
from skops.io.exceptions import UnsupportedTypeException

from cannery.audits.ledger import Ledger
from cannery.audits.limits import Limits
from cannery.audits.listing import listing
from cannery.audits.pickles import audit_joblib

COMPRESSORS = ("zlib", "gzip", "bz2", "lzma", "xz", "lz4")
UNFITTED = {"FrozenEstimator", "KernelCenterer"}
"""What the small data set can't fit: these need a fitted model and a kernel."""
NAMES = sorted({name for name, _ in all_estimators()} - UNFITTED)


def joblib_bytes(value: Any, compress: Any = 0) -> bytes:
    """Save by joblib into memory."""
    stream = io.BytesIO()
    joblib.dump(value, stream, compress=compress)
    return stream.getvalue()


def test_the_corpus_is_whole() -> None:
    """Every estimator that scikit-learn lists is fitted, but for the few that are named."""
    assert sorted(fitted()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_fitted_estimator_is_safe_as_a_pickle(name: str, audit_bytes: AuditBytes) -> None:
    """Protocols 0 to 5 and cloudpickle, in the C pickler's and the Python pickler's way."""
    for protocol in range(6):
        found = audit_bytes(pickle.dumps(fitted()[name], protocol))
        assert (protocol, found.verdict, found.findings) == (protocol, "safe", ())
    assert audit_bytes(cloudpickle.dumps(fitted()[name])).verdict == "safe"
    assert audit_bytes(pickle._dumps(fitted()[name], 4)).verdict == "safe"  # type: ignore[attr-defined]


def test_an_imputer_of_rounds_is_safe(audit_bytes: AuditBytes) -> None:
    """It holds its rounds in named tuples, which a pickle makes with arguments."""
    holes = np.where(np.random.default_rng(0).random((40, 3)) < 0.2, np.nan, 1.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        imputer = IterativeImputer(max_iter=2).fit(holes)
    assert audit_bytes(pickle.dumps(imputer)).verdict == "safe"


@pytest.mark.parametrize("name", NAMES)
def test_a_fitted_estimator_is_safe_as_joblib(name: str, audit_bytes: AuditBytes) -> None:
    """Plain and with each of joblib's compressors."""
    for compress in (0, *((method, 3) for method in COMPRESSORS)):
        found = audit_bytes(joblib_bytes(fitted()[name], compress), "joblib")
        assert (compress, found.verdict, found.findings) == (compress, "safe", ())


@pytest.mark.parametrize("name", NAMES)
def test_a_fitted_estimator_is_safe_as_skops(name: str, audit_bytes: AuditBytes) -> None:
    """The skops form, where skops can write it."""
    try:
        data = skops.io.dumps(fitted()[name])
    except UnsupportedTypeException:
        return
    found = audit_bytes(data, "skops")
    assert (found.verdict, found.findings) == ("safe", ())


def test_the_churn_pipeline_is_safe_and_tells_its_version(audit_bytes: AuditBytes) -> None:
    """The demo's pipeline passes in every form, with the version of scikit-learn found statically."""
    import sklearn

    forms = [("pickle", pickle.dumps(churn(), n)) for n in range(2, 6)]
    forms += [("joblib", joblib_bytes(churn(), c)) for c in (0, ("zlib", 3), ("xz", 3))]
    forms += [("skops", skops.io.dumps(churn()))]
    for form, data in forms:
        found = audit_bytes(data, form)
        assert (form, found.verdict) == (form, "safe")
        assert found.versions == {"scikit-learn": sklearn.__version__}
        assert all(name.listed for name in found.names)
        assert ("sklearn.tree._tree.Tree", True) in {(n.name, n.listed) for n in found.names}


@pytest.mark.parametrize("kind", sorted(VALUES))
def test_what_models_carry_along_is_safe(kind: str, audit_bytes: AuditBytes) -> None:
    """Arrays, frames, containers, distributions: each in every protocol and by joblib."""
    for value in VALUES[kind]:
        for protocol in range(6):
            found = audit_bytes(pickle.dumps([value, value], protocol))
            assert found.findings == (), f"{value!r:.60} at protocol {protocol}: {found.findings}"
        found = audit_bytes(joblib_bytes([value, np.zeros(3), value]), "joblib")
        assert found.findings == (), f"{value!r:.60} by joblib: {found.findings}"


def test_recursive_objects_are_safe(audit_bytes: AuditBytes) -> None:
    """Tuples and objects that hold themselves are written with POP, which is allowed there."""
    inner: list[Any] = []
    holding = (inner, 1)
    inner.append(holding)
    four = (inner, 1, 2, 3)
    inner.append(four)
    for protocol in range(6):
        assert audit_bytes(pickle.dumps(holding, protocol)).findings == ()
        assert audit_bytes(pickle.dumps([four, inner], protocol)).findings == ()


def test_a_search_over_distributions_is_safe(audit_bytes: AuditBytes) -> None:
    """A fitted random search with scipy's distributions in it."""
    x, y = np.random.RandomState(0).rand(30, 2), np.arange(30) % 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = RandomizedSearchCV(
            Pipeline([("s", StandardScaler()), ("m", LogisticRegression())]),
            {"m__C": scipy.stats.loguniform(0.1, 1)},
            n_iter=2,
            cv=2,
        ).fit(x, y)
    for protocol in (2, 4, 5):
        assert audit_bytes(pickle.dumps(model, protocol)).findings == ()


def test_array_bytes_are_stepped_over() -> None:
    """The opcodes that are followed grow with a file's objects, not with its bytes."""
    data = joblib_bytes({"x": np.zeros(3_000_000), "model": RandomForestClassifier(n_estimators=5)})
    ledger = Ledger(listing(), Limits())
    audit_joblib(data, ledger)
    assert ledger.findings() == ()
    assert len(data) > 20_000_000
    assert ledger.opcodes < 500
