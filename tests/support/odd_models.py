"""Odd but honest models: public options, callables of the libraries, and values that estimators are given."""

from __future__ import annotations

import argparse
import array
import collections
import datetime
import functools
import logging
import math
import operator
import pathlib
import random
import re
import statistics
import tempfile
import time
import types
import zoneinfo
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import scipy.interpolate
import scipy.sparse
import scipy.stats
from bent import LABELS, ROWS
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    StackingClassifier,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - makes the next import work
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest, mutual_info_classif
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF, PairwiseKernel, WhiteKernel
from sklearn.impute import IterativeImputer, SimpleImputer
from sklearn.linear_model import BayesianRidge, LogisticRegression, Ridge
from sklearn.metrics import f1_score, make_scorer, mean_absolute_error
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    RepeatedKFold,
    StratifiedKFold,
    TimeSeriesSplit,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier, RadiusNeighborsClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC, NuSVR

WORDS = ["the model scores", "the can is sealed", "a row in a table"]
FRAME = pd.DataFrame(ROWS, columns=list("abcd"))
FRAME["kind"] = pd.Series(["u", "v", "w"] * 20, dtype=object)
SEVERAL = np.column_stack([LABELS, LABELS[::-1]])


def mapped() -> Any:
    """Return a model whose rows joblib shared as a map of a file."""
    model = KNeighborsClassifier(algorithm="brute").fit(ROWS, LABELS)
    with tempfile.TemporaryDirectory() as folder:
        rows = np.memmap(Path(folder) / "rows", "f8", "w+", shape=ROWS.shape)
        rows[:] = ROWS
    model._fit_X = rows
    return model


MODELS: dict[str, Callable[[], Any]] = {
    "a metric as scorer": lambda: GridSearchCV(
        LogisticRegression(), {"C": [0.1, 1]}, scoring=make_scorer(f1_score, average="macro"),
        cv=StratifiedKFold(2, shuffle=True, random_state=1),
    ).fit(ROWS, LABELS),
    "several scores": lambda: GridSearchCV(
        Ridge(), {"alpha": np.logspace(-2, 1, 2)}, scoring=["r2", "neg_max_error"], refit="r2",
        cv=TimeSeriesSplit(2),
    ).fit(ROWS, LABELS),
    "distributions": lambda: RandomizedSearchCV(
        LogisticRegression(), {"C": scipy.stats.loguniform(1e-3, 10), "tol": scipy.stats.expon(scale=0.1),
        "max_iter": scipy.stats.randint(80, 90)}, n_iter=2, cv=2, random_state=np.random.RandomState(3),
    ).fit(ROWS, LABELS),
    "frames out": lambda: make_pipeline(StandardScaler()).set_output(transform="pandas").fit(FRAME[["a"]]),
    "a store of fits": lambda: make_pipeline(
        StandardScaler(), memory=joblib.Memory(tempfile.gettempdir(), verbose=0)),
    "repeated splits": lambda: GridSearchCV(
        Ridge(), {"alpha": [1]}, cv=RepeatedKFold(n_splits=2, n_repeats=1)).fit(ROWS, LABELS),
    "dummies": lambda: FunctionTransformer(pd.get_dummies),
    "a memory": lambda: make_pipeline(StandardScaler(), memory="/tmp/cache").set_params(memory="cache"),
    "selectors": lambda: ColumnTransformer(
        [("n", StandardScaler(), make_column_selector(dtype_include=np.number)),
         ("s", OneHotEncoder(), make_column_selector(pattern="kind"))]).fit(FRAME),
    "slices": lambda: ColumnTransformer(
        [("n", StandardScaler(), slice(0, 2))], remainder="passthrough").fit(ROWS),
    "logarithms": lambda: FunctionTransformer(np.log1p, inverse_func=np.expm1).fit(ROWS),
    "bound arguments": lambda: FunctionTransformer(functools.partial(np.clip, a_min=0, a_max=1)),
    "text functions": lambda: FunctionTransformer(np.char.lower),
    "a method of sparse matrices": lambda: FunctionTransformer(
        scipy.sparse.csr_matrix.toarray, inverse_func=scipy.sparse.spmatrix.todense),
    "a method of frames": lambda: FunctionTransformer(pd.DataFrame.fillna, kw_args={"value": 0}),
    "a bound method of frames": lambda: FunctionTransformer(functools.partial(pd.DataFrame.astype, dtype=str)),
    "a method of arrays": lambda: FunctionTransformer(np.ndarray.ravel),
    "a field": lambda: FunctionTransformer(operator.itemgetter("a")),
    "bound mutual information": lambda: SelectKBest(
        functools.partial(mutual_info_classif, random_state=0), k=2).fit(ROWS, LABELS),
    "a tokenizer of str": lambda: CountVectorizer(
        tokenizer=str.split, preprocessor=str.lower, token_pattern=None).fit(WORDS),
    "a tokenizer of re": lambda: TfidfVectorizer(
        tokenizer=re.compile(r"\w+").findall, token_pattern=None, sublinear_tf=True).fit(WORDS),
    "numbers as words": lambda: DictVectorizer().fit([{"a": 1, "b": "x"}, {"c": 2}]),
    "chained imputation": lambda: IterativeImputer(BayesianRidge(), max_iter=2).fit(ROWS),
    "a median": lambda: SimpleImputer(strategy=np.median).fit(ROWS),
    "a target's logarithm": lambda: TransformedTargetRegressor(
        Ridge(), func=np.log1p, inverse_func=np.expm1).fit(ROWS, LABELS),
    "stacked": lambda: StackingClassifier(
        [("a", LogisticRegression()), ("b", make_pipeline(StandardScaler(), SVC()))],
        final_estimator=GradientBoostingClassifier(n_estimators=2), cv=2).fit(ROWS, LABELS),
    "stages over a model": lambda: GradientBoostingClassifier(
        n_estimators=2, init=LogisticRegression()).fit(ROWS, LABELS),
    "categories of a frame": lambda: HistGradientBoostingClassifier(
        max_iter=3, categorical_features="from_dtype", interaction_cst=[{0, 1}],
    ).fit(FRAME.assign(kind=FRAME["kind"].astype("category")), LABELS),
    "boosting that scored itself": lambda: HistGradientBoostingClassifier(
        max_iter=2, early_stopping=True, scoring="roc_auc").fit(ROWS, LABELS % 2),
    "kernels": lambda: GaussianProcessClassifier(
        1.0 * RBF() + WhiteKernel() + PairwiseKernel()).fit(ROWS, LABELS),
    "a kernel of one's own": lambda: SVC(kernel=functools.partial(rbf_kernel, gamma=0.3)).fit(ROWS, LABELS),
    "a kernel computed before": lambda: SVC(kernel="precomputed").fit(ROWS @ ROWS.T, LABELS),
    "sparse support vectors": lambda: SVC().fit(scipy.sparse.csr_matrix(ROWS), LABELS),
    "a regression of support vectors": lambda: NuSVR().fit(ROWS, LABELS),
    "several labels": lambda: OneVsRestClassifier(LogisticRegression()).fit(ROWS, SEVERAL > 1),
    "neighbours of a metric": lambda: KNeighborsClassifier(
        metric=scipy.spatial.distance.braycurtis).fit(ROWS, LABELS),
    "neighbours on a globe": lambda: KNeighborsClassifier(
        metric="haversine", algorithm="ball_tree").fit(ROWS[:, :2], LABELS),
    "neighbours by a matrix": lambda: KNeighborsClassifier(
        metric="mahalanobis", metric_params={"VI": np.eye(4)}, algorithm="ball_tree").fit(ROWS, LABELS),
    "neighbours of several labels": lambda: KNeighborsClassifier().fit(ROWS, SEVERAL),
    "sparse neighbours": lambda: KNeighborsClassifier().fit(scipy.sparse.csr_matrix(ROWS), LABELS),
    "neighbours within reach": lambda: RadiusNeighborsClassifier(
        radius=9, outlier_label="most_frequent").fit(ROWS, LABELS),
    "neighbours in a map of a file": mapped,
    "steps of one-hot columns": lambda: KBinsDiscretizer(3, encode="onehot").fit(ROWS),
    "rare categories": lambda: OneHotEncoder(drop="first", min_frequency=21).fit(FRAME[["kind"]]),
    "missing categories": lambda: OneHotEncoder().fit(np.array([["a"], [None], [np.nan]], dtype=object)),
    "unknown categories": lambda: OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan).fit(FRAME[["kind"]]),
    "targets of categories": lambda: TargetEncoder(cv=2).fit(FRAME[["kind"]], LABELS),
    "side by side": lambda: FeatureUnion(
        [("a", StandardScaler()), ("b", SelectKBest(k=1))]).fit(ROWS, LABELS),
}  # fmt: skip
"""What is odd → what makes the model."""

