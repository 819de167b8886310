"""Honest models: every scikit-learn estimator that can be fitted on a small data set, and the churn pipeline."""

from __future__ import annotations

import functools
import inspect
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.experimental import (  # noqa: F401 - what is experimental is listed in every order of imports
    enable_halving_search_cv,
    enable_iterative_imputer,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import all_estimators

CHURN = Path(__file__).parents[2] / "src" / "cannery" / "demo" / "data" / "churn.parquet"
NUMBERS = ["tenure", "monthly_charges", "total_charges", "num_services"]
STRINGS = ["contract", "payment_method"]

TEXTS = ["the model scores", "the can is sealed", "a row in a table", "the model is a can"] * 10


def _construct(cls: type[BaseEstimator]) -> BaseEstimator:
    """Make an estimator, in every generation of scikit-learn, with what it does not do without."""
    inner = Ridge() if issubclass(cls, RegressorMixin) else LogisticRegression()
    named = [("one", inner), ("two", clone(inner))]
    needed = {
        "base_estimator": inner,
        "estimator": inner,
        "estimators": named,
        "param_distributions": {_varied(inner): [0.1, 1.0]},
        "param_grid": {_varied(inner): [0.1, 1.0]},
        "steps": [("scale", StandardScaler()), ("model", inner)],
        "transformer_list": [("scale", StandardScaler()), ("again", StandardScaler())],
        "transformers": [("scale", StandardScaler(), [0, 1])],
        "dictionary": np.eye(6),
    }
    parameters = inspect.signature(cls).parameters.values()
    wanted = {
        p.name: needed[p.name] for p in parameters if p.default is p.empty and p.name in needed
    }
    if cls.__name__ in {"GaussianRandomProjection", "SparseRandomProjection"}:
        wanted["n_components"] = 2
    if cls.__name__ == "SelfTrainingClassifier":
        return cls(inner)
    return cls(**wanted)


def _varied(inner: BaseEstimator) -> str:
    """Return the name of the parameter that a search varies."""
    return "C" if isinstance(inner, LogisticRegression) else "alpha"


def _inputs(estimator: BaseEstimator) -> list[tuple[Any, Any]]:
    """Return (X, y) pairs to try in turn."""
    x, labels = make_classification(40, 6, n_informative=4, random_state=0)
    positive = np.abs(x) + 0.1
    several = np.column_stack([labels, 1 - labels])
    name = type(estimator).__name__
    if name in {"CountVectorizer", "TfidfVectorizer", "HashingVectorizer"}:
        return [(TEXTS, labels)]
    if name in {"DictVectorizer", "FeatureHasher"}:
        return [([{"a": 1.0, "b": 2.0}, {"a": 3.0, "c": 1.0}] * 20, labels)]
    if name == "PatchExtractor":
        return [(np.zeros((4, 8, 8)), None)]
    if name == "IsotonicRegression":
        return [(x[:, 0], x[:, 1])]
    if name in {"MultiLabelBinarizer"}:
        return [([("a", "b"), ("b",)], None)]
    if name in {"LabelEncoder", "LabelBinarizer"}:
        return [(labels, None)]
    return [
        (x, labels),
        (x, x[:, 0]),
        (positive, positive[:, 0]),
        (positive, several),
        (positive, labels),
    ]


def _fit(estimator: BaseEstimator) -> BaseEstimator | None:
    for x, y in _inputs(estimator):
        try:
            return estimator.fit(x, y) if y is not None else estimator.fit(x)
        except Exception:
            continue
    return None


@functools.cache
def fitted(*wanted: str) -> dict[str, BaseEstimator]:
    """Fit one instance of every estimator that scikit-learn lists, or of those that are named.

    What can't be fitted is left out.
    """
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, cls in all_estimators():
            if wanted and name not in wanted:
                continue
            try:
                instance = _construct(cls)
            except Exception:
                continue
            model = _fit(instance)
            if model is not None:
                found[name] = model
    return found


@functools.cache
def churn() -> Pipeline:
    """Fit the churn pipeline of the demo."""
    frame = pd.read_parquet(CHURN).fillna({"total_charges": 0.0})
    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), NUMBERS),
            ("strings", OneHotEncoder(handle_unknown="ignore"), STRINGS),
        ]
    )
    pipeline = Pipeline(
        [("columns", columns), ("model", GradientBoostingClassifier(random_state=0))]
    )
    return pipeline.fit(frame[NUMBERS + STRINGS], frame["churn"])
