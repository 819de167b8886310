"""Graphs and estimators behind one protocol."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from churn_cans import FEEDS, RECORDS, SIGNATURE, MakeCan, expected, make_graph, make_manifest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from skops.io import dumps

from cannery.blobs import canonical_json
from cannery.cans.manifest import Feed
from cannery.cans.seal import seal
from cannery.errors import CanError, SchemaError
from cannery.serving.estimators import EstimatorScorer, estimator_scorer, table_of
from cannery.serving.schema import encode, render
from cannery.serving.scorer import onnx_scorer, open_scorer
from cannery.serving.service import open_service
from cannery.signatures import NULL_STRING, Batch, Canary, Feature, Output, Signature


def test_a_graph_answers_what_it_computes(make_can: MakeCan) -> None:
    """The scorer of a can gives the raw outputs that the signature names."""
    scorer = open_scorer(make_can())
    raw = scorer.score(encode(RECORDS, SIGNATURE))
    answers = render(raw, SIGNATURE)
    assert [a["label"] for a in answers] == [expected(r)["label"] for r in RECORDS]
    wanted = [expected(r)["churn_probability"] for r in RECORDS]
    assert [a["churn_probability"] for a in answers] == pytest.approx(wanted, abs=1e-12)


def test_only_the_asked_outputs_are_computed() -> None:
    """The tensors may be named by the caller, as parity does."""
    scorer = onnx_scorer(make_graph(), SIGNATURE, FEEDS, outputs=("probabilities",))
    assert list(scorer.score(encode(RECORDS, SIGNATURE))) == ["probabilities"]


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        (FEEDS[:1], "input 'texts', which is not fed"),
        ((*FEEDS, Feed(input="more", dtype="int64", features=("tenure",))), "no input 'more'"),
        ((Feed(input="numbers", dtype="float64", features=("age",)), FEEDS[1]), "no feature"),
        ((Feed(input="numbers", dtype="float64", features=("contract",)), FEEDS[1]), "is string"),
    ],
)
def test_feeds_that_do_not_match_are_refused(feeds: tuple[Feed, ...], message: str) -> None:
    """A manifest that feeds the graph wrongly is caught at opening."""
    with pytest.raises(CanError, match=message):
        onnx_scorer(make_graph(), SIGNATURE, feeds)


def test_bytes_that_are_no_graph_are_refused() -> None:
    """The runtime's complaint becomes ours."""
    with pytest.raises(CanError, match="can't open the graph"):
        onnx_scorer(b"no graph", SIGNATURE, FEEDS)


def test_a_number_beyond_float32_is_refused_for_a_float32_input() -> None:
    """What would silently become infinite is an error that names the fields."""
    from cannery.serving.scorer import _fill

    fill = _fill(Feed(input="n", dtype="float32", features=("tenure",)), SIGNATURE)
    batch = Batch(numbers=np.array([[1e300, 0.0]]), strings=np.array([["a"]], dtype=object))
    with pytest.raises(SchemaError, match="tenure is beyond the range of float32"):
        fill(batch)


FEATURES = (
    Feature(name="tenure", type="double"),
    Feature(name="contract", type="string", nullable=True),
)
OUTPUTS = (
    Output(name="label", type="string", tensor="label"),
    Output(name="yes", type="double", tensor="probabilities", column=1, probability=True),
)


def estimator() -> object:
    """Return a small fitted pipeline that must be given named columns."""
    frame = pd.DataFrame({"tenure": [1.0, 2, 3, 40, 50, 60], "contract": list("mmyymy")})
    columns = ColumnTransformer(
        [
            ("n", StandardScaler(), ["tenure"]),
            ("s", OneHotEncoder(handle_unknown="ignore"), ["contract"]),
        ]
    )
    return make_pipeline(columns, LogisticRegression()).fit(
        frame, ["Yes", "Yes", "No", "No", "No", "No"]
    )


