"""Conversion end to end: real models in real workers, to an artifact and its proof."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from originals import CHURN, NUMBERS, TEXTS, cleared_pickle
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor, VotingClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier, LocalOutlierFactor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import OneHotEncoder, PowerTransformer, StandardScaler
from sklearn.svm import OneClassSVM

from cannery.audits.audit import audit
from cannery.audits.policy import Policy, clear
from cannery.conversions.choose import ConvertOptions, convert
from cannery.conversions.nouns import Conversion
from cannery.errors import ConversionError, ParityError, SchemaError, UsageError
from cannery.serving.schema import encode, render
from cannery.serving.scorer import onnx_scorer
from cannery.signatures import NULL_STRING, Feature
from cannery.sources.fetch import fetch


def table_of(numbers: np.ndarray) -> pa.Table:
    """Return the columns as a table, named x0, x1 and so on."""
    return pa.table({f"x{i}": numbers[:, i] for i in range(numbers.shape[1])})


def test_the_churn_pipeline_becomes_an_equal_graph(tmp_path: Path, pipeline: Any) -> None:
    """From the file through the real audit to ONNX: equal on all kinds of rows, canary from the original."""
    cleared_pickle(tmp_path / "churn.pkl", pipeline)
    with tempfile.TemporaryDirectory() as staging:
        source = fetch(str(tmp_path / "churn.pkl"), staging=Path(staging))
        cleared = clear(source, audit(source), Policy())
        found = convert(cleared, sample=pq.read_table(CHURN))
    assert (found.artifact.runtime, found.task) == ("onnx", "classifier")
    assert found.sandbox.partition(" ")[0] in {"bubblewrap", "landlock"}
    assert found.parity is not None
    assert found.parity.equal
    kinds = {d.kind: d.rows for d in found.parity.differences}
    assert kinds.keys() == {"sample", "threshold", "null", "unseen", "extreme"}
    assert (kinds["sample"], kinds["threshold"] > 200) == (2000, True)
    assert [o.name for o in found.signature.outputs] == [
        "label",
        "probability_No",
        "probability_Yes",
    ]
    record, answer = found.canary.records[0], found.canary.outputs[0]
    theirs = pipeline.predict_proba(pd.DataFrame([record]))[0, 1]
    assert answer["probability_Yes"] == pytest.approx(theirs, abs=1e-15)


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory, pipeline: Any) -> Conversion:
    """Return the churn pipeline, converted with one chosen output."""
    cleared = cleared_pickle(tmp_path_factory.mktemp("churn") / "churn.pkl", pipeline)
    options = ConvertOptions(outputs={"churn_probability": {"class": "Yes"}})
    return convert(cleared, sample=pq.read_table(CHURN), options=options)


def test_the_schema_is_what_the_original_takes(named: Conversion) -> None:
    """Types come from the sample, categories from the encoder, nulls and unseen values from trying."""
    found = named
    features = {f.name: f for f in found.signature.features}
    assert list(features) == NUMBERS + TEXTS
    assert [features[n].type for n in NUMBERS] == ["long", "double", "double", "long"]
    assert not any(features[n].nullable for n in NUMBERS)
    assert features["contract"].categories == ("Month-to-month", "One year", "Two year")
    assert features["contract"].unseen
    assert (features["tenure"].minimum, features["tenure"].maximum) == (0.0, 72.0)
    assert found.parity is not None
    assert "null in 'tenure'" in found.parity.refused


def test_the_artifact_and_the_canary_fit_together(named: Conversion) -> None:
    """What is sealed can be opened by the scorer, and answers the canary."""
    found = named
    scorer = onnx_scorer(found.artifact.data, found.signature, found.artifact.feeds)
    raw = scorer.score(encode(found.canary.records, found.signature))
    for ours, golden in zip(render(raw, found.signature), found.canary.outputs, strict=True):
        assert ours["churn_probability"] == pytest.approx(golden["churn_probability"], abs=1e-9)
    values = [o["churn_probability"] for o in found.canary.outputs]
    assert values == sorted(values)


def test_a_model_without_names_takes_an_array(tmp_path: Path, numbers: np.ndarray) -> None:
    """A scaler and a logistic regression, fitted on plain arrays, with numbers as classes."""
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(numbers, numbers[:, 0] > 0)
    found = convert(cleared_pickle(tmp_path / "m.pkl", model), sample=table_of(numbers))
    assert found.parity is not None
    assert found.parity.equal
    assert [f.name for f in found.signature.features] == ["x0", "x1", "x2"]
    assert [o.name for o in found.signature.outputs][1:] == [
        "probability_False",
        "probability_True",
    ]


def test_a_regressor_answers_predictions(tmp_path: Path, numbers: np.ndarray) -> None:
    """One output is called `prediction`; its thresholds are hugged."""
    model = RandomForestRegressor(n_estimators=5, max_depth=4, random_state=0)
    model.fit(numbers, 100 * numbers[:, 1])
    found = convert(cleared_pickle(tmp_path / "m.pkl", model), sample=table_of(numbers))
    assert found.task == "regressor"
    assert [o.name for o in found.signature.outputs] == ["prediction"]
    assert found.parity is not None
    assert found.parity.equal
    assert any(d.kind == "threshold" and d.rows > 100 for d in found.parity.differences)


def test_several_outputs_are_numbered(tmp_path: Path, numbers: np.ndarray) -> None:
    """A regressor of two targets answers two fields."""
    model = RandomForestRegressor(n_estimators=3, max_depth=3, random_state=0)
    model.fit(numbers, numbers[:, :2])
    found = convert(cleared_pickle(tmp_path / "m.pkl", model), sample=table_of(numbers))
    assert [o.name for o in found.signature.outputs] == ["prediction_0", "prediction_1"]
    assert found.description is not None
    assert found.description.outputs == 2


def test_a_transformer_answers_its_columns(tmp_path: Path, churn: pd.DataFrame) -> None:
    """The fields are called as the transformer calls them."""
    model = ColumnTransformer(
        [("n", StandardScaler(), NUMBERS[:2]), ("t", OneHotEncoder(), TEXTS[:1])],
        verbose_feature_names_out=False,
    ).fit(churn[NUMBERS[:2] + TEXTS[:1]])
    sample = pa.Table.from_pandas(churn, preserve_index=False)
    found = convert(cleared_pickle(tmp_path / "m.pkl", model), sample=sample)
    names = [o.name for o in found.signature.outputs]
    assert names[:3] == ["tenure", "monthly_charges", "contract_Month-to-month"]
    contract = found.signature.features[2]
    assert not contract.unseen


def test_what_onnx_can_not_hold_falls_back_to_skops(tmp_path: Path, numbers: np.ndarray) -> None:
    """The note says why; the requirements are the versions in the worker."""
    model = KNeighborsClassifier(weights="distance", algorithm="brute").fit(
        numbers, numbers[:, 0] > 0
    )
    found = convert(cleared_pickle(tmp_path / "m.pkl", model), sample=table_of(numbers))
    assert found.artifact.runtime == "skops"
    assert any(note.startswith("onnx: ") for note in found.notes)
    assert any(
        note.startswith("the estimator was compared under Python 3.") for note in found.notes
    )
    assert any(r.startswith("scikit-learn==") for r in found.artifact.requirements)
    assert found.parity is not None
    assert (found.parity.runtime, found.parity.equal) == ("skops", True)


def test_nearest_neighbours_become_a_graph(tmp_path: Path, numbers: np.ndarray) -> None:
    """Rows that the order of the search decides are compared with nothing, and the certificate says so."""
    inner = make_pipeline(StandardScaler(), KNeighborsClassifier())
    for model in (inner, LocalOutlierFactor(novelty=True)):
        model.fit(numbers, numbers[:, 0] > 0)
        found = convert(cleared_pickle(tmp_path / "m.pkl", model), sample=table_of(numbers))
        assert found.artifact.runtime == "onnx", found.notes
        assert found.parity is not None
        assert found.parity.equal
        assert any("equally far" in reason for reason in found.parity.refused)


def test_a_runtime_that_is_forced_is_taken_or_fails(tmp_path: Path, numbers: np.ndarray) -> None:
    """Skops is taken though ONNX would do; ONNX is not replaced where it can't."""
    table = table_of(numbers)
    linear = make_pipeline(StandardScaler(), LogisticRegression()).fit(numbers, numbers[:, 0] > 0)
    cleared = cleared_pickle(tmp_path / "linear.pkl", linear)
    found = convert(cleared, sample=table, options=ConvertOptions(runtime="skops"))
    assert (found.artifact.runtime, found.artifact.named) == ("skops", False)
    near = KNeighborsClassifier(weights="distance", algorithm="brute").fit(
        numbers, numbers[:, 0] > 0
    )
    cleared = cleared_pickle(tmp_path / "near.pkl", near)
    with pytest.raises(ConversionError, match=r"^onnx: "):
        convert(cleared, sample=table, options=ConvertOptions(runtime="onnx"))
    with pytest.raises(ConversionError, match="no pickle that may run as it is"):
        convert(cleared, sample=table, options=ConvertOptions(runtime="pickle"))


