"""The signature: from records, estimator and sample."""

import tomllib

import numpy as np
import pyarrow as pa
import pytest

from cannery.conversions.nouns import Column, Description
from cannery.conversions.outputs import outputs_of
from cannery.conversions.probes import answered, extreme_rows, made_up_rows, null_rows, unseen_rows
from cannery.conversions.samples import batch_of, nulls, pick, record_of
from cannery.conversions.schemas import features_of, probe
from cannery.conversions.templates import features_table
from cannery.errors import ConversionError, SchemaError, UsageError
from cannery.signatures import NULL_STRING, Batch, Feature, Raw

TABLE = pa.table(
    {
        "age": pa.array([1, None, 3], pa.int32()),
        "price": pa.array([1.5, 2.0, None]),
        "member": pa.array([True, False, None]),
        "city": pa.array(["Bern", None, "Genf"]).dictionary_encode(),
        "target": pa.array([0, 1, 0]),
    }
)
COLUMNS = tuple(Column(name=n) for n in ("city", "age", "price", "member"))


def features(**changes: object) -> tuple[Feature, ...]:
    """Return the features of TABLE in the model's order."""
    return features_of(COLUMNS, named=True, recorded=None, sample=TABLE)


def test_types_come_from_the_sample_and_the_order_from_the_model() -> None:
    """The target is no feature, whatever its place."""
    assert [(f.name, f.type) for f in features()] == [
        ("city", "string"),
        ("age", "long"),
        ("price", "double"),
        ("member", "boolean"),
    ]


def test_nulls_travel_as_nan_and_as_a_marked_text() -> None:
    """A batch has no other way to say that something is missing; a record says None."""
    batch = batch_of(TABLE, features())
    assert batch.strings[:, 0].tolist() == ["Bern", NULL_STRING, "Genf"]
    assert nulls(batch, features()).sum() == 4
    assert record_of(batch, features(), 1) == {
        "city": None,
        "age": None,
        "price": 2.0,
        "member": False,
    }
    assert record_of(batch, features(), 0)["age"] == 1


def test_every_column_that_does_not_fit_is_named() -> None:
    """Fractions where whole numbers were recorded, and texts where numbers were."""
    wrong = (Feature(name="price", type="long"), Feature(name="city", type="double"))
    with pytest.raises(SchemaError) as caught:
        batch_of(TABLE, wrong)
    assert [i.path for i in caught.value.issues] == ["price", "city"]


def test_a_recorded_signature_ranks_above_the_sample() -> None:
    """An integer column of the sample may be recorded as double."""
    recorded = (Feature(name="age", type="double"), Feature(name="price", type="double"))
    found = features_of((), named=False, recorded=recorded, sample=TABLE)
    assert [(f.name, f.type) for f in found] == [("age", "double"), ("price", "double")]


def test_a_recorded_signature_of_another_model_is_refused() -> None:
    """Its columns must be those that the estimator was fitted on."""
    with pytest.raises(SchemaError, match="fitted on"):
        features_of(COLUMNS, named=True, recorded=(Feature(name="x", type="double"),), sample=None)


def test_without_anything_there_is_a_hint() -> None:
    """A model that knows no columns needs a sample."""
    with pytest.raises(ConversionError) as caught:
        features_of((), named=False, recorded=None, sample=None)
    assert "--sample" in str(caught.value.hint)


def test_a_column_without_meaning_for_a_model_is_named() -> None:
    """Dates and lists are neither numbers nor texts."""
    table = pa.table({"when": pa.array([0], pa.timestamp("s"))})
    with pytest.raises(SchemaError, match="when"):
        features_of((Column(name="when"),), named=True, recorded=None, sample=table)


def test_what_the_original_refuses_is_learned_by_trying() -> None:
    """Only features whose null it answers finitely are nullable, whatever was recorded."""
    columns = (
        Feature(name="a", type="double", nullable=True),
        Feature(name="b", type="double"),
        Feature(name="c", type="string", categories=("x",), unseen=True),
    )

    def ask(batch: Batch, _: tuple[Feature, ...]) -> Raw:
        if np.isnan(batch.numbers[:, 0]).any() or (batch.strings != "x").any():
            raise ConversionError("no")
        return {"prediction": np.nan_to_num(batch.numbers[:, 1])}

    row = Batch(numbers=np.array([[1.0, 2.0]]), strings=np.array([["x"]], dtype=object))
    learned, refused = probe(ask, row, columns)
    assert [f.nullable for f in learned] == [False, True, False]
    assert not learned[2].unseen
    assert len(refused) == 3


def test_what_a_signature_requires_is_required_even_if_the_original_would_answer() -> None:
    """A recorded signature is stricter than the model where it says so."""

    def ask(batch: Batch, _: tuple[Feature, ...]) -> Raw:
        return {"prediction": np.nan_to_num(batch.numbers[:, 0])}

    row = Batch(numbers=np.array([[1.0]]), strings=np.empty((1, 0), dtype=object))
    learned, refused = probe(ask, row, (Feature(name="a", type="double"),), frozenset({"a"}))
    assert [f.nullable for f in learned] == [False]
    assert refused == ()


