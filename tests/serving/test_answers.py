"""Raw outputs back to records: in their types, finite, and probabilities in [0, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from churn_cans import SIGNATURE

from cannery.errors import ProofError
from cannery.serving.canary import difference
from cannery.serving.schema import columns, render
from cannery.signatures import Output, Signature

LABEL = np.array(["Yes"], dtype=object)


def signature(**changes: Any) -> Signature:
    """Return a signature with one output."""
    output = {"name": "y", "type": "double", "tensor": "prediction", **changes}
    return Signature(features=(), outputs=(Output(**output),))


def test_answers_are_plain_values_of_the_declared_types() -> None:
    """Each row becomes one record of Python values."""
    raw = {"label": LABEL, "probabilities": np.array([[0.25, 0.75]])}
    assert render(raw, SIGNATURE) == [{"label": "Yes", "churn_probability": 0.75}]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.01, -0.01])
def test_what_is_no_probability_is_never_answered(value: float) -> None:
    """NaN, infinity and numbers outside [0, 1] are errors that name field and row."""
    raw = {"label": LABEL, "probabilities": np.array([[0.5, value]])}
    with pytest.raises(ProofError, match=r"'churn_probability' is .* in row 0"):
        render(raw, SIGNATURE)


def test_rounding_is_brought_back_into_the_range() -> None:
    """A float32 softmax may answer a little more than one."""
    raw = {"label": LABEL, "probabilities": np.array([[0.0, 1 + 2e-7]], dtype=np.float32)}
    assert render(raw, SIGNATURE)[0]["churn_probability"] == 1.0


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2)), np.zeros(1), np.zeros((1, 1)), np.zeros((1, 2, 2))]
)
def test_an_answer_of_the_wrong_shape_is_an_error(array: np.ndarray) -> None:
    """Rows and columns must be those of the signature."""
    with pytest.raises(ProofError, match="shape"):
        render({"label": LABEL, "probabilities": array}, SIGNATURE, 1)


def test_a_missing_tensor_is_an_error() -> None:
    """A runtime that leaves an output out is caught."""
    with pytest.raises(ProofError, match="no output 'prediction'"):
        render({}, signature(), 1)


def test_a_column_of_one_is_a_vector() -> None:
    """Regressors answer [rows, 1] or [rows]."""
    assert render({"prediction": np.array([[1.5]])}, signature()) == [{"y": 1.5}]
    assert render({"prediction": np.array([1.5])}, signature()) == [{"y": 1.5}]


def test_whole_numbers_and_booleans_keep_their_types() -> None:
    """A label of zeros and ones comes back as declared."""
    raw = {"prediction": np.array([1, 0])}
    assert render(raw, signature(type="boolean")) == [{"y": True}, {"y": False}]
    assert repr(render(raw, signature(type="long"))) == "[{'y': 1}, {'y': 0}]"
    with pytest.raises(ProofError, match="not a whole number"):
        render({"prediction": np.array([0.5])}, signature(type="long"))


def test_columns_are_arrays_for_those_who_write_files() -> None:
    """The same answer, field by field."""
    raw = {"label": LABEL, "probabilities": np.array([[0.25, 0.75]])}
    assert columns(raw, SIGNATURE, 1)["churn_probability"].tolist() == [0.75]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"label": "Yes", "churn_probability": 0.7}, None),
        ({"label": "Yes", "churn_probability": 0.7 + 9e-7}, None),
        ({"label": "Yes", "churn_probability": 0.7 + 2e-6}, "as recorded"),
        ({"label": "No", "churn_probability": 0.7}, "'label' in row 0 is 'No'"),
        ({"label": "Yes", "churn_probability": float("nan")}, "not in [0, 1]"),
        ({"label": "Yes"}, "answers 'label', not 'churn_probability', 'label'"),
    ],
)
def test_the_canary_is_compared_field_by_field(answer: dict[str, Any], reason: str | None) -> None:
    """Labels must be equal, scores within the tolerance, names exactly the same."""
    wanted = {"label": "Yes", "churn_probability": 0.7}
    found = difference([wanted], [answer], SIGNATURE, 1e-6)
    assert found is None if reason is None else reason in str(found)


def test_the_tolerance_of_large_numbers_is_relative() -> None:
    """A regressor's million may be off by one in a million."""
    assert difference([{"y": 1e6}], [{"y": 1e6 + 0.5}], signature(), 1e-6) is None
    assert difference([{"y": 1e6}], [{"y": 1e6 + 2}], signature(), 1e-6) is not None