def test_a_difference_above_tolerance_is_no_conversion(tmp_path: Path, numbers: np.ndarray) -> None:
    """Without any tolerance, the last digits of a power are a "no", which says how far off they were."""
    model = make_pipeline(PowerTransformer(), LogisticRegression()).fit(numbers, numbers[:, 0] > 0)
    cleared = cleared_pickle(tmp_path / "m.pkl", model)
    options = ConvertOptions(runtime="onnx", tolerance=0.0)
    with pytest.raises(ParityError, match="largest difference"):
        convert(cleared, sample=table_of(numbers), options=options)


def test_several_labels_are_answered_by_name(tmp_path: Path, numbers: np.ndarray) -> None:
    """Each label and each of its probabilities is a field, in ONNX and in skops."""
    y = np.stack([numbers[:, 0] > 0, numbers[:, 1] > 0], axis=1).astype(int)
    model = RandomForestClassifier(3, max_depth=3, random_state=0).fit(numbers, y)
    cleared = cleared_pickle(tmp_path / "m.pkl", model)
    for runtime in ("onnx", "skops"):
        options = ConvertOptions(runtime=runtime)
        found = convert(cleared, sample=table_of(numbers), options=options)
        assert [o.name for o in found.signature.outputs] == [
            *("label_0", "label_1"),
            *("probability_0_0", "probability_0_1", "probability_1_0", "probability_1_1"),
        ]
        assert found.parity is not None
        assert found.parity.equal
        assert found.canary.outputs[0].keys() == {o.name for o in found.signature.outputs}
    chosen = ConvertOptions(outputs={"second": {"column": 5}})
    found = convert(cleared, sample=table_of(numbers), options=chosen)
    assert [(o.name, o.column) for o in found.signature.outputs] == [("second", 3)]
    wrong = ConvertOptions(outputs={"p": {"class": 1}})
    with pytest.raises(UsageError, match="must choose a column of the 6"):
        convert(cleared, sample=table_of(numbers), options=wrong)


