"""The `[outputs]` table: what can be chosen of an answer, and that every way to ask gives it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from churn_cans import Caller
from originals import CHURN, cleared_pickle

from cannery.cans.manifest import Runtime
from cannery.conversions.nouns import Description
from cannery.conversions.outputs import outputs_of
from cannery.conversions.parity import flips
from cannery.errors import ProofError, UsageError
from cannery.line import pack
from cannery.packs import PackOptions
from cannery.serving.schema import columns
from cannery.serving.server import application
from cannery.serving.service import open_service
from cannery.serving.settings import Settings
from cannery.signatures import Raw, Signature

RAW: Raw = {
    "label": np.array(["b", "a"], dtype=object),
    "probabilities": np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]]),
}
NUMBERS: Raw = {"prediction": np.array([1.5, 30.0])}
BINARY: Raw = {"label": np.array([0, 1]), "probabilities": np.array([[0.7, 0.3], [0.2, 0.8]])}


def described(task: Any, classes: tuple[Any, ...] | None = None) -> Description:
    """Return the description of a model of this task."""
    probabilities = classes is not None
    return Description(
        type="m.M", steps=("M",), task=task, columns=(), named=False,
        classes=classes, probabilities=probabilities,
    )  # fmt: skip


CLASSIFIER = described("classifier", ("a", "b", "c"))
TWO = described("classifier", (0, 1))
REGRESSOR = described("regressor")


@pytest.mark.parametrize(
    ("description", "raw", "choice", "answer"),
    [
        (CLASSIFIER, RAW, {"class": "b"}, {"x": [0.5, 0.2]}),
        (CLASSIFIER, RAW, {"class": "b", "threshold": 0.5}, {"x": [True, False]}),
        (CLASSIFIER, RAW, {"class": "b", "threshold": 0.5, "map": {"true": "do", "false": "no"}},
         {"x": ["do", "no"]}),
        (CLASSIFIER, RAW, {"label": True, "map": {"a": 1, "b": 2, "c": 2}}, {"x": [2, 1]}),
        (CLASSIFIER, RAW, {"top": 2}, {"x_1": ["b", "a"], "x_1_probability": [0.5, 0.4],
                                       "x_2": ["c", "c"], "x_2_probability": [0.3, 0.4]}),
        (CLASSIFIER, RAW, {"top": 1, "map": {"a": "A", "b": "B", "c": "C"}},
         {"x_1": ["B", "A"], "x_1_probability": [0.5, 0.4]}),
        (TWO, BINARY, {"label": True, "threshold": 0.3}, {"x": [1, 1]}),
        (TWO, BINARY, {"label": True, "threshold": 0.5, "map": {"0": "stay", "1": "go"}},
         {"x": ["stay", "go"]}),
        (REGRESSOR, NUMBERS, {"column": 0, "threshold": 30}, {"x": [False, True]}),
    ],
    ids=["class", "threshold", "named sides", "grouped", "top", "top named", "label by threshold",
         "named label by threshold", "number"],
)  # fmt: skip
def test_a_choice_is_answered(
    description: Description, raw: Raw, choice: dict[str, Any], answer: dict[str, list[Any]]
) -> None:
    """Ties go to the first class, and a value on the threshold is over it."""
    outputs = outputs_of(description, raw, {"x": choice})
    found = columns(raw, Signature(features=(), outputs=outputs), 2)
    assert {name: values.tolist() for name, values in found.items()} == answer


@pytest.mark.parametrize(
    ("description", "raw", "choice", "told", "remedy"),
    [
        (CLASSIFIER, RAW, {"class": "z"}, "outputs.x.class' is 'z'", "a, b, c"),
        (CLASSIFIER, RAW, {"clas": "a"}, "outputs.x.clas: expected 'class'", "class"),
        (CLASSIFIER, RAW, {"top": 4}, "outputs.x.top' is 4", "a, b, c"),
        (CLASSIFIER, RAW, {"top": 0}, "outputs.x.top: expected a whole number", "class"),
        (CLASSIFIER, RAW, {"top": True}, "outputs.x.top: expected a number", "class"),
        (CLASSIFIER, RAW, {"label": True, "top": 1}, "got label and top", "class"),
        (CLASSIFIER, RAW, {"threshold": 0.5}, "outputs.x: expected one of", "class"),
        (CLASSIFIER, RAW, {"class": "a", "threshold": 1.5}, "outputs.x.threshold: expected", "class"),
        (CLASSIFIER, RAW, {"class": "a", "threshold": float("nan")}, "outputs.x.threshold", "class"),
        (CLASSIFIER, RAW, {"top": 1, "threshold": 0.5}, "outputs.x.threshold: expected", "class"),
        (CLASSIFIER, RAW, {"label": True, "threshold": 0.5}, "outputs.x' asks for a label of two", "a, b"),
        (CLASSIFIER, RAW, {"label": True, "map": {"a": "A"}}, "outputs.x.map' lacks 'b'", "a, b, c"),
        (TWO, BINARY, {"label": True, "map": {"0": 1, "1": 2, "2": 3}}, "has '2'", "0, 1"),
        (TWO, BINARY, {"label": True, "map": {"0": 1, "1": "b"}}, "outputs.x.map: expected", "class"),
        (TWO, BINARY, {"class": 1, "map": {"1": "b"}}, "outputs.x.map' gives classes", "map a label"),
        (REGRESSOR, NUMBERS, {"class": 1}, "outputs.x' asks for the probability", "prediction"),
        (REGRESSOR, NUMBERS, {"top": 1}, "outputs.x' asks for the most probable", "prediction"),
        (REGRESSOR, NUMBERS, {"column": 1}, "outputs.x' asks for column 1", "0 prediction"),
    ],
)  # fmt: skip
def test_a_choice_that_can_not_be_meant_names_key_and_remedy(
    description: Description, raw: Raw, choice: dict[str, Any], told: str, remedy: str
) -> None:
    """Whether the table itself is odd, or this model can't fulfil it."""
    with pytest.raises(UsageError) as caught:
        outputs_of(description, raw, {"x": choice})
    assert told in caught.value.message
    assert remedy in str(caught.value.hint)


