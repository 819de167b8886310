"""Records with objects among their fields: pandas' own are safe, and none may pass bytes off as pointers."""

from __future__ import annotations

import io
import pickle
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pickles as p
import pytest
from audit_sources import AuditBytes

FRAME = pd.DataFrame({"a": ["x", "y"], "b": [1.5, 2.5]}).astype({"a": object})
HONEST: dict[str, Any] = {
    "a frame's records": FRAME.to_records(),
    "objects and numbers": np.array([(None, 1.0), ("x", 2.0)], [("a", "O"), ("b", "f8")]),
    "within each other": np.zeros(2, [("a", [("b", "O"), ("c", "i4")]), ("d", "U3")]),
    "several dimensions": np.zeros((2, 3), [("a", "O")]),
}
"""What it is → the array."""

OBJECT = p.built(
    p.dtype("O8"),
    p.pair(p.number(3), p.text("|"), *[p.NONE] * 3, *[p.number(-1)] * 2, p.number(63)),
)
POINTER = b"\x41" * 8


def fields(**kinds: tuple[bytes, int]) -> bytes:
    """Push the fields of a structure: name → type and place."""
    return p.items(**{key: p.pair(kind, p.number(at)) for key, (kind, at) in kinds.items()})


def structure(
    kinds: bytes, *names: str, flags: int = 27, size: int = 8, base: bytes = b""
) -> bytes:
    """Push a structure of these fields."""
    state = (
        p.number(3), p.text("|"), p.NONE, p.pair(*map(p.text, names)), kinds, p.number(size),
        p.number(1), p.number(flags),
    )  # fmt: skip
    return p.built(base or p.dtype(f"V{size}"), p.pair(*state))


INNER = p.dtype("V8") + p.put(1)
LATE = structure(fields(a=(OBJECT, 0)), "a", base=p.get(1))
"""What makes a structure of eight bytes into one of a pointer, once it is in use."""
ONE = p.pair(p.number(1))
HOSTILE: dict[str, bytes] = {
    "bytes in place of a list": p.array(
        structure(fields(a=(OBJECT, 0)), "a"), ONE, p.data(POINTER)
    ),
    "no flags": p.array(structure(fields(a=(OBJECT, 0)), "a", flags=0), ONE, p.data(POINTER)),
    "one flag": p.array(structure(fields(a=(OBJECT, 0)), "a", flags=1), ONE, p.data(POINTER)),
    "flags without objects": p.array(
        structure(fields(a=(p.dtype("i8"), 0)), "a"), ONE, p.listed(p.pair(p.number(1)))
    ),
    "a number upon an object": p.array(
        structure(fields(a=(OBJECT, 0), b=(p.dtype("i8"), 0)), "a", "b"),
        ONE,
        p.listed(p.pair(p.NONE, p.number(1 << 30))),
    ),
    "an object upon part of another": p.array(
        structure(fields(a=(OBJECT, 0), b=(OBJECT, 4)), "a", "b", size=12),
        ONE,
        p.listed(p.pair(p.NONE, p.NONE)),
    ),
    "an object behind the end": p.array(
        structure(fields(a=(OBJECT, 4)), "a"), ONE, p.listed(p.pair(p.NONE))
    ),
    "objects in a field that is made so later": p.listed(
        p.array(structure(fields(a=(INNER, 0)), "a", flags=0), ONE, p.data(POINTER)), LATE
    ),
    "objects in an array that is made so later": p.listed(
        p.array(INNER, ONE, p.data(POINTER)), LATE
    ),
    "objects in a scalar that is made so later": p.listed(
        p.call(p.name("numpy._core.multiarray", "scalar"), INNER, p.data(POINTER)), LATE
    ),
    "an item too many": p.array(
        structure(fields(a=(OBJECT, 0)), "a"), ONE, p.listed(p.pair(p.NONE), p.pair(p.NONE))
    ),
}
"""What is wrong → the program."""


@pytest.mark.parametrize("name", HONEST)
def test_records_with_objects_are_safe(name: str, audit_bytes: AuditBytes) -> None:
    """In every protocol, by joblib, and as a file of numpy."""
    for protocol in range(6):
        assert audit_bytes(pickle.dumps([HONEST[name]], protocol)).findings == ()
    stream = io.BytesIO()
    joblib.dump([HONEST[name]], stream)
    assert audit_bytes(stream.getvalue(), "joblib").findings == ()


@pytest.mark.parametrize("name", HOSTILE)
def test_bytes_never_become_pointers(name: str, audit_bytes: AuditBytes) -> None:
    """The bytes of the file would be followed wherever they lead."""
    found = audit_bytes(p.make_pickle(p.listed(HOSTILE[name])))
    assert (found.verdict, {f.rule for f in found.findings}) == ("unsafe", {"hostile-state"})


def test_the_structure_that_is_bent_is_safe_when_it_is_not(audit_bytes: AuditBytes) -> None:
    """So what is found above is what was changed."""
    kind = structure(fields(a=(OBJECT, 0), b=(p.dtype("i8"), 8)), "a", "b", size=16)
    program = p.make_pickle(p.listed(p.array(kind, ONE, p.listed(p.pair(p.NONE, p.number(1))))))
    assert audit_bytes(program).findings == ()
    assert pickle.loads(program)[0].tolist() == [(None, 1)]
