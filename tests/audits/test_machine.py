"""The machine itself: stack, frames, protocols, names and versions, one behaviour each."""

from __future__ import annotations

import pickle
import random
from typing import Any

import pickles as p
import pytest
from audit_sources import AuditBytes
from hypothesis import given, settings
from hypothesis import strategies as st

from cannery.audits.ledger import Ledger
from cannery.audits.limits import Limits
from cannery.audits.listing import listing
from cannery.audits.onnx import audit_onnx
from cannery.audits.pickles import audit_joblib, audit_pickle
from cannery.audits.skops import audit_skops


def ledger_of(data: bytes, **limits: int) -> Ledger:
    """Audit a pickle with limits of choice."""
    ledger = Ledger(listing(), Limits(**limits))
    audit_pickle(data, ledger)
    return ledger


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner)
        | st.tuples(inner, inner) | st.frozensets(st.integers()) | st.sets(st.text()),
        max_leaves=20,
    ),
    st.integers(0, 5),
)  # fmt: skip
@settings(max_examples=150)
def test_plain_data_is_safe_at_every_protocol(value: Any, protocol: int) -> None:
    """Whatever CPython's pickler writes of plain data is followed to its end without a finding."""
    assert ledger_of(pickle.dumps([value], protocol)).findings() == ()


@given(st.binary(max_size=300))
@settings(max_examples=400)
def test_random_bytes_end_in_a_verdict(data: bytes) -> None:
    """No bytes crash or hang a reader, whatever the format they are given as."""
    for read in (audit_pickle, audit_joblib, audit_skops, audit_onnx):
        for body in (data, b"\x80\x04" + data):
            ledger = Ledger(listing(), Limits(opcodes=5000))
            read(body, ledger)
            assert ledger.verdict() in ("safe", "review", "unsafe", "unreadable")


@given(st.integers(0, 2**32), st.integers(0, 5))
@settings(max_examples=200)
def test_mutated_pickles_end_in_a_verdict(seed: int, protocol: int) -> None:
    """Bytes changed, inserted, removed and repeated in a real pickle end in a verdict."""
    source = random.Random(seed)
    data = bytearray(SAMPLES[protocol])
    for _ in range(source.randint(1, 8)):
        at = source.randrange(len(data))
        match source.randrange(4):
            case 0:
                data[at] = source.randrange(256)
            case 1:
                data.insert(at, source.choice(b"(.0123RbcioqsutdePQ\x81\x82\x92\x93\x94\x95\x97"))
            case 2:
                del data[at : at + source.randint(1, 9)]
            case 3:
                data[at:at] = data[at : at + source.randint(1, 40)]
    ledger = ledger_of(bytes(data), opcodes=50_000)
    assert ledger.verdict() in ("safe", "review", "unsafe", "unreadable")


def _sample() -> Any:
    import numpy as np
    from sklearn.preprocessing import StandardScaler

    return {"scaler": StandardScaler().fit(np.eye(3)), "list": [1, "a", b"b", 2.5, (1, 2), {3}]}


SAMPLES = [pickle.dumps(_sample(), protocol) for protocol in range(6)]


def test_what_cpython_opens_differently_is_never_safe() -> None:
    """A mutated pickle that the audit calls safe is one that CPython opens, with the same names."""
    source = random.Random(7)
    safe = 0
    for _ in range(3000):
        data = bytearray(SAMPLES[source.randrange(6)])
        data[source.randrange(len(data))] = source.randrange(256)
        ledger = ledger_of(bytes(data))
        if ledger.verdict() != "safe":
            continue
        safe += 1
        allowed = {name.name for name in ledger.names()}
        try:
            Only(bytes(data), allowed).load()
        except ReachedError:
            raise
        except Exception:
            continue
    assert safe > 50


class ReachedError(AssertionError):
    """A name was reached that the audit did not report."""


class Only(pickle.Unpickler):
    """CPython's unpickler, held to the names that an audit reported."""

    def __init__(self, data: bytes, allowed: set[str]) -> None:
        import io

        super().__init__(io.BytesIO(data))
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        """Resolve a reported name; raises ReachedError for any other."""
        if f"{module}.{name}" not in self._allowed:
            raise ReachedError(f"{module}.{name}")
        return super().find_class(module, name)


def test_the_number_of_opcodes_is_bounded() -> None:
    """A long program is cut where the limit is."""
    ledger = ledger_of(p.make_pickle(b"N" * 5000), opcodes=100)
    assert [f.rule for f in ledger.findings()] == ["too-long"]


def test_tuples_that_double_take_no_time() -> None:
    """A tuple of two references to the last one, sixty times over, is followed step by step."""
    body = p.name("acme", "x") + p.put(0)
    for index in range(60):
        body += p.get(index) + p.get(index) + b"\x86" + p.put(index + 1)
    ledger = ledger_of(p.make_pickle(p.MARK + body + b"l"))
    assert ledger.opcodes < 500
    assert ledger.verdict() == "review"


def test_python_2_names_are_read_as_the_unpickler_does(audit_bytes: AuditBytes) -> None:
    """`__builtin__.set` in protocol 2 is `builtins.set`; in protocol 4 it is a stranger."""
    old = p.call(p.name("__builtin__", "set"), p.listed(p.number(1)))
    assert audit_bytes(p.make_pickle(p.listed(old), protocol=2)).verdict == "safe"
    assert audit_bytes(p.make_pickle(p.listed(old), protocol=4)).verdict == "review"


def test_the_version_of_scikit_learn_is_found_without_opening(audit_bytes: AuditBytes) -> None:
    """The state of any estimator names the version."""
    scaler = p.made(p.name("sklearn.preprocessing._data", "StandardScaler"))
    found = audit_bytes(p.make_pickle(p.built(scaler, p.items(_sklearn_version=p.text("1.3.2")))))
    assert found.versions == {"scikit-learn": "1.3.2"}


def test_roles_are_told_apart(audit_bytes: AuditBytes) -> None:
    """A class that is made, a function that is called, a reference that is kept."""
    scaler = p.made(p.name("sklearn.preprocessing._data", "StandardScaler"))
    body = p.listed(scaler, p.call(p.name("builtins", "set")), p.name("numpy", "log1p"))
    roles = {n.name: (n.role, n.listed) for n in audit_bytes(p.make_pickle(body)).names}
    assert roles == {
        "builtins.set": ("function", True),
        "numpy.log1p": ("reference", True),
        "sklearn.preprocessing._data.StandardScaler": ("class", True),
    }


@pytest.mark.parametrize("data", [b"", b".", b"\x80", b"\x80\x04", b"\x80\x04.", b"N.", b"}"])
def test_what_is_no_model_is_unreadable(data: bytes, audit_bytes: AuditBytes) -> None:
    """Empty, cut and trivial files are unreadable, never safe."""
    found = audit_bytes(data)
    assert found.verdict == "unreadable" or data == b"}"
    assert found.verdict != "safe"


def test_a_file_that_changed_is_unreadable(tmp_path: Any) -> None:
    """The bytes that are audited are those that were hashed."""
    from audit_sources import make_source

    from cannery.audits.audit import audit

    source = make_source(tmp_path, {"m.pkl": pickle.dumps([1])}, "m.pkl", "pickle")
    (tmp_path / "m.pkl").write_bytes(pickle.dumps([2]))
    assert audit(source).verdict == "unreadable"