def test_an_outlier_answers_label_and_score(tmp_path: Path, numbers: np.ndarray) -> None:
    """The score is the decision function, in ONNX and in skops."""
    model = OneClassSVM().fit(numbers)
    cleared = cleared_pickle(tmp_path / "m.pkl", model)
    for runtime in ("onnx", "skops"):
        options = ConvertOptions(runtime=runtime)
        found = convert(cleared, sample=table_of(numbers), options=options)
        fields = [(o.name, o.type) for o in found.signature.outputs]
        assert fields == [("label", "long"), ("score", "double")]
        assert found.parity is not None
        assert found.parity.equal


def test_a_cluster_answers_labels(tmp_path: Path, numbers: np.ndarray) -> None:
    """The label of a cluster is its number."""
    model = KMeans(n_clusters=3, n_init=1, random_state=0).fit(numbers)
    found = convert(cleared_pickle(tmp_path / "m.pkl", model), sample=table_of(numbers))
    assert found.task == "cluster"
    assert [(o.name, o.type) for o in found.signature.outputs] == [("label", "long")]


def test_a_mixture_answers_its_components(tmp_path: Path, numbers: np.ndarray) -> None:
    """The likeliest, and the probability of each."""
    model = GaussianMixture(n_components=2, random_state=0).fit(numbers)
    found = convert(cleared_pickle(tmp_path / "m.pkl", model), sample=table_of(numbers))
    assert (found.task, found.artifact.runtime) == ("cluster", "onnx")
    names = [o.name for o in found.signature.outputs]
    assert names == ["label", "probability_0", "probability_1"]


