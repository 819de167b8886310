"""Numbers that compiled code would follow out of bounds are found before anything is opened."""

from __future__ import annotations

import contextlib
import io
import pickle
from typing import Any

import joblib
import numpy as np
import pickles as p
import pytest
import skops.io
from audit_sources import AuditBytes
from bent import BENT, FAR, HONEST, LABELS, ROWS, TOLD, Told
from scipy import sparse
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier
from skops.io.exceptions import UnsupportedTypeException

NOT_IN_SKOPS = {"norms of centres", "sparse lists"}
"""skops writes neither Birch nor sparse matrices of lists."""


def dumped(value: Any, compress: Any = 0) -> bytes:
    """Save by joblib into memory."""
    stream = io.BytesIO()
    joblib.dump(value, stream, compress=compress)
    return stream.getvalue()


def rules(found: Any) -> set[str]:
    """Return the rules that are broken."""
    return {finding.rule for finding in found.findings}


@pytest.mark.parametrize("name", BENT)
def test_what_leads_nowhere_is_unsafe(name: str, audit_bytes: AuditBytes) -> None:
    """In every form in which the model can be saved, and for no other reason."""
    model = BENT[name]()
    for protocol in range(6):
        found = audit_bytes(pickle.dumps(model, protocol))
        assert (protocol, found.verdict, rules(found)) == (protocol, "unsafe", {"hostile-native"})
    for compress in (0, ("zlib", 3)):
        found = audit_bytes(dumped(model, compress), "joblib")
        assert (found.verdict, rules(found)) == ("unsafe", {"hostile-native"})
    if name not in NOT_IN_SKOPS:
        assert rules(audit_bytes(skops.io.dumps(model), "skops")) == {"hostile-native"}


@pytest.mark.parametrize(
    ("field", "value"),
    [("left_child", 1 << 62), ("right_child", 0), ("feature", 4), ("feature", -7)],
)
def test_one_bent_tree_of_a_forest_is_found(
    field: str, value: int, audit_bytes: AuditBytes
) -> None:
    """Trees are judged many at a time, and the one that is bent does not hide among its neighbours."""
    model = RandomForestClassifier(9, random_state=0).fit(ROWS, LABELS)
    assert audit_bytes(pickle.dumps(model)).verdict == "safe"
    state = model.estimators_[4].tree_.__getstate__()
    state["nodes"][field][0] = value
    model.estimators_[4].tree_.__setstate__(state)
    for data, kind in ((pickle.dumps(model), "pickle"), (dumped(model), "joblib")):
        found = audit_bytes(data, kind)
        assert (found.verdict, len(found.findings), rules(found)) == (
            "unsafe",
            1,
            {"hostile-native"},
        )


@pytest.mark.parametrize("name", TOLD)
def test_a_state_that_is_not_that_of_a_tree_is_unsafe(name: str, audit_bytes: AuditBytes) -> None:
    """Counts, shapes and fields agree with each other, or the tree would be read beyond them."""
    model = TOLD[name]()
    for protocol in (2, 4, 5):
        found = audit_bytes(pickle.dumps(model, protocol))
        assert (found.verdict, rules(found)) == ("unsafe", {"hostile-native"})
    assert audit_bytes(dumped(model), "joblib").verdict == "unsafe"


@pytest.mark.parametrize("model", HONEST, ids=lambda model: type(model).__name__)
def test_what_was_fitted_is_safe(model: Any, audit_bytes: AuditBytes) -> None:
    """Fitted models of the same kinds hold, in every form."""
    fitted = clone(model).fit(ROWS, LABELS)
    for protocol in range(6):
        assert audit_bytes(pickle.dumps(fitted, protocol)).findings == ()
    assert audit_bytes(dumped(fitted), "joblib").findings == ()
    with contextlib.suppress(UnsupportedTypeException):
        assert audit_bytes(skops.io.dumps(fitted), "skops").findings == ()


def test_a_tree_is_judged_as_it_is_at_the_end(audit_bytes: AuditBytes) -> None:
    """A state that is filled in after the tree has got it is looked at all the same."""
    model = DecisionTreeClassifier().fit(ROWS, LABELS)
    function, arguments, state = model.tree_.__reduce__()
    state["nodes"]["left_child"][0] = FAR
    late = Told(function, arguments, state)
    model.tree_ = None
    # The estimator is built first, and refers to a tree that has no state yet.
    program = pickle.dumps([late, model], 2)
    assert rules(audit_bytes(program)) == {"hostile-native", "unchecked-native"}


def test_the_place_of_an_object_is_told(audit_bytes: AuditBytes) -> None:
    """The finding says which class it is, what is wrong with it, and where its state is set."""
    found = audit_bytes(pickle.dumps(BENT["feature"]()))
    finding = found.findings[0]
    assert finding.message == (
        "an object of 'sklearn.tree._tree.Tree' looks at a column beyond its 4"
    )
    assert finding.offset
    assert (
        audit_bytes(skops.io.dumps(BENT["feature"]()), "skops").findings[0].member == "schema.json"
    )


def test_byte_orders_and_views_are_read_as_they_are(audit_bytes: AuditBytes) -> None:
    """An index of the other byte order is the number that it is for numpy."""
    swapped = BENT["sparse columns"]()
    matrix = swapped["weights"][0]
    matrix.indices = np.array([0, 1, 2, 3, 4], dtype=">i4")
    assert audit_bytes(pickle.dumps(swapped)).findings == ()
    matrix.indices = np.array([0, 1, 2, 3, 1 << 24], dtype=">i4")
    assert rules(audit_bytes(pickle.dumps(swapped))) == {"hostile-native"}


def test_a_state_that_holds_itself_ends(audit_bytes: AuditBytes) -> None:
    """Parts of a state are looked at once and not followed for ever."""
    tree = p.name("sklearn.ensemble._gb", "GradientBoostingClassifier")
    itself = p.EMPTY_LIST + p.put(0) + p.get(0) + b"a"
    program = p.make_pickle(p.built(p.made(tree), p.items(estimators_=itself)))
    assert rules(audit_bytes(program)) == {"hostile-native"}


@pytest.mark.parametrize(
    ("home", "rule"),
    [
        ("_csr\ncsr_matrix", "hostile-native"),
        ("_arrays\ncsr_array", "hostile-native"),  # where scipy kept it before 1.11
        ("_csr\n_csr_base", "hostile-native"),
        ("_compressed\n_cs_matrix", "wrong-role"),
    ],
)
def test_what_matrices_are_made_of_is_no_matrix(
    home: str, rule: str, audit_bytes: AuditBytes
) -> None:
    """It has their methods, which follow its arrays."""
    model = sparse.csr_matrix.__new__(sparse.csr_matrix)
    model.__dict__.update(
        indptr=np.array([0, FAR]), indices=np.array([FAR]), data=np.ones(1), _shape=(1, 1)
    )
    written = pickle.dumps(model, 2).replace(b"_csr\ncsr_matrix", home.encode())
    assert [finding.rule for finding in audit_bytes(written).findings] == [rule]
