"""The golden records: a few rows of the sample with the answers that the original gave."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cannery.conversions.samples import record_of
from cannery.errors import ConversionError, ProofError
from cannery.serving.schema import render
from cannery.signatures import Batch, Canary, Raw, Signature

RECORDS = 5
"""At most; what is sealed into a can is seen by whoever has the can."""


def canary_of(batch: Batch, raw: Raw, signature: Signature, *, tolerance: float) -> Canary:
    """Return records spread over the answers of the original, from low to high.

    Raises ConversionError when the original gives no row a finite answer.
    """
    usable = _finite(raw, len(batch))
    if not len(usable):
        raise ConversionError("the original answers no row of the sample with finite numbers")
    scores = next((v for name, v in sorted(raw.items()) if name != "label"), None)
    if scores is not None and scores.dtype.kind == "f":
        last = scores.reshape(len(scores), -1)[usable, -1]
        usable = usable[np.argsort(last, kind="stable")]
    places = np.unique(np.linspace(0, len(usable) - 1, num=min(RECORDS, len(usable))).astype(int))
    rows = usable[places]
    try:
        outputs = render({name: values[rows] for name, values in raw.items()}, signature, len(rows))
    except ProofError as error:
        raise ConversionError(
            f"the answers of the original can't be served: {error.message}",
            hint="an answer is a finite number, and a probability lies in [0, 1]: fit the model with an "
            "objective that answers these",
        ) from error
    return Canary(
        records=tuple(record_of(batch, signature.features, int(row)) for row in rows),
        outputs=tuple(outputs),
        tolerance=tolerance,
    )


def _finite(raw: Raw, rows: int) -> NDArray[np.intp]:
    good = np.ones(rows, dtype=bool)
    for values in raw.values():
        if values.dtype.kind == "f":
            good &= np.isfinite(values.reshape(rows, -1)).all(axis=1)
    return np.flatnonzero(good)
