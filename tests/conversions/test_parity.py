"""The gate: what counts as equal."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from cannery.conversions.nouns import Parity
from cannery.conversions.parity import certify, check_alone, compare, distances, flips, verdict
from cannery.conversions.probes import Probed, answered
from cannery.errors import ConversionError
from cannery.signatures import Batch, Feature, Raw, Signature

SIGNATURE = Signature(features=(Feature(name="a", type="double"),), outputs=())


def raw(labels: list[object], *scores: list[float]) -> Raw:
    """Return a classifier's answer."""
    return {"label": np.array(labels, dtype=object), "probabilities": np.array(scores)}


def probed(answer: Raw) -> Probed:
    """Return an answer of the original over the rows 0, 1, 2 and so on."""
    numbers = np.arange(float(len(answer["label"])))[:, None]
    batch = Batch(numbers=numbers, strings=np.empty((len(numbers), 0), dtype=object))
    return Probed(kind="sample", batch=batch, raw=answer)


def test_a_changed_label_is_a_flip() -> None:
    """However near the scores are."""
    ours = raw(["No", "Yes"], [0.5, 0.5], [0.4, 0.6])
    theirs = raw(["Yes", "Yes"], [0.5, 0.5], [0.4, 0.6])
    assert flips(ours, theirs).tolist() == [True, False]


def test_numbers_as_labels_are_compared_as_numbers() -> None:
    """A graph may answer int64 where the original answers float or bool."""
    ours = {"label": np.array([True, False])}
    assert not flips(ours, {"label": np.array([1, 0])}).any()
    assert flips(ours, {"label": np.array(["True", "False"], dtype=object)}).all()


@pytest.mark.parametrize(
    ("a", "b", "far"),
    [
        (0.25, 0.5, 0.25),
        (math.nan, math.nan, 0.0),
        (math.nan, 0.5, math.inf),
        (0.5, math.nan, math.inf),
        (math.inf, math.inf, 0.0),
        (math.inf, 1.0, math.inf),
    ],
)
def test_only_nan_equals_nan(a: float, b: float, far: float) -> None:
    """What is finite on one side alone is infinitely far."""
    ours, theirs = {"probabilities": np.array([[a]])}, {"probabilities": np.array([[b]])}
    assert distances(ours, theirs).tolist() == [far]


def test_predictions_are_compared_relatively() -> None:
    """A millionth of a large number is a small difference."""
    ours, theirs = {"prediction": np.array([1e6])}, {"prediction": np.array([[1e6 + 0.5]])}
    assert distances(ours, theirs)[0] == pytest.approx(5e-7)


def test_a_missing_output_is_a_difference() -> None:
    """Neither fewer columns nor no answer at all can pass."""
    ours = raw(["No"], [0.5, 0.5])
    assert distances(ours, {"label": ours["label"]}).tolist() == [math.inf]
    assert distances(ours, raw(["No"], [0.5])).tolist() == [math.inf]
    assert flips(ours, {}).all()


def test_the_certificate_names_the_worst_row() -> None:
    """A flip outranks a difference; both answers stand beside the record."""
    ours = raw(["No", "Yes"], [0.9, 0.1], [0.4, 0.6])
    theirs = raw(["No", "No"], [0.5, 0.5], [0.4, 0.6])
    parity = certify(
        [probed(ours)], lambda _: theirs, SIGNATURE, runtime="onnx", tolerance=1e-6, refused=()
    )
    assert not parity.equal
    assert (parity.rows, parity.flips, parity.maximum) == (2, 1, 0.4)
    assert parity.worst == {
        "record": {"a": 1.0},
        "original": {"label": "Yes", "probabilities": [0.4, 0.6]},
        "converted": {"label": "No", "probabilities": [0.4, 0.6]},
    }
    assert verdict(parity).startswith(
        "differs from the original on 2 rows (sample: 1 labels changed"
    )


def test_a_graph_is_asked_about_few_rows_and_about_many() -> None:
    """A form for many rows proves nothing about the one for few, nor the other way round."""
    batch = Batch(numbers=np.arange(40.0)[:, None], strings=np.empty((40, 0), dtype=object))
    ours = {"label": np.zeros(40), "probabilities": np.full((40, 2), 0.5)}

    def certified(wrong: Callable[[int], bool]) -> Parity:
        def score(asked: Batch) -> Raw:
            off = np.where(wrong(len(asked)) & (asked.numbers[:, 0] == 20), 0.25, 0.0)
            return {
                "label": np.zeros(len(asked)),
                "probabilities": np.stack([0.5 - off, 0.5 + off], axis=1),
            }

        one = Probed(kind="sample", batch=batch, raw=ours)
        return certify([one], score, SIGNATURE, runtime="onnx", tolerance=1e-6, refused=())

    for wrong in (lambda rows: rows > 16, lambda rows: rows <= 16):
        parity = certified(wrong)
        assert (parity.equal, parity.maximum) == (False, 0.25)
        assert parity.worst is not None
        assert parity.worst["record"] == {"a": 20.0}
    assert certified(lambda _: False).equal


def test_equal_answers_pass_without_a_worst_row() -> None:
    """There is nothing to show."""
    ours = raw(["No"], [0.9, 0.1])
    parity = certify(
        [probed(ours)], lambda _: ours, SIGNATURE, runtime="onnx", tolerance=0.0, refused=()
    )
    assert parity.equal
    assert parity.worst is None
    assert compare("sample", ours, ours).percentile999 == 0.0


def test_an_original_that_refuses_most_rows_is_not_asked_about_all() -> None:
    """Rows that it answers are kept, and time does not grow with those that it refuses."""
    asked = []

    def ask(batch: Batch, _: object) -> dict[str, np.ndarray]:
        asked.append(len(batch))
        if (batch.numbers[:, 0] % 10 != 0).any():
            raise ConversionError("tied")
        return {"prediction": batch.numbers[:, 0]}

    rows = Batch(
        numbers=np.arange(5000.0).reshape(-1, 1), strings=np.empty((5000, 0), dtype=object)
    )
    found = answered(ask, "sample", rows, (Feature(name="a", type="double"),))
    assert found is not None
    assert 10 <= len(found.batch) < 100
    assert found.refused == ("tied",)
    assert len(asked) < 400


def test_an_answer_that_depends_on_the_rows_beside_is_told() -> None:
    """Where a quarter of the rows are answered otherwise alone; one on a threshold is none of that."""
    numbers = np.random.default_rng(0).normal(size=(40, 1))
    rows = Batch(numbers=numbers, strings=np.empty((40, 0), dtype=object))
    features = (Feature(name="x", type="double"),)

    def centred(batch: Batch, _: tuple[Feature, ...]) -> Raw:
        return {"prediction": batch.numbers[:, 0] - batch.numbers.mean()}

    def rounded(batch: Batch, _: tuple[Feature, ...]) -> Raw:
        on_edge = (batch.numbers[:, 0] == numbers[3, 0]) & (len(batch) == 1)
        return {"prediction": np.where(on_edge, 1.0, batch.numbers[:, 0])}

    sample = Probed(kind="sample", batch=rows, raw=rounded(rows, features))
    check_alone(rounded, sample, features, 1e-6)
    sample = Probed(kind="sample", batch=rows, raw=centred(rows, features))
    with pytest.raises(ConversionError, match="no function of the row"):
        check_alone(centred, sample, features, 1e-6)