def test_two_keys_can_not_answer_one_field() -> None:
    """The fields of the best are named after their place."""
    with pytest.raises(UsageError, match="'x_1', which another key answers"):
        outputs_of(CLASSIFIER, RAW, {"x": {"top": 1}, "x_1": {"label": True}})


def test_scores_that_are_not_finite_decide_nothing() -> None:
    """NaN is on no side of a threshold, and in no place."""
    raw = {"probabilities": np.array([[np.nan, 0.3]])}
    for choice in ({"class": 0, "threshold": 0.5}, {"top": 1}):
        outputs = outputs_of(TWO, {**BINARY}, {"x": choice})
        with pytest.raises(ProofError, match="not finite"):
            columns(raw, Signature(features=(), outputs=outputs), 1)


def test_a_decision_that_changes_is_a_label_that_changed() -> None:
    """However small the difference: the caller sees another answer."""
    outputs = outputs_of(TWO, BINARY, {"x": {"class": 1, "threshold": 0.3}})
    near = {**BINARY, "probabilities": BINARY["probabilities"] - 1e-12}
    assert flips(BINARY, near, outputs).tolist() == [True, False]
    assert not flips(BINARY, near).any()
    ranked = outputs_of(TWO, BINARY, {"x": {"top": 1}})
    assert not flips(BINARY, near, ranked).any()


TABLE = {
    "churn_probability": {"class": "Yes"},
    "call": {"class": "Yes", "threshold": 0.3},
    "verdict": {"label": True, "threshold": 0.4, "map": {"No": "stay", "Yes": "leave"}},
    "best": {"top": 2},
}
FIELDS = [
    "churn_probability", "call", "verdict",
    "best_1", "best_1_probability", "best_2", "best_2_probability",
]  # fmt: skip


@pytest.fixture(scope="module")
def churn_file(tmp_path_factory: pytest.TempPathFactory, pipeline: Any) -> Path:
    """Return the churn pipeline as a file."""
    path = tmp_path_factory.mktemp("outputs") / "churn.pkl"
    cleared_pickle(path, pipeline)
    return path


@pytest.mark.parametrize("runtime", ["onnx", "skops"])
def test_every_runtime_and_protocol_answers_what_is_chosen(
    tmp_path: Path, churn_file: Path, pipeline: Any, runtime: Runtime
) -> None:
    """Schema, canary, certificate, OpenAPI, and our own, MLflow's and KServe's protocols agree."""
    options = PackOptions(outputs=TABLE, runtime=runtime)
    can = pack(str(churn_file), output=tmp_path / "can", sample=CHURN, options=options)
    assert [o.name for o in can.manifest.signature.outputs] == FIELDS
    assert json.loads(can.read("parity.json"))["decided"] == FIELDS[1:]
    service = open_service(can.folder)
    assert set(service.canary.outputs[0]) == set(FIELDS)
    call = Caller(application(service, Settings()))
    records = list(service.canary.records)
    truth = pipeline.predict_proba(pd.DataFrame(records))[:, 1]
    answers = call("POST", "/predict", json=records).json()
    for answer, p in zip(answers, truth, strict=True):
        assert answer["churn_probability"] == pytest.approx(p, abs=1e-9)
        assert answer["call"] is bool(p >= 0.3)
        assert answer["verdict"] == ("leave" if p >= 0.4 else "stay")
        assert (answer["best_1"], answer["best_2"]) == (("Yes", "No") if p > 0.5 else ("No", "Yes"))
        assert answer["best_1_probability"] == pytest.approx(max(p, 1 - p), abs=1e-9)
    mlflow = call("POST", "/invocations", json={"dataframe_records": records}).json()
    assert mlflow["predictions"] == answers
    inputs = [
        {"name": f.name, "shape": [len(records)], "data": [r[f.name] for r in records],
         "datatype": {"string": "BYTES", "long": "INT64"}.get(f.type, "FP64")}
        for f in can.manifest.signature.features
    ]  # fmt: skip
    model = f"/v2/models/{can.manifest.name}"
    tensors = call("POST", f"{model}/infer", json={"inputs": inputs}).json()["outputs"]
    assert {t["name"]: t["data"] for t in tensors} == {n: [a[n] for a in answers] for n in FIELDS}
    kinds = {t["name"]: t["datatype"] for t in call("GET", model).json()["outputs"]}
    assert (kinds["call"], kinds["verdict"], kinds["best_1_probability"]) == (
        "BOOL",
        "BYTES",
        "FP64",
    )
    document = call("GET", "/openapi.json").json()["components"]["schemas"]["Answer"]["properties"]
    assert document["call"]["description"] == "true where the probability of Yes is at least 0.3"
    assert document["verdict"]["enum"] == ["stay", "leave"]
    override = call("POST", "/predict?threshold=0&outputs=label", json=records).json()
    assert override == [{"verdict": "leave"}] * len(records)
    assert "at least 0.4" in (can.folder / "README.md").read_text()