def test_the_recorded_example_stands_in_for_a_sample(tmp_path: Path, pipeline: Any) -> None:
    """Without a sample, signature and example of the registry are enough."""
    features = tuple(
        Feature(name=n, type="string" if n in TEXTS else "double") for n in NUMBERS + TEXTS
    )
    record = dict(
        zip(NUMBERS + TEXTS, (2, 89.1, 178.2, 3, "One year", "Mailed check"), strict=True)
    )
    cleared = cleared_pickle(tmp_path / "m.pkl", pipeline, features=features, example=(record,))
    found = convert(cleared, sample=None)
    assert found.canary.records == (record,)
    assert found.parity is not None
    assert found.parity.equal


def test_without_any_rows_they_are_made_up_from_the_schema(tmp_path: Path, pipeline: Any) -> None:
    """Names and categories are in the model itself; numbers are plain."""
    found = convert(cleared_pickle(tmp_path / "m.pkl", pipeline), sample=None)
    assert found.parity is not None
    assert found.parity.equal
    assert all(
        r["contract"] in {"Month-to-month", "One year", "Two year"} for r in found.canary.records
    )


def test_a_sample_that_lacks_columns_is_refused(tmp_path: Path, pipeline: Any) -> None:
    """All of them are named at once."""
    cleared = cleared_pickle(tmp_path / "m.pkl", pipeline)
    table = pq.read_table(CHURN).drop_columns(["tenure", "contract"])
    with pytest.raises(SchemaError, match="lacks the columns tenure, contract"):
        convert(cleared, sample=table)


def test_a_class_that_does_not_exist_is_named_with_those_that_do(
    tmp_path: Path, pipeline: Any
) -> None:
    """The hint lists the classes."""
    cleared = cleared_pickle(tmp_path / "m.pkl", pipeline)
    options = ConvertOptions(outputs={"p": {"class": "Maybe"}})
    with pytest.raises(UsageError, match="'Maybe'") as caught:
        convert(cleared, sample=pq.read_table(CHURN), options=options)
    assert caught.value.hint == "its classes are: No, Yes"


def test_the_same_model_and_sample_give_the_same_bytes(
    tmp_path: Path, pipeline: Any, named: Conversion
) -> None:
    """Graph, signature, canary and certificate do not depend on the run."""
    cleared = cleared_pickle(tmp_path / "m.pkl", pipeline)
    options = ConvertOptions(outputs={"churn_probability": {"class": "Yes"}})
    first, again = named, convert(cleared, sample=pq.read_table(CHURN), options=options)
    assert first.artifact.data == again.artifact.data
    assert (first.signature, first.canary) == (again.signature, again.canary)
    assert first.parity == again.parity


