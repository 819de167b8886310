"""What a caller may choose of an answer: which of its fields, and the threshold of the label."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cannery.errors import Issue, SchemaError
from cannery.serving.decisions import shown
from cannery.serving.issues import show
from cannery.signatures import Output, Signature

Answer = Mapping[str, NDArray[Any]]
"""Field → array of [rows]."""

NAMES = ("outputs", "threshold")
LISTED = 20
"""Issues of a choice that are listed; nobody reads more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is chosen."""

    fields: tuple[str, ...] | None = None
    """None is all, in their own order."""
    threshold: float | None = None
    """The probability from which on the label is the second class."""

    def apply(self, answer: Answer, signature: Signature) -> Answer:
        """Return the answer as chosen."""
        if self.threshold is not None:
            label, probability, positive = _binary(signature)
            scores = answer[probability.name]
            over = (scores if positive else 1.0 - scores) >= self.threshold
            labels = shown(label)[over.astype(np.intp)]
            answer = {**answer, label.name: labels}
        if self.fields is None:
            return answer
        return {name: answer[name] for name in self.fields}


ALL = Choice()


def choose(chosen: Mapping[str, Any], signature: Signature, place: str = "") -> Choice:
    """Return the choice that `outputs` and `threshold` make; raises SchemaError with every issue."""
    unknown = [name for name in chosen if name not in NAMES][:LISTED]
    issues = [
        Issue(path=f"{place}{name[:60]}", expected=" or ".join(NAMES), got="an unknown parameter")
        for name in unknown
    ]
    fields = _fields(chosen.get("outputs"), signature, place, issues)
    threshold = _threshold(chosen.get("threshold"), signature, place, issues)
    if issues:
        raise SchemaError(str(issues[0]), issues=tuple(issues))
    return Choice(fields=fields, threshold=threshold) if fields or threshold is not None else ALL


def takes_threshold(signature: Signature) -> bool:
    """Whether the answer is a label of two classes with its probability."""
    return _found(signature) is not None


def _fields(
    value: Any, signature: Signature, place: str, issues: list[Issue]
) -> tuple[str, ...] | None:
    """Return the fields that are meant: their own names, `label` or `probabilities`."""
    if value is None:
        return None
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names:
        issues.append(Issue(path=f"{place}outputs", expected="an array of names", got=show(value)))
        return None
    groups: dict[Any, list[str]] = {
        "label": [o.name for o in signature.outputs if o.labels],
        "probabilities": [o.name for o in signature.outputs if o.probability],
    }
    groups.update({o.name: [o.name] for o in signature.outputs})
    found: dict[str, None] = {}
    for index, name in enumerate(names):
        meant = groups.get(name) if isinstance(name, str) else None
        if meant and name in names[:index]:
            issues.append(Issue(path=f"{place}outputs", expected="each name once", got=show(name)))
            return None
        if not meant:
            known = ", ".join(o.name for o in signature.outputs[:20])
            issues.append(Issue(path=f"{place}outputs", expected=f"one of {known}", got=show(name)))
            if len(issues) >= LISTED:
                break
            continue
        found.update(dict.fromkeys(meant))
    return tuple(found)


def _threshold(value: Any, signature: Signature, place: str, issues: list[Issue]) -> float | None:
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 <= value <= 1:
        expected = "a number from 0 to 1"
    elif _found(signature) is None:
        expected = "nothing: the answer is no label of two classes with its probability"
    else:
        return float(value)
    issues.append(Issue(path=f"{place}threshold", expected=expected, got=show(value)))
    return None


def _binary(signature: Signature) -> tuple[Output, Output, bool]:
    found = _found(signature)
    assert found is not None, "a threshold is taken only where there is one"
    return found


def _found(signature: Signature) -> tuple[Output, Output, bool] | None:
    """Return the label of two classes, a probability, and whether it is that of the second class."""
    labels = [o for o in signature.outputs if o.labels]
    if len(labels) != 1 or len(labels[0].own) != 2:  # of several, a threshold would be whose?
        return None
    no, yes = labels[0].own
    for wanted in (yes, no):
        for output in signature.outputs:
            if output.probability and output.classes == (wanted,):
                return labels[0], output, wanted == yes
    return None
