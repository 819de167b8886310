"""What models carry along besides estimators: arrays, frames, containers, functions, distributions."""

from __future__ import annotations

import datetime
from collections import Counter, OrderedDict, defaultdict, deque
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
import scipy.special
import scipy.stats
from sklearn.metrics import f1_score, make_scorer
from sklearn.preprocessing import FunctionTransformer

TEXTS = np.array(["a", "b"], dtype=object)
"""Texts as they are; pandas keeps others in pyarrow's memory where it can."""

VALUES: dict[str, Any] = {
    "arrays": [
        np.arange(3), np.zeros((2, 3), order="F"), np.array(["a", None], dtype=object),
        np.array(["ab", "c"]), np.array([b"ab"]), np.array(["2026-01-01"], dtype="datetime64[ns]"),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]), np.float32(1), np.array(5),
        np.ma.masked_array([1.0, 2.0], mask=[True, False]), np.zeros(0), np.array([True]),
        np.array([1 + 2j]), np.array([("x", [1, 2])], dtype=[("s", "U3"), ("v", "i2", (2,))]),
        np.dtype("f4"), np.array([1], dtype=">i8"), np.array([np.timedelta64(1, "D")]),
    ],
    "randomness": [np.random.RandomState(1), np.random.default_rng(1), np.random.MT19937(2)],
    "containers": [
        OrderedDict(a=1), defaultdict(list, a=[1]), deque([1], maxlen=3), Counter("aab"),
        {1, 2}, frozenset({1}), range(3), slice(1, 2), slice("a", "b"), bytearray(b"a"), 1j, b"x" * 70_000,
        2**100, -(2**70), 1.5, True, "é" * 70_000, (1, (2, (3,))), datetime.date(2026, 1, 1),
        datetime.timedelta(1), datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone(datetime.timedelta())),
    ],
    "functions": [
        FunctionTransformer(np.log1p), FunctionTransformer(partial(np.clip, a_min=0, a_max=1)),
        make_scorer(f1_score, average="macro"), FunctionTransformer(scipy.special.expit),
    ],
    "pandas": [
        pd.DataFrame({0: [1, 2], 1: pd.Series(TEXTS, dtype=object), 2: [1.5, None]}), pd.Series([1, 2]),
        pd.Index(TEXTS, dtype=object), pd.RangeIndex(3), pd.Categorical([1, 2]), pd.Timestamp("2026-01-01"),
        pd.DataFrame({0: pd.Categorical([1, 2])}), pd.DataFrame({0: pd.to_datetime(["2026"])}),
        pd.MultiIndex.from_tuples([(2, 1)]), pd.Timedelta("1D"), pd.NaT, pd.CategoricalDtype([1]),
        pd.array([1, None], dtype="Int64"), pd.array([True, None], dtype="boolean"),
        pd.StringDtype("python"), pd.array([1.5], dtype="Float64"), pd.DatetimeIndex(["2026"]),
    ],
    "sparse": [scipy.sparse.eye(3).tocsr(), scipy.sparse.csc_array(np.eye(2)), scipy.sparse.eye(2).tocoo()],
    "distributions": [
        scipy.stats.uniform(0, 1), scipy.stats.randint(1, 5), scipy.stats.loguniform(1e-3, 1),
        scipy.stats.norm(), scipy.stats.beta(1, 2), scipy.stats.norm,
    ],
}  # fmt: skip