def test_another_python_is_noted(tmp_path: Path, numbers: np.ndarray) -> None:
    """It is no error, but the can tells of it."""
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(numbers, numbers[:, 0] > 0)
    cleared = cleared_pickle(tmp_path / "m.pkl", model, python="3.9.1")
    found = convert(cleared, sample=table_of(numbers))
    assert found.notes[0].startswith("trained with Python 3.9.1, opened with Python 3.")


VECTORIZED = make_pipeline(TfidfVectorizer(), LogisticRegression())
"""A pipeline that takes plain texts."""


@pytest.mark.parametrize(
    "model",
    [
        GridSearchCV(VECTORIZED, {"logisticregression__C": [0.1, 1.0]}, cv=2),
        CalibratedClassifierCV(VECTORIZED, cv=2),
        VotingClassifier([("a", VECTORIZED)], voting="soft"),
        make_pipeline(
            FeatureUnion([("w", TfidfVectorizer()), ("c", TfidfVectorizer(analyzer="char"))]),
            LogisticRegression(),
        ),
    ],
    ids=lambda m: type(m).__name__,
)
def test_texts_are_handed_on_as_they_come(tmp_path: Path, model: Any) -> None:
    """By a search, a calibration, a vote and a union: what looks at the texts stands within."""
    texts = ["good stuff", "bad stuff", "great thing", "awful thing"] * 10
    model.fit(texts, ["yes", "no", "yes", "no"] * 10)
    sample = pa.table({"text": texts})
    found = convert(cleared_pickle(tmp_path / "text.pkl", model), sample=sample)
    assert found.artifact.runtime == "onnx", found.notes
    assert [f.name for f in found.signature.features] == ["text"]


def test_a_model_that_takes_dictionaries_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """A row of columns is none to it."""
    model = make_pipeline(DictVectorizer(), LogisticRegression())
    model.fit([{"city": "Bern"}, {"city": "Genf"}], [0, 1])
    cleared = cleared_pickle(tmp_path / "m.pkl", model)
    with pytest.raises(ConversionError, match="a DictVectorizer, takes dictionaries") as raised:
        convert(cleared, sample=pa.table({"city": ["Bern", "Genf"]}))
    assert "OneHotEncoder" in (raised.value.hint or "")


def test_a_text_that_stands_for_a_missing_one_is_refused(tmp_path: Path) -> None:
    """In the sample by name, and in the model by every graph: what serves it tells both apart."""
    frame = pd.DataFrame({"city": ["Bern", "Genf", NULL_STRING, None] * 10}, dtype=object)
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    model.fit(frame, [0, 1, 1, 0] * 10)
    cleared = cleared_pickle(tmp_path / "m.pkl", model)
    with pytest.raises(SchemaError, match="city: expected another text, got the text"):
        convert(cleared, sample=pa.Table.from_pandas(frame))
    found = convert(cleared, sample=pa.Table.from_pandas(frame[frame["city"] != NULL_STRING]))
    assert found.artifact.runtime == "skops"
    assert "can't be told from a missing text" in found.notes[0] + found.notes[1]


@pytest.mark.parametrize(
    ("vectorizer", "runtime"),
    [(TfidfVectorizer(), "onnx"), (TfidfVectorizer(token_pattern=r"(?:\w\w)+"), "skops")],
)
def test_a_text_pipeline_answers_alike(tmp_path: Path, vectorizer: Any, runtime: str) -> None:
    """A model that reads plain texts takes one column; its words are counted by a graph where they can be."""
    texts = ["good stuff", "bad stuff", "great thing", "awful thing"] * 10
    model = make_pipeline(vectorizer, LogisticRegression()).fit(texts, [1, 0, 1, 0] * 10)
    found = convert(cleared_pickle(tmp_path / "text.pkl", model), sample=pa.table({"text": texts}))
    assert found.artifact.runtime == runtime
    assert [f.name for f in found.signature.features] == ["text"]
    assert found.parity is not None
    assert found.parity.equal
