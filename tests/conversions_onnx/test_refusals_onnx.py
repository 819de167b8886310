"""What can't be exact is refused, by the name of the step and with a way out; and equal models give equal bytes."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import sklearn.impute
from onnx_comparison import features_of, load
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

import cannery
from cannery.conversions.onnx.convert import convert
from cannery.conversions.onnx.emitter import qualified_name
from cannery.errors import ConversionError
from cannery.processes import run

X, Y = make_classification(120, 4, random_state=0)
FRAME = pd.DataFrame(X, columns=list("abcd"))


def _refusal(estimator, frame=FRAME):
    with pytest.raises(ConversionError) as caught:
        convert(estimator, features_of(frame), "model")
    assert caught.value.hint
    return caught.value.message


class Faster(StandardScaler):
    """A subclass, which may compute anything."""


def test_a_subclass_is_not_converted():
    """Only the exact class is known; the message names the step and the class."""
    model = make_pipeline(Faster(), LogisticRegression()).fit(X, Y)
    message = _refusal(model)
    assert message.startswith("can't convert 'faster' (")
    assert "Faster) exactly" in message


def test_an_unknown_class_is_named():
    """The public name of the class stands in the message."""
    assert "sklearn.neighbors.NearestNeighbors" in _refusal(NearestNeighbors().fit(X))


def test_an_experimental_class_is_known_where_nobody_asked_for_it(monkeypatch):
    """In a worker nothing makes it public: its name there raises ImportError."""
    monkeypatch.delitem(vars(sklearn.impute), "IterativeImputer", raising=False)
    with pytest.raises(ImportError):
        sklearn.impute.IterativeImputer  # noqa: B018
    kind = importlib.import_module("sklearn.impute._iterative").IterativeImputer
    assert qualified_name(kind) == "sklearn.impute.IterativeImputer"


def test_a_nested_step_is_named_by_its_path():
    """The path leads through pipelines and column transformers."""
    inner = ColumnTransformer([("left", FunctionTransformer(np.cosh), ["a"])])
    model = make_pipeline(inner, LogisticRegression()).fit(FRAME, Y)
    message = _refusal(model)
    assert "'columntransformer__left'" in message
    assert "'cosh'" in message


def test_a_function_with_a_known_name_is_not_a_known_function():
    """A function is known by identity."""

    def log1p(x):
        return x

    assert "not on the list" in _refusal(FunctionTransformer(log1p).fit(X))


@pytest.mark.parametrize(
    ("model", "y", "reason"),
    [
        (GradientBoostingRegressor(n_estimators=2, init=LinearRegression()), Y, "float32"),
        (GridSearchCV(LogisticRegression(), {"C": [1.0]}, refit=False, cv=2), Y, "refit=True"),
    ],
    ids=["float32 init", "no refit"],
)
def test_what_would_not_be_exact_is_refused(model, y, reason):
    """The reason is told."""
    with pytest.raises(ConversionError) as caught:
        convert(model.fit(X, y), features_of(FRAME), "model")
    assert reason in f"{caught.value.message} {caught.value.hint}"


def test_an_estimator_that_is_not_fitted_is_refused():
    """The message says so."""
    assert "not fitted" in _refusal(LogisticRegression())


def test_strings_that_reach_a_computing_step_are_refused():
    """A string column that nothing encodes can't be computed on."""
    frame = FRAME.assign(word="x").astype({"word": object})
    model = ColumnTransformer([("s", StandardScaler(), ["a"])], remainder="passthrough").fit(frame)
    assert "'word'" in _refusal(model, frame)


def test_a_missing_column_is_named():
    """A feature that the model needs and the signature lacks is named."""
    model = LogisticRegression().fit(FRAME, Y)
    assert "'d'" in _refusal(model, FRAME[["a", "b", "c"]])
    nameless = LogisticRegression().fit(X, Y)
    assert "4 columns but 3" in _refusal(nameless, FRAME[["a", "b", "c"]])


def test_float32_encodings_are_refused_where_they_would_be_computed_on():
    """A linear model on float32 columns computes in float32; a tree does not mind."""
    encoder = OneHotEncoder(dtype=np.float32)
    frame = FRAME.round()[["a"]]
    assert "float32" in _refusal(make_pipeline(encoder, LogisticRegression()).fit(frame, Y), frame)
    load(make_pipeline(encoder, DecisionTreeClassifier()).fit(frame, Y), frame)


def test_no_features_are_no_graph():
    """A model without features is refused."""
    with pytest.raises(ConversionError, match="no features"):
        convert(LogisticRegression().fit(X, Y), (), "model")


SCRIPT = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
import pandas as pd
from onnx_comparison import features_of
from cannery.conversions.onnx.convert import convert
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
frame = pd.read_parquet(sys.argv[2]).dropna().head(300)
x, y = frame.drop(columns="churn"), frame["churn"]
columns = ColumnTransformer(
    [("n", StandardScaler(), ["tenure", "total_charges"]), ("c", OneHotEncoder(), ["contract"])]
)
model = make_pipeline(columns, GradientBoostingClassifier(n_estimators=5, random_state=0)).fit(x, y)
print(hashlib.sha256(convert(model, features_of(x), "churn")[0]).hexdigest())
"""


def test_the_bytes_do_not_depend_on_the_hash_seed():
    """Two processes with other hash seeds write the same bytes."""
    support = Path(__file__).parents[1] / "support"
    data = Path(cannery.__file__).parent / "demo" / "data" / "churn.parquet"
    digests = set()
    for seed in ("1", "77"):
        finished = run(
            [sys.executable, "-c", SCRIPT, str(support), str(data)],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            timeout=120,
        )
        assert finished.ok, finished.complaint
        digests.add(finished.stdout)
    assert len(digests) == 1


def test_a_converted_model_is_small_and_valid():
    """The graph passes the checker, pins its operator sets, and says who made it."""
    model = GradientBoostingClassifier(n_estimators=3).fit(FRAME, Y)
    data, feeds = convert(model, features_of(FRAME), "churn")
    assert data == convert(model, features_of(FRAME), "churn")[0]
    proto = onnx.load_from_string(data)
    onnx.checker.check_model(proto, full_check=True)
    assert proto.producer_name == "cannery"
    assert proto.ir_version == 10
    assert {o.domain: o.version for o in proto.opset_import} == {"": 21, "ai.onnx.ml": 5}
    assert [i.name for i in proto.graph.input] == ["numbers"]
    assert [o.name for o in proto.graph.output] == ["label", "probabilities"]
    assert feeds[0].features == ("a", "b", "c", "d")
    assert feeds[0].dtype == "float64"
