"""Rows for which the nearest points of a model are not told apart by their distance. Runs in the worker."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

import numpy as np

from cannery.isolation.describing import transformers_of

_SLACK = 1e-12
"""Relative; distances that differ by less are equal but for their rounding."""
_HAND_ON = ("Voting", "Stacking", "OneVsRest", "MultiOutput")
_THRESHOLDS = ("ThresholdClassifier", "ThresholdClassifierCV")
"""Classes whose members see the rows as they are."""


def is_tied(model: Any, table: Any) -> bool:
    """Tell whether for some row the order of the model's own search decides which points are nearest.

    That order depends on its algorithm, and by brute force on the batch and the number of threads:
    what the model then answers is no property of the row, and nothing can be compared with it.
    """
    return any(
        _tied(search, reduce(lambda rows, step: step.transform(rows), before, table))
        for before, search in _searches(model)
    )


def _tied(search: Any, table: Any) -> bool:
    count = int(getattr(search, "n_neighbors_", search.n_neighbors))
    if count >= search.n_samples_fit_:
        return False
    distances, _ = search.kneighbors(table, n_neighbors=count + 1)
    last, next_ = distances[:, -2], distances[:, -1]
    with np.errstate(invalid="ignore"):  # two distances that are infinite are equal, too
        return not bool(np.all(next_ - last > _SLACK * next_))


def _searches(model: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield what looks for nearest points, each with the transformers through which a row gets there."""
    if getattr(model, "steps", None):
        yield from _searches(model.steps[-1][1], (*before, *transformers_of(model)))
    elif hasattr(model, "kneighbors") and hasattr(model, "predict"):
        yield before, model
    else:
        for member in _members(model):
            yield from _searches(member, before)


def _members(model: Any) -> Iterator[Any]:
    """Yield those whom a search of parameters, a calibration, a threshold, a vote or a stack hands its rows to."""
    if (best := getattr(model, "best_estimator_", None)) is not None:
        yield best
    for calibrated in getattr(model, "calibrated_classifiers_", ()):
        yield calibrated.estimator
    if type(model).__name__.startswith(_HAND_ON):
        yield from model.estimators_
    elif type(model).__name__.endswith(_THRESHOLDS):
        yield model.estimator_
