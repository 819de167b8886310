"""Fields that are decided from scores: which side of a threshold, which class in which place."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cannery.errors import ProofError
from cannery.signatures import Output

_DIGITS = 9
"""Of probabilities that are ranked: what differs by less than rounding is a tie, and the first class wins."""


def places(values: NDArray[Any], output: Output) -> NDArray[np.intp]:
    """Return for each row which class a field answers, by its place in `classes`.

    `values` are the scores that the threshold is for, [rows], or those that are ranked, [rows, classes].
    """
    if output.threshold is not None:
        return (values >= output.threshold).astype(np.intp)
    if output.rank == 1:
        return np.asarray(np.argmax(np.round(values, _DIGITS), axis=1))
    order = np.argsort(-np.round(values, _DIGITS), axis=1, kind="stable")
    return np.asarray(order[:, (output.rank or 1) - 1])


def ranked(array: NDArray[Any], output: Output) -> NDArray[Any]:
    """Return the class in the place of `output`, or its probability; raises ProofError for odd scores."""
    if array.ndim != 2 or not np.isfinite(array).all():
        raise ProofError(
            f"the answer '{output.name}' can't be chosen among scores that are not finite"
        )
    found = places(array, output)
    if output.probability:
        return np.take_along_axis(array, found[:, None], axis=1)[:, 0]
    return shown(output)[found]


def decided(values: NDArray[Any], output: Output) -> NDArray[Any]:
    """Return the class on whose side of the threshold each value is; raises ProofError for odd values."""
    if values.dtype.kind not in "fiub" or not np.isfinite(values).all():
        raise ProofError(
            f"the answer '{output.name}' can't be decided by a number that is not finite"
        )
    return shown(output)[places(values, output)]


def translated(labels: NDArray[Any], output: Output) -> NDArray[Any]:
    """Return labels under the names that they are answered by; raises ProofError for an unknown one."""
    known = _known(output.own)
    try:
        found = [known[label] for label in labels.tolist()]
    except KeyError as error:
        raise ProofError(f"the answer '{output.name}' is {error}, which is no class") from error
    return shown(output)[found]


@lru_cache(maxsize=256)
def _known(classes: tuple[Any, ...]) -> dict[Any, int]:
    return {label: place for place, label in enumerate(classes)}


def shown(output: Output) -> NDArray[Any]:
    """Return the classes of a field in the type that it is answered in."""
    types: dict[str, Any] = {"long": np.int64, "boolean": np.bool_, "double": np.float64}
    return np.array(output.classes or (), dtype=types.get(output.type, object))
