"""The first steps that each column of a model meets, and what they tell of it. Runs in the worker."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cannery.serving.estimators import members_of

_KEEPS = {"SimpleImputer", "StandardScaler", "MinMaxScaler"}
"""Steps after which the columns are still the same, one for one."""
_INNER = {
    "SearchCV": "best_estimator_",
    "CalibratedClassifierCV": "",
    "ThresholdClassifier": "estimator_",
    "ThresholdClassifierCV": "estimator_",
    "TransformedTargetRegressor": "regressor_",
}
"""Ends of the names of classes that hand their rows on, and where these go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """A step, and the columns that it is given."""

    step: Any
    names: list[Any]
    raw: bool
    """Whether their values come as the caller sent them."""
    none: bool
    """Whether a step before took None for a missing value."""


def met(model: Any, names: Sequence[Any], *, raw: bool = True, none: bool = False) -> Iterator[Met]:
    """Yield the steps that the named columns meet first."""
    inner = _handed_on(model)
    if inner is not None:
        yield from met(inner, names, raw=raw, none=none)
    elif members := _members(model, names):
        for member, given in members:
            yield from met(member, given, raw=raw, none=none)
    elif getattr(model, "steps", None):
        yield from _in_turn(model, names, raw=raw, none=none)
    elif hasattr(model, "transformers_"):
        for _, step, chosen in model.transformers_:
            yield from met(step, _chosen(model, chosen, names), raw=raw, none=none)
    elif getattr(model, "transformer_list", None):
        for _, step in model.transformer_list:
            yield from met(step, names, raw=raw, none=none)
    elif getattr(model, "_preprocessor", None) is not None:  # of histogram gradient boosting
        listed = [n for n, c in zip(names, model.is_categorical_, strict=True) if c]
        encoder = model._preprocessor.named_transformers_["encoder"]
        yield Met(step=encoder, names=listed, raw=raw, none=none)
    elif model is not None and not isinstance(model, str):
        yield Met(step=model, names=list(names), raw=raw, none=none)


def _handed_on(model: Any) -> Any:
    """Return the estimator to which a search, a threshold, a calibration or a target's transformation hands its rows."""
    name = next((n for n in _INNER if type(model).__name__.endswith(n)), None)
    if name == "CalibratedClassifierCV":
        return model.calibrated_classifiers_[0].estimator
    return None if name is None else getattr(model, _INNER[name], None)


def _members(model: Any, names: Sequence[Any]) -> list[tuple[Any, Sequence[Any]]]:
    """Return the members of a vote, a stack or a bag, and the columns that each is given."""
    if subsets := getattr(model, "estimators_features_", None):
        given = [[names[i] for i in chosen] for chosen in subsets]
        return list(zip(model.estimators_, given, strict=True))
    return [(one, names) for one in members_of(model) if hasattr(one, "get_params")]


def _in_turn(model: Any, names: Sequence[Any], *, raw: bool, none: bool) -> Iterator[Met]:
    """Follow a pipeline as long as its steps keep the columns as they are."""
    for _, step in model.steps:
        yield from met(step, names, raw=raw, none=none)
        kind = type(step).__name__
        if step is None or step == "passthrough":
            continue
        if kind not in _KEEPS or getattr(step, "add_indicator", False):
            return
        raw = raw and kind == "SimpleImputer"
        none = none or getattr(step, "missing_values", False) is None


def _chosen(model: Any, chosen: Any, names: Sequence[Any]) -> list[Any]:
    """Return the names of the columns that a ColumnTransformer hands to one of its steps."""
    if isinstance(chosen, str):
        return [chosen]
    if isinstance(chosen, slice):
        first, last = (
            list(names).index(edge) if isinstance(edge, str) else edge
            for edge in (chosen.start, chosen.stop)
        )
        ended = last + 1 if isinstance(chosen.stop, str) else last  # by name, the last is inside
        return list(names)[first : ended : chosen.step]
    if not isinstance(chosen, list | tuple | np.ndarray):
        return [names[chosen]] if isinstance(chosen, int) else []
    if len(chosen) and all(isinstance(c, bool | np.bool_) for c in chosen):
        return [n for n, c in zip(names, chosen, strict=False) if c]
    return [c if isinstance(c, str) else names[int(c)] for c in chosen]


Span = tuple[float, float, bool]
"""Lowest and highest of a column, and whether training saw exactly these."""


def spans(steps: Sequence[Met]) -> Iterator[tuple[Any, Span]]:
    """Yield for columns where their values lie, as far as a fitted step tells."""
    for one in steps:
        if not one.raw:
            continue
        for name, (low, high, seen) in zip(one.names, _spans(one.step), strict=False):
            if math.isfinite(low) and math.isfinite(high) and low <= high:
                yield name, (float(low), float(high), seen)


def _spans(step: Any) -> Iterator[Span]:
    match type(step).__name__:
        case "MinMaxScaler":
            yield from ((a, b, True) for a, b in zip(step.data_min_, step.data_max_, strict=True))
        case "MaxAbsScaler":
            yield from ((-a, a, False) for a in step.max_abs_)
        case "StandardScaler" if step.mean_ is not None and step.var_ is not None:
            wide = 2 * np.sqrt(step.var_)
            yield from ((m - w, m + w, False) for m, w in zip(step.mean_, wide, strict=True))
        case "RobustScaler" if step.center_ is not None and step.scale_ is not None:
            yield from (
                (c - s, c + s, False) for c, s in zip(step.center_, step.scale_, strict=True)
            )
        case "KBinsDiscretizer":
            yield from ((edges[0], edges[-1], True) for edges in step.bin_edges_)
        case "QuantileTransformer":
            yield from ((q[0], q[-1], True) for q in step.quantiles_.T)
        case "SplineTransformer":
            yield from ((b.t[b.k], b.t[-b.k - 1], True) for b in step.bsplines_)
        case "IsotonicRegression":
            yield step.X_min_, step.X_max_, True


def texts(steps: Sequence[Met]) -> set[Any]:
    """Return the columns that are cut into terms."""
    return {n for one in steps if hasattr(one.step, "build_analyzer") for n in one.names}
