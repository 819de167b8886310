"""Which step of a pipeline is the first that answers otherwise once it is converted."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from cannery.conversions.probes import Probed
from cannery.errors import CanneryError
from cannery.isolation.messages import Prefixed, unpack_array
from cannery.isolation.worker import Original
from cannery.serving.scorer import onnx_scorer
from cannery.signatures import Batch, Feature, Signature, concatenate

log = logging.getLogger(__name__)

_ROWS = 400
"""Rows of each kind on which steps are compared."""


def differing_step(
    original: Original, features: tuple[Feature, ...], probed: Sequence[Probed], tolerance: float
) -> str | None:
    """Return the first step that differs, `columns__scale`; None where there is no pipeline.

    Where the steps before the last agree, it is the last.
    """
    path = original.description.path
    rows = concatenate([one.batch.take(slice(0, _ROWS)) for one in probed])
    for length, step in enumerate(path[:-1], start=1):
        try:
            prefix = original.prefix(rows, features, length)
            away = _away(prefix, rows, features, tolerance)
        except CanneryError as error:
            log.debug("up to '%s' the steps can't be compared: %s", step, error.message)
            continue
        if away is not None:
            inner = next((n for n, start, stop in prefix.parts if start <= away < stop), None)
            return f"{step}__{inner}" if inner else step
    return path[-1] if path else None


def _away(
    prefix: Prefixed, rows: Batch, features: tuple[Feature, ...], tolerance: float
) -> int | None:
    """Return the first column in which the graph of a prefix differs from it."""
    signature = Signature(features=features, outputs=())
    scorer = onnx_scorer(prefix.data, signature, prefix.feeds, outputs=("columns",))
    theirs, ours = unpack_array(prefix.columns), scorer.score(rows)["columns"]
    with np.errstate(invalid="ignore"):
        near = np.abs(theirs - ours) <= tolerance * np.maximum(1.0, np.abs(theirs))
    same = near | (theirs == ours) | (np.isnan(theirs) & np.isnan(ours))
    columns = np.flatnonzero(~same.all(axis=0))
    return int(columns[0]) if len(columns) else None
