"""Compare what the service answers with what the original answered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cannery.signatures import Output, Signature

Answer = Mapping[str, Any]


def difference(
    expected: Sequence[Answer], actual: Sequence[Answer], signature: Signature, tolerance: float
) -> str | None:
    """Return the first difference beyond `tolerance` in words, or None where there is none.

    The tolerance is absolute for probabilities, relative to max(1, |expected|) for other numbers;
    labels must be equal, and every answer must have exactly the expected fields.
    """
    if len(actual) != len(expected):
        return f"{len(actual)} answers for {len(expected)} records"
    outputs = {o.name: o for o in signature.outputs}
    for row, (wanted, given) in enumerate(zip(expected, actual, strict=True)):
        if wanted.keys() != given.keys():
            return f"row {row} answers {_names(given)}, not {_names(wanted)}"
        for name, value in wanted.items():
            problem = _problem(value, given[name], outputs.get(name), tolerance)
            if problem:
                return f"'{name}' in row {row} {problem}"
    return None


def _problem(wanted: Any, given: Any, output: Output | None, tolerance: float) -> str | None:
    if output is None or not _number(wanted) or not _number(given) or output.type == "long":
        return None if wanted == given else f"is {given!r}, not {wanted!r} as recorded"
    if not math.isfinite(given) or (output.probability and not 0 <= given <= 1):
        return f"is {given!r}, not " + ("in [0, 1]" if output.probability else "finite")
    scale = 1.0 if output.probability else max(1.0, abs(wanted))
    if abs(given - wanted) <= tolerance * scale:
        return None
    return f"is {given!r}, not {wanted!r} as recorded (allowed: {tolerance:g})"


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _names(answer: Answer) -> str:
    return ", ".join(f"'{name}'" for name in sorted(answer)) or "nothing"
