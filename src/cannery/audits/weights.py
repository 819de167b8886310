"""Linear models and support vector machines in a graph: every list is as long as what it is of.

The runtime reads these lists in native code, by sizes that it takes from other lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LABELS = ("classlabels_int64s", "classlabels_ints", "classlabels_strings")


def weights_problem(operator: str, attributes: Mapping[str, Any], width: int | None) -> str | None:
    """Return what is wrong with the lists of a linear model or a machine, None when they agree.

    `width` is the number of input columns where that is known.
    """
    match operator:
        case "LinearClassifier":
            return _classifier_problem(attributes, width)
        case "LinearRegressor":
            return _regressor_problem(attributes, width)
        case "SVMClassifier":
            return _machines_problem(attributes, width)
        case "SVMRegressor":
            return _machine_problem(attributes, width)
    return None


def _length(attributes: Mapping[str, Any], name: str) -> int:
    found = attributes.get(name, [])
    return len(found) if isinstance(found, list) else -1


def _number(attributes: Mapping[str, Any], name: str, default: int) -> int:
    found = attributes.get(name, default)
    return found if isinstance(found, int) else -1


def _labels(attributes: Mapping[str, Any]) -> int:
    return max(_length(attributes, name) for name in _LABELS)


def _columns_problem(length: int, rows: int, width: int | None, what: str) -> str | None:
    """Return what is wrong unless `length` numbers are `rows` times one for each column."""
    if rows < 1 or length < 1 or length % rows or (width is not None and length != rows * width):
        of = "some" if width is None else width
        return f"{length} {what} are not {rows} times one for each of {of} columns"
    return None


def _classifier_problem(attributes: Mapping[str, Any], width: int | None) -> str | None:
    factors, classes = _length(attributes, "coefficients"), _length(attributes, "intercepts")
    if _labels(attributes) < classes:
        return f"{classes} classes have {_labels(attributes)} labels"
    return _columns_problem(factors, classes, width, "factors")


def _regressor_problem(attributes: Mapping[str, Any], width: int | None) -> str | None:
    targets, biases = _number(attributes, "targets", 1), _length(attributes, "intercepts")
    if biases not in (0, targets):
        return f"{targets} targets have {biases} intercepts"
    return _columns_problem(_length(attributes, "coefficients"), targets, width, "factors")


def _machines_problem(attributes: Mapping[str, Any], width: int | None) -> str | None:
    counts = attributes.get("vectors_per_class", [])
    factors, labels = _length(attributes, "coefficients"), _labels(attributes)
    if not isinstance(counts, list) or any(n < 0 for n in counts):
        return "the numbers of vectors are no numbers"
    if not counts:
        return _columns_problem(factors, labels, width, "factors")
    classes, vectors = len(counts), sum(counts)
    pairs = classes * (classes - 1) // 2
    if labels != classes or _length(attributes, "rho") != pairs:
        return f"{classes} classes have {labels} labels and {_length(attributes, 'rho')} offsets"
    if any(_length(attributes, name) not in (0, pairs) for name in ("prob_a", "prob_b")):
        return "there are not as many probabilities as pairs of classes"
    if factors != (classes - 1) * vectors:
        return f"{vectors} vectors of {classes} classes have {factors} factors"
    return _columns_problem(_length(attributes, "support_vectors"), vectors, width, "numbers")


def _machine_problem(attributes: Mapping[str, Any], width: int | None) -> str | None:
    vectors, factors = _number(attributes, "n_supports", 0), _length(attributes, "coefficients")
    if _length(attributes, "rho") != 1 or vectors < 0:
        return f"a machine has {vectors} vectors and {_length(attributes, 'rho')} offsets"
    if not vectors:
        return _columns_problem(factors, 1, width, "factors")
    if factors != vectors:
        return f"{vectors} vectors have {factors} factors"
    return _columns_problem(_length(attributes, "support_vectors"), vectors, width, "numbers")