VALUES: dict[str, Any] = {
    "paths": [pathlib.PurePosixPath("a/b"), pathlib.PureWindowsPath("a"), Path("/a")],
    "operators": [operator.add, operator.itemgetter(1, 2), statistics.median, math.hypot],
    "methods": [str.strip, re.compile("a").match],
    "zones": [datetime.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Paris"))],
    "containers": [
        types.SimpleNamespace(a=1), collections.ChainMap({"a": 1}), collections.UserDict(a=1),
        collections.UserList([1]), ..., NotImplemented, type(None),
    ],
    "polynomials": [np.poly1d([1, 2]), np.polynomial.Polynomial([1, 2]), np.polynomial.Chebyshev([1])],
    "records": [np.rec.array([(1, 2.0)], dtype=[("a", int), ("b", float)])],
    "masked": [np.ma.masked],
    "intervals": [
        pd.Interval(0, 1), pd.interval_range(0, 3), pd.cut(pd.Series([1, 2, 3]), 2), pd.Period("2026-01"),
        pd.period_range("2026", periods=3, freq="M"), pd.date_range("2026", periods=3, freq="D"),
        pd.Timestamp("2026", tz="UTC"), pd.DatetimeIndex(["2026-01-01"], tz="UTC"),
    ],
    "metrics": [mean_absolute_error],
    "every day": [
        array.array("d", [1.5]), random.Random(3), time.localtime(0), argparse.Namespace(a=1),
        logging.getLogger("a"),
    ],
    "interpolations": [
        scipy.interpolate.interp1d([1, 2, 3, 4], [1, 2, 3, 4], kind=kind) for kind in ("linear", "nearest", "cubic")
    ],
    "texts of numpy": [
        np.array(["a", "bb"], dtype=np.dtypes.StringDType(coerce=False)),
        *(np.array(["a", gap], dtype=np.dtypes.StringDType(na_object=gap)) for gap in (None, np.nan, pd.NA)),
    ],
    "calendars": [pd.DateOffset(days=1), pd.Timestamp("2026", tz="Europe/Rome")],
    "nullable": [pd.array([1, None], dtype=kind) for kind in ("Int8", "UInt64", "Float32", "Int32")],
    "durations": [pd.timedelta_range("1D", periods=2), scipy.stats.rv_discrete(values=([1, 2], [0.5, 0.5]))],
}  # fmt: skip
"""Kinds of values → some of each."""
