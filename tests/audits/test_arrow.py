"""Texts that pandas keeps in Arrow's memory: honest ones are safe, and what leads out of a buffer is not."""

from __future__ import annotations

import io
import pickle
import struct
from typing import Any

import joblib
import pandas as pd
import pyarrow
import pytest
from audit_sources import AuditBytes
from bent import Told
from pyarrow.lib import _restore_array
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

WORDS = ["one", None, "ünd", "", "two"]
TEXTS = pd.Series(WORDS, dtype=pd.StringDtype("pyarrow"), name="word")
MOMENTS = pd.Series(["2026-01-01"], dtype="timestamp[ns][pyarrow]")
HONEST: dict[str, Any] = {
    "a series": TEXTS,
    "a slice": TEXTS[1:4],
    "none": TEXTS[:0],
    "pieces": pd.concat([TEXTS, TEXTS]),
    "an index": pd.Index(TEXTS),
    "levels": pd.MultiIndex.from_arrays([pd.Index(WORDS, dtype="str"), range(5)]),
    "a frame": pd.DataFrame({"a": TEXTS, "b": range(5), "c": TEXTS.astype("category")}),
    "numbers": pd.DataFrame({"a": [1, None], "b": [True, None]}).convert_dtypes(dtype_backend="pyarrow"),
    "a moment": MOMENTS,
    "many": pd.Series([str(n) for n in range(5000)], dtype="str"),
    "an encoder": OneHotEncoder().fit(TEXTS.dropna().to_frame()),
    "a pipeline": make_pipeline(OrdinalEncoder(), LogisticRegression()).fit(
        TEXTS.dropna().to_frame(), TEXTS.dropna()
    ),
}  # fmt: skip
"""What it is → what pandas, or an encoder, makes of texts."""

LARGE = pyarrow.large_string()


def places(*numbers: int) -> bytes:
    """Return the buffer of places of large strings."""
    return struct.pack(f"<{len(numbers)}q", *numbers)


def restored(
    kind: Any = LARGE, length: int = 2, nulls: int = 0, at: int = 0, buffers: Any = None
) -> Any:
    """Return an array that is restored from these parts."""
    found = [None, places(0, 1, 2), b"ab"] if buffers is None else buffers
    held = [None if data is None else pyarrow.py_buffer(data) for data in found]
    return Told(_restore_array, ((kind, length, nulls, at, held, [], None),), None)


HOSTILE: dict[str, dict[str, Any]] = {
    "more items than places": {"length": 3},
    "an offset behind them": {"at": 1},
    "a negative length": {"length": -1},
    "a negative offset": {"at": -1},
    "a length beyond all memory": {"length": 1 << 60},
    "places behind the text": {"buffers": [None, places(0, 1, 1 << 40), b"ab"]},
    "places before the text": {"buffers": [None, places(-9, 1, 2), b"ab"]},
    "places that go back": {"buffers": [None, places(0, 2, 1), b"ab"]},
    "a text that is not there": {"buffers": [None, places(0, 1, 2), None]},
    "fewer buffers": {"buffers": [None, places(0, 1, 2)]},
    "too few bits of nulls": {"length": 9, "buffers": [b"\xff", places(*range(10)), b"a" * 10]},
    "more nulls than it says": {"buffers": [b"\x01", places(0, 1, 2), b"ab"]},
    "fewer nulls than it says": {"nulls": 1, "buffers": [b"\xff", places(0, 1, 2), b"ab"]},
    "nulls that are nowhere": {"nulls": 1},
    "bytes that are no text": {"buffers": [None, places(0, 1, 2), b"a\xff"]},
    "a character that is cut": {"buffers": [None, places(0, 1, 2), "ü".encode()]},
    "a text that ends within a character": {"buffers": [None, places(0, 1, 2), b"a\xc3"]},
    "numbers behind the buffer": {"kind": pyarrow.int64(), "buffers": [None, bytes(15)]},
    "truths behind the buffer": {"kind": pyarrow.bool_(), "length": 9, "buffers": [None, b"\1"]},
    "moments behind the buffer": {
        "kind": pyarrow.timestamp("ns"), "length": 2, "buffers": [None, bytes(8)],
    },
}  # fmt: skip
"""What is wrong → the parts that say so."""


@pytest.mark.parametrize("name", HONEST)
def test_texts_in_arrows_memory_are_safe(name: str, audit_bytes: AuditBytes) -> None:
    """In every protocol that can hold them, and by joblib."""
    for protocol in range(2, 6):
        assert audit_bytes(pickle.dumps([HONEST[name]], protocol)).findings == ()
    for compress in (0, 3):
        stream = io.BytesIO()
        joblib.dump({"model": HONEST[name]}, stream, compress=compress)
        assert audit_bytes(stream.getvalue(), "joblib").findings == ()


@pytest.mark.parametrize("name", HOSTILE)
def test_what_leads_out_of_a_buffer_is_unsafe(name: str, audit_bytes: AuditBytes) -> None:
    """Arrow would read there: it takes the buffers of a pickle as they are."""
    for protocol in range(2, 6):
        found = audit_bytes(pickle.dumps([restored(**HOSTILE[name])], protocol))
        assert (found.verdict, {f.rule for f in found.findings}) == ("unsafe", {"argument-rule"})


def test_the_array_that_is_bent_is_safe_when_it_is_not(audit_bytes: AuditBytes) -> None:
    """So what is found above is what was changed."""
    assert audit_bytes(pickle.dumps([restored()])).findings == ()
    assert pickle.loads(pickle.dumps(restored())).to_pylist() == ["a", "b"]


@pytest.mark.parametrize(
    "array",
    [pyarrow.array([[1], [2]]), pyarrow.array(["a"]).dictionary_encode(), pyarrow.array([b"a"], "binary_view")],
    ids=["lists", "a dictionary", "views"],
)  # fmt: skip
def test_an_array_of_another_form_is_for_review(array: Any, audit_bytes: AuditBytes) -> None:
    """It says which name to trust; nothing that lists what makes its type is missing."""
    found = audit_bytes(pickle.dumps([array]))
    assert found.verdict == "review"
    assert "pyarrow.lib._restore_array" in {f.name for f in found.findings}
