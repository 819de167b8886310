"""Rows whose answer a model leaves to chance: to the order of a search, or to digits that are lost. Runs in the worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cannery.serving.estimators import members_of

TIED = "the model leaves it to its search which of several points, equally far, are the nearest"
LOST = "the numbers are so large that rounding decides what the model answers"

_SLACK = 1e-12
"""Relative; distances that differ by less are equal but for their rounding."""
_WIDE = 16
"""Times as many points as are near are looked at for equally far ones."""
_ROUNDING = 16 * float(np.finfo(np.float64).eps)
"""Of sums of a few products, relative."""
_CERTAIN = 40.0
"""Of a score in an exponent that is so much higher, nothing is left beside it."""
_LEAST = 1e-8
"""Errors of angles and exponents that don't matter."""
_THRESHOLDS = ("ThresholdClassifier", "ThresholdClassifierCV")
"""Classes whose members see the rows as they are."""

Numbers = NDArray[np.float64]


class Chance(NamedTuple):
    """A part of a model that leaves rows to chance."""

    before: tuple[Any, ...]
    """The transformers through which a row gets there."""
    part: Any
    hits: Callable[[Any, Any], bool]
    """Whether it does so with one of these rows."""
    steady: bool
    """Whether it answers the same row always the same, though no graph can."""
    reason: str


def chances_of(model: Any, before: tuple[Any, ...] = ()) -> Iterator[Chance]:
    """Yield the parts of a model that leave rows to chance."""
    name = type(model).__name__
    if getattr(model, "steps", None):
        for _, step in model.steps:
            yield from chances_of(step, before)
            before = (*before, step) if hasattr(step, "transform") else before
    elif hasattr(model, "transformers_"):
        for _, step, columns in model.transformers_:
            yield from chances_of(step, (*before, _Columns(columns)))
    elif getattr(model, "transformer_list", None):
        for _, step in model.transformer_list:
            yield from chances_of(step, before)
    elif hasattr(model, "kneighbors") and hasattr(model, "predict"):
        yield Chance(before, model, _tied, model._fit_method != "brute", TIED)
    elif hasattr(getattr(model, "nn_fit", None), "kneighbors"):
        yield Chance(before, model.nn_fit, _tied, model.nn_fit._fit_method != "brute", TIED)
    elif name in _LOST:
        yield Chance(before, model, _LOST[name], False, LOST)
    else:
        for member in _members(model):
            yield from chances_of(member, before)


def hit(chances: tuple[Chance, ...], table: Any) -> str | None:
    """Return why one of these rows is left to chance; None where none is.

    What a model then answers is no property of the row, and nothing can be compared with it: the order
    of a search depends on its algorithm, and by brute force on the batch and the number of threads.
    """
    for chance in chances:
        rows = reduce(lambda rows, step: step.transform(rows), chance.before, table)
        if chance.hits(chance.part, rows):
            return chance.reason
    return None


class _Columns(NamedTuple):
    """What a ColumnTransformer does to rows before one of its steps."""

    columns: Any

    def transform(self, table: Any) -> Any:
        """Return the columns of the step."""
        from sklearn.utils import _safe_indexing

        return _safe_indexing(table, self.columns, axis=1)


def _members(model: Any) -> Iterator[Any]:
    """Yield those to whom a model hands its rows as they come."""
    yield from members_of(model)
    if type(model).__name__.endswith(_THRESHOLDS):
        yield model.estimator_


def _tied(search: Any, table: Any) -> bool:
    """Tell whether the border of a neighbourhood runs through points that are equally far, and answer differently."""
    count, every = int(getattr(search, "n_neighbors_", search.n_neighbors)), search.n_samples_fit_
    if count >= every:
        return False
    distances, _ = search.kneighbors(table, n_neighbors=count + 1)
    last, next_ = distances[:, -2], distances[:, -1]
    with np.errstate(invalid="ignore"):  # two distances that are infinite are equal, too
        rows = np.flatnonzero(~(next_ - last > _SLACK * next_))
    if not len(rows) or not hasattr(search, "_y"):
        return bool(len(rows))
    from sklearn.utils import _safe_indexing

    wide = min(every, _WIDE * (count + 1))
    distances, places = search.kneighbors(_safe_indexing(table, rows), n_neighbors=wide)
    with np.errstate(invalid="ignore"):
        even = ~(np.abs(distances - last[rows, None]) > _SLACK * distances)
    if wide < every and even[:, -1].any():
        return True
    answers = np.asarray(search._y)[places].reshape(len(rows), wide, -1)
    return any(np.ptp(one[tied], axis=0).any() for one, tied in zip(answers, even, strict=True))


def _dense(table: Any) -> Numbers:
    return np.asarray(table.toarray() if hasattr(table, "toarray") else table, dtype=np.float64)


def _waves(sampler: Any, table: Any) -> bool:
    """Tell whether angles are so large that their cosines are noise."""
    angles = np.abs(_dense(table)) @ np.abs(sampler.random_weights_)
    return bool(np.any(angles * _ROUNDING > _LEAST))


def _between(part: Any, table: Any) -> bool:
    """Tell whether a row is as far from one centre as from another, but for rounding."""
    centers = next(np.asarray(getattr(part, c)) for c in _CENTERS if hasattr(part, c))
    gap, error = _gaps(_dense(table), centers)
    return not bool(np.all(gap > error))


def _gaps(x: Numbers, centers: Numbers) -> tuple[Numbers, Numbers]:
    """Return by how much the nearest centre is nearer than the next, in squares, and how far these are off."""
    norms = (centers**2).sum(axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        scores = np.sort(norms - 2.0 * x @ centers.T, axis=1)
        gap = scores[:, 1] - scores[:, 0] if len(centers) > 1 else np.full(len(x), np.inf)
        return gap, _ROUNDING * ((x**2).sum(axis=1) + norms.max(initial=0.0))


def _between_classes(part: Any, table: Any) -> bool:
    """Tell whether the nearest class, or how likely it is, is noise."""
    if part.metric != "euclidean" or not hasattr(part, "within_class_std_dev_"):
        return part.metric == "euclidean" and _between(part, table)
    spread = np.asarray(part.within_class_std_dev_)
    scale = np.where(spread != 0, spread, 1.0)
    gap, error = _gaps(_dense(table) / scale, part.centroids_ / scale)
    certain = (error < _LEAST) | (gap - error > _CERTAIN)
    return _between(part, table) or not bool(np.all(certain))


_CENTERS = ("cluster_centers_", "subcluster_centers_", "centroids_")
_LOST: dict[str, Callable[[Any, Any], bool]] = {
    "AffinityPropagation": _between,
    "Birch": _between,
    "MeanShift": _between,
    "NearestCentroid": _between_classes,
    "RBFSampler": _waves,
}
"""Of the classes that tell large numbers apart by what rounding leaves of them."""
