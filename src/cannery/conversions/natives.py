"""A fitted booster as the file of its own library. Runs in the worker."""

from __future__ import annotations

from typing import Any

import numpy as np

from cannery.errors import ConversionError
from cannery.serving.boosters import library_of


def serialised(model: Any) -> bytes:
    """Return the file of a booster or of an estimator of its library.

    Raises ConversionError for what isn't one, and for what its file would not say.
    """
    match library_of(model):
        case "catboost":
            return bytes(model._serialize_model())
        case "lightgbm":
            return str(model.booster_.model_to_string()).encode()
        case "xgboost":
            return _xgboost(model)
        case _:
            raise ConversionError(f"'{type(model).__name__}' is no booster")


def _xgboost(model: Any) -> bytes:
    missing = model.missing
    if missing is not None and not np.isnan(missing):
        raise ConversionError(f"it takes {missing} for missing, which its file doesn't say")
    booster = model.get_booster()
    best = booster.attr("best_iteration") if getattr(model, "stops", True) else None
    if best is not None:
        booster = booster[: int(best) + 1]
    return bytes(booster.save_raw(raw_format="ubj"))