def test_rows_that_are_refused_are_left_out_one_by_one() -> None:
    """The rest of the batch is still compared, and the reason is kept once."""

    def ask(batch: Batch, _: tuple[Feature, ...]) -> Raw:
        if (batch.numbers < 0).any():
            raise ConversionError("negative")
        return {"prediction": batch.numbers[:, 0]}

    numbers = np.array([[1.0], [-1.0], [2.0], [3.0], [-2.0]])
    batch = Batch(numbers=numbers, strings=np.empty((5, 0), dtype=object))
    found = answered(ask, "extreme", batch, (Feature(name="a", type="double"),))
    assert found is not None
    assert found.batch.numbers.ravel().tolist() == [1.0, 2.0, 3.0]
    assert found.raw["prediction"].tolist() == [1.0, 2.0, 3.0]
    assert found.refused == ("negative",)


def test_probe_rows_move_one_feature_at_a_time() -> None:
    """Nulls only where allowed, unseen values only where taken, extremes within the type."""
    columns = (
        Feature(name="a", type="double", nullable=True, minimum=0.0, maximum=2.0),
        Feature(name="b", type="long", minimum=0.0, maximum=9.0),
        Feature(name="c", type="string", categories=("x",), unseen=False),
    )
    rows = made_up_rows(columns, (), 20, seed=0)
    assert set(rows.strings.ravel().tolist()) == {"x"}
    assert nulls(null_rows(rows, columns, 100), columns).sum(axis=0)[1:].tolist() == [0, 0]
    assert len(unseen_rows(rows, columns, 100)) == 0
    extremes = extreme_rows(rows, columns, 100, seed=0)
    assert np.array_equal(extremes.numbers[:, 1], np.trunc(extremes.numbers[:, 1]))
    assert np.abs(extremes.numbers[:, 0]).max() > 1e38
    assert len(extreme_rows(rows, columns, 10, seed=0)) == 10


def test_a_pick_is_seeded_and_in_order() -> None:
    """The same rows every time, as they stood."""
    batch = Batch(numbers=np.arange(100.0)[:, None], strings=np.empty((100, 0), dtype=object))
    first, again = pick(batch, 10, 7), pick(batch, 10, 7)
    assert np.array_equal(first.numbers, again.numbers)
    assert np.array_equal(first.numbers, np.sort(first.numbers, axis=0))


def classifier() -> Description:
    """Return a description of a classifier of 0 and 1."""
    return Description(
        type="m.M",
        steps=("M",),
        task="classifier",
        columns=(),
        named=False,
        classes=(0, 1),
        probabilities=True,
    )


RAW = {"label": np.array([0]), "probabilities": np.array([[0.7, 0.3]])}


def test_a_class_is_chosen_by_value_or_by_its_text() -> None:
    """TOML keys and numbers of a registry may differ in type."""
    for value in (1, "1"):
        (output,) = outputs_of(classifier(), RAW, {"p": {"class": value}})
        assert (output.tensor, output.column, output.probability) == ("probabilities", 1, True)


def test_the_table_of_features_shows_what_is_known() -> None:
    """Names that TOML would not take bare are quoted, and many columns are cut short."""
    features = (
        Feature(name="tenure", type="long"),
        Feature(name="odd name", type="string", categories=("a", 'b"')),
        *(Feature(name=f"x{i}", type="double") for i in range(50)),
    )
    lines = features_table(features).split("\n")
    assert lines[:3] == [
        "[features]",
        'tenure = "long"',
        '"odd name" = { type = "string", categories = ["a", "b\\""] }',
    ]
    assert lines[-1] == "# and 12 more"
    assert tomllib.loads("\n".join(lines))["features"]["tenure"] == "long"


def test_what_is_told_of_a_column_outranks_what_was_recorded() -> None:
    """A part of the columns may be told; a column that the model does not have is an error."""
    columns = (Column(name="a"), Column(name="b"))
    recorded = (Feature(name="a", type="double"), Feature(name="b", type="double"))
    told = (Feature(name="b", type="long", nullable=True, minimum=1.0),)
    found = features_of(columns, named=True, recorded=recorded, sample=None, told=told)
    assert [(f.type, f.minimum) for f in found] == [("double", None), ("long", 1.0)]
    with pytest.raises(UsageError, match=r"features\.c"):
        features_of(
            columns,
            named=True,
            recorded=None,
            sample=None,
            told=(Feature(name="c", type="long"),),
        )


def test_what_is_told_names_columns_without_names() -> None:
    """A model that was fitted on an array takes the names of the table, in its order."""
    told = (Feature(name="p", type="double"), Feature(name="q", type="double"))
    columns = (Column(name="x0"), Column(name="x1"))
    found = features_of(columns, named=False, recorded=None, sample=None, told=told)
    assert [f.name for f in found] == ["p", "q"]


def test_a_blank_that_lightgbm_noted_otherwise_is_still_a_blank() -> None:
    """Callers keep the names of their table; a table that has both is taken as it is."""
    columns = (Column(name="a_b"), Column(name="c"))
    table = pa.table({"c": [1.0], "a b": [2.0]})
    found = features_of(columns, named=True, recorded=None, sample=table)
    assert [f.name for f in found] == ["a b", "c"]
    both = table.append_column("a_b", [[3.0]])
    found = features_of(columns, named=True, recorded=None, sample=both)
    assert [f.name for f in found] == ["a_b", "c"]


def test_some_rows_have_several_numbers_at_the_edge() -> None:
    """Sums of large numbers depend on their order, which one large number does not show."""
    known = tuple(Feature(name=n, type="double") for n in "abc")
    rows = Batch(numbers=np.full((3, 3), 0.5), strings=np.empty((3, 0), dtype=object))
    moved = (extreme_rows(rows, known, 400, 0).numbers != 0.5).sum(axis=1)
    assert (moved > 1).sum() > 5
    assert len(extreme_rows(rows, known, 40, 0)) == 40
