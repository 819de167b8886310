"""The records that a model is recognised by."""

from __future__ import annotations

import numpy as np
import pytest

from cannery.conversions.canaries import canary_of
from cannery.errors import ConversionError
from cannery.signatures import Batch, Feature, Output, Signature


def test_margins_that_are_given_out_as_probabilities_are_refused_with_the_remedy() -> None:
    """An estimator of raw margins has a predict_proba all the same."""
    rows = Batch(numbers=np.zeros((2, 1)), strings=np.empty((2, 0), dtype=object))
    output = Output(
        name="p",
        type="double",
        tensor="probabilities",
        column=1,
        classes=("yes",),
        probability=True,
    )
    signature = Signature(features=(Feature(name="x", type="double"),), outputs=(output,))
    raw = {"probabilities": np.array([[-1.5, 2.5], [0.5, 0.5]])}
    with pytest.raises(ConversionError, match="row 1, not a probability") as caught:
        canary_of(rows, raw, signature, tolerance=1e-6)
    assert "objective" in str(caught.value.hint)
