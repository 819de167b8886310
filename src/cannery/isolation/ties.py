"""Rows for which the nearest points of a model are not told apart by their distance. Runs in the worker."""

from __future__ import annotations

from typing import Any

import numpy as np

from cannery.isolation.describing import transformers_of

_SLACK = 1e-12
"""Relative; distances that differ by less are equal but for their rounding."""


def is_tied(model: Any, table: Any) -> bool:
    """Tell whether for some row the order of the model's own search decides which points are nearest.

    That order depends on its algorithm, and by brute force on the batch and the number of threads:
    what the model then answers is no property of the row, and nothing can be compared with it.
    """
    while (inner := getattr(model, "best_estimator_", None)) is not None:
        model = inner
    if getattr(model, "steps", None):
        for step in transformers_of(model):
            table = step.transform(table)
        return is_tied(model.steps[-1][1], table)
    if not (hasattr(model, "kneighbors") and hasattr(model, "predict")):
        return False
    count = int(getattr(model, "n_neighbors_", model.n_neighbors))
    if count >= model.n_samples_fit_:
        return False
    distances, _ = model.kneighbors(table, n_neighbors=count + 1)
    last, next_ = distances[:, -2], distances[:, -1]
    return bool(np.any(next_ - last <= _SLACK * next_))
