"""Why a fitted estimator does not convert: each part of it, tried alone. Runs in the worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cannery.conversions.nouns import Obstacle
from cannery.conversions.onnx.convert import convert
from cannery.conversions.onnx.emitter import ANOTHER, qualified_name
from cannery.errors import ConversionError
from cannery.signatures import Feature

_Features = tuple[Feature, ...]
_MEMBERS = ("best_estimator_", "estimator_", "final_estimator_", "regressor_", "transformer_")


def obstacles(
    estimator: Any, features: _Features, path: tuple[str, ...] = ()
) -> Iterator[Obstacle]:
    """Yield the innermost parts that can't be converted, with the reason of each."""
    try:
        convert(estimator, features, "tried")
        return
    except ConversionError as error:
        refused = error
    found = [
        obstacle
        for name, part, given in _parts(estimator, features)
        for obstacle in obstacles(part, given, (*path, name))
    ]
    if found:
        yield from found
        return
    reason = refused.message.partition(" exactly: ")[2] or refused.message
    step, kind = "__".join(path) or "the model", qualified_name(type(estimator))
    hint = None if refused.hint == ANOTHER else refused.hint  # other runtimes are told of anyway
    yield Obstacle(step=step, type=kind, reason=reason, hint=hint)


def _parts(estimator: Any, features: _Features) -> Iterator[tuple[str, Any, _Features]]:
    """Yield what an estimator is made of, with the columns that each part sees."""
    if getattr(estimator, "steps", None):
        for place, (name, step) in enumerate(estimator.steps):
            if hasattr(step, "get_params"):
                yield name, step, features if place == 0 else _plain(step)
    elif hasattr(estimator, "transformers_"):
        for name, step, _ in estimator.transformers_:
            places = estimator._transformer_to_input_indices.get(name, [])
            if hasattr(step, "get_params") and len(places):
                yield name, step, _chosen(estimator, features, places)
    elif getattr(estimator, "transformer_list", None):
        for name, step in estimator.transformer_list:
            if hasattr(step, "get_params"):
                yield name, step, features
    else:
        yield from _members(estimator, features)


def _members(estimator: Any, features: _Features) -> Iterator[tuple[str, Any, _Features]]:
    """Yield the estimators inside an estimator: the best of a search, the members of an ensemble."""
    for name in _MEMBERS:
        part = getattr(estimator, name, None)
        if hasattr(part, "get_params"):
            yield name.rstrip("_"), part, _seen(part, features)
    named = dict(getattr(estimator, "named_estimators_", None) or {})
    for name, part in named.items():
        if hasattr(part, "get_params"):
            yield name, part, _seen(part, features)
    for index, one in enumerate(getattr(estimator, "calibrated_classifiers_", ())[:1]):
        yield f"calibrated{index}", one.estimator, _seen(one.estimator, features)


def _chosen(estimator: Any, features: _Features, places: Sequence[int]) -> _Features:
    """Return the columns that a column transformer hands to one of its parts."""
    by_name = {feature.name: feature for feature in features}
    fitted = getattr(estimator, "feature_names_in_", None)
    if fitted is not None and set(fitted) <= set(by_name):
        return tuple(by_name[fitted[int(place)]] for place in places)
    return tuple(features[int(place)] for place in places if int(place) < len(features))


def _seen(part: Any, features: _Features) -> _Features:
    """Return the columns that a part sees: those of the whole where it takes as many."""
    count = getattr(part, "n_features_in_", len(features))
    return features if count == len(features) else _plain(part)


def _plain(part: Any) -> _Features:
    """Return nameless numbers, as many as a part was fitted on."""
    names = getattr(part, "feature_names_in_", None)
    count = int(getattr(part, "n_features_in_", 0) or 1)
    told = [f"x{i}" for i in range(count)] if names is None else [str(n) for n in names]
    return tuple(Feature(name=name, type="double") for name in told)