def test_a_skops_can_is_served_like_any_other(tmp_path: Path) -> None:
    """An estimator sealed as skops answers what it answered before, through the same service."""
    model = estimator()
    records = ({"tenure": 3.5, "contract": "m"}, {"tenure": 50.0, "contract": "new"})
    answers = model.predict_proba(pd.DataFrame(records))[:, 1]  # type: ignore[attr-defined]
    labels = model.predict(pd.DataFrame(records))  # type: ignore[attr-defined]
    outputs = tuple(
        {"label": str(a), "yes": float(b)} for a, b in zip(labels, answers, strict=True)
    )
    manifest = make_manifest(
        runtime="skops",
        model="model.skops",
        feeds=(),
        named=True,
        signature=Signature(features=FEATURES, outputs=OUTPUTS),
    )
    canary = canonical_json(Canary(records=records, outputs=outputs))
    seal(manifest, {"model.skops": dumps(model), "canary.json": canary}, tmp_path / "skops.can")
    service = open_service(tmp_path / "skops.can")
    assert service.predict(records) == list(outputs)


def test_what_a_pipeline_does_first_is_done_once_for_all_answers() -> None:
    """Label and probabilities of pipelines within pipelines, steps left out: as the estimator itself has them."""
    calls = []

    class Counting(StandardScaler):
        def transform(self, X: object, copy: bool | None = None) -> object:
            calls.append(1)
            return super().transform(X, copy)

    inner = make_pipeline(Counting(), "passthrough", LogisticRegression())
    rows = np.array([[1.0, 5.0], [2.0, 3.0], [40.0, 1.0], [50.0, 2.0]])
    model = make_pipeline(None, Counting(), inner).fit(rows, ["Yes", "Yes", "No", "No"])
    signature = Signature(features=(FEATURES[0], Feature(name="n", type="double")), outputs=OUTPUTS)
    batch = Batch(numbers=rows, strings=np.empty((4, 0), dtype=object))
    calls.clear()
    raw = EstimatorScorer(model, signature).score(batch)
    assert len(calls) == 2
    assert raw["label"].tolist() == model.predict(rows).tolist()
    assert raw["probabilities"].tolist() == model.predict_proba(rows).tolist()


def test_a_type_that_the_can_does_not_list_is_not_built() -> None:
    """Skops is given exactly the listed types."""
    from sklearn.tree import DecisionTreeClassifier

    data = dumps(DecisionTreeClassifier().fit([[0.0], [1.0]], [0, 1]))
    signature = Signature(features=(Feature(name="x0", type="double"),), outputs=OUTPUTS[:1])
    with pytest.raises(CanError, match=r"sklearn\.tree\._tree\.Tree"):
        estimator_scorer(data, signature, task="classifier")
    trusted = ("sklearn.tree._tree.Tree",)
    assert estimator_scorer(data, signature, task="classifier", trusted=trusted)


def test_what_is_no_skops_file_is_refused() -> None:
    """A broken file is a can's error and no traceback."""
    signature = Signature(features=FEATURES, outputs=OUTPUTS)
    with pytest.raises(CanError, match="skops can't open"):
        estimator_scorer(io.BytesIO(b"nothing").getvalue(), signature, task="classifier")


def test_an_estimator_gets_the_columns_it_was_trained_on() -> None:
    """Names, dtypes and missing values are those of a data frame read by pandas."""
    features = (
        *FEATURES,
        Feature(name="n", type="long"),
        Feature(name="b", type="boolean"),
    )
    signature = Signature(features=features, outputs=())
    batch = Batch(
        numbers=np.array([[1.5, 2.0, 1.0]]), strings=np.array([[NULL_STRING]], dtype=object)
    )
    table = table_of(batch, signature, named=True)
    assert list(table.columns) == ["tenure", "contract", "n", "b"]
    assert [str(table[name].dtype) for name in ("tenure", "n", "b")] == ["float64", "int64", "bool"]
    assert table["contract"].isna().all()
    array = table_of(batch, signature, named=False)
    assert (array.dtype, array.shape) == (object, (1, 4))
