"""Takes what happens to a column on its way into a tree back into the tree's thresholds.

A split asks whether float32(f(x)) <= t, with f the maps of the column (scaling, imputing, encoding).
Where f never decreases, one number x* answers for every double x: f(x) passes if and only if x <= x*.
It is found by bisection over the doubles, with the very operations that scikit-learn would do. Where
f tells finitely many values apart, the split asks whether x is one of a set. Either way the answer is
the same for every input, and nothing is left to be scaled, looked up or cast at run time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cannery.conversions.onnx.maps import (
    Arithmetic,
    Clip,
    Fill,
    Function,
    Is,
    Map,
    Table,
    chain,
    is_ascending,
    is_total,
)

Numbers = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEQ, NEQ, MEMBER = 0, 5, 6
"""Modes of a node of the operator TreeEnsemble.

Equality is asked as inequality, and sets only in trees of one target: ONNX Runtime (seen in 1.32)
merges neighbouring questions for equality whose leaves have one weight, and forgets that the leaves
may have different targets.
"""

_SIGN = np.int64(-0x8000000000000000)
_LOWEST = np.int64(-0x7FF0000000000000)
_HIGHEST = np.int64(0x7FF0000000000000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """The splits of one column, in terms of its root (the column before its maps)."""

    modes: NDArray[np.uint8]
    values: Numbers
    """What x is compared with; NaN: nothing passes."""
    members: tuple[tuple[float, ...], ...]
    """For mode `MEMBER`: the set; else empty."""
    missing_left: Bools
    """Whether NaN goes left."""
    swapped: Bools
    """Whether x goes right when the node's question is answered with yes."""


def ascends(maps: tuple[Map, ...], *, refuses_missing: bool) -> bool:
    """Tell whether one threshold per split stands for the maps.

    With `refuses_missing` the original answers no row in which a map gave NaN, so that maps which
    are not defined everywhere (log, sqrt) may be folded too.
    """
    if not all(is_ascending(m) for m in maps):
        return False
    return _keeps_missing(maps) if refuses_missing else all(map(is_total, maps))


def lowest_defined(maps: tuple[Map, ...]) -> float:
    """Return the lowest double for which maps that never decrease give a number, not NaN."""
    low, high = int(_LOWEST), int(_HIGHEST)
    while low < high:
        middle = (low + high) // 2
        if np.isnan(chain(maps, _doubles(np.array([middle])))[0]):
            low = middle + 1
        else:
            high = middle
    return float(_doubles(np.array([low]))[0])


def told_apart(maps: tuple[Map, ...]) -> tuple[float, ...] | None:
    """Return the numbers that the maps tell from all others, where these are few; else None."""
    for step in maps:
        match step:
            case Fill():
                continue
            case Is(values):
                return tuple(v for v in values if v == v)
            case Table(keys):
                return tuple(k for k in keys if k == k)
            case _:
                return None
    return None


def another(keys: tuple[float, ...]) -> float:
    """Return a number that is none of the keys."""
    return max((abs(k) for k in keys), default=0.0) * 2.0 + 1.0


def fold(
    maps: tuple[Map, ...], thresholds: Numbers, missing_left: Bools, *, single: bool
) -> Splits:
    """Return the splits `cast(f(x)) <= threshold` in terms of x; `single`: the cast is to float32.

    Where the maps tell values apart, NaN must be told from none but these (see `told_apart`).
    """
    keys, count = told_apart(maps), len(thresholds)
    if keys is None:
        at_missing = _value(maps, np.array([np.nan]), single)
        return Splits(
            modes=np.full(count, LEQ, np.uint8),
            values=last_passing(maps, thresholds, single=single),
            members=((),) * count,
            missing_left=_goes_left(at_missing, thresholds, missing_left)[0],
            swapped=np.zeros(count, bool),
        )
    listed = np.array([*keys, another(keys)])
    answers = _goes_left(_value(maps, listed, single), thresholds, missing_left)
    sets = [listed[:-1][row] for row in (answers[:-1] != answers[-1]).T]
    several = np.array([len(s) > 1 for s in sets], dtype=bool)
    return Splits(
        modes=np.where(several, MEMBER, NEQ).astype(np.uint8),
        values=np.array([s[0] if len(s) == 1 else 0.0 if len(s) else np.nan for s in sets]),
        members=tuple(tuple(s.tolist()) if len(s) > 1 else () for s in sets),
        missing_left=answers[-1],
        swapped=np.where(several, answers[-1], ~answers[-1]),
    )


def _keeps_missing(maps: tuple[Map, ...]) -> bool:
    """Tell whether NaN that a map gives outside its domain is still NaN at the end."""
    partial = [i for i, m in enumerate(maps) if not is_total(m)]
    return not partial or all(
        isinstance(m, Arithmetic | Clip | Function) for m in maps[partial[0] :]
    )


def _goes_left(y: Numbers, thresholds: Numbers, missing_left: Bools) -> Bools:
    """Return [len(y), len(thresholds)]: where each value goes at each split."""
    passes = y[:, None] <= thresholds[None]
    return np.where(np.isnan(y)[:, None], missing_left[None], passes)


def _value(maps: tuple[Map, ...], x: Numbers, single: bool) -> Numbers:
    y = chain(maps, x)
    if not single:
        return y
    with np.errstate(all="ignore"):
        return y.astype(np.float32).astype(np.float64)


def last_passing(maps: tuple[Map, ...], thresholds: Numbers, *, single: bool) -> Numbers:
    """Return the largest double for each threshold that still passes (NaN where none does)."""
    unique, back = np.unique(thresholds, return_inverse=True)
    low = np.full(len(unique), _LOWEST - 1)
    high = np.full(len(unique), _HIGHEST)
    while True:
        unsettled = low < high
        if not unsettled.any():
            break
        middle = (low >> 1) + (high >> 1) + ((low | high) & 1)
        passes = ~(_value(maps, _doubles(middle), single) > unique)  # NaN, below log's domain, too
        low = np.where(unsettled & passes, middle, low)
        high = np.where(unsettled & ~passes, middle - 1, high)
    found = np.where(low < _LOWEST, np.nan, _doubles(np.maximum(low, _LOWEST)))
    return np.asarray(found[back], dtype=np.float64)


def _doubles(order: NDArray[np.int64]) -> Numbers:
    """Return the doubles at these places in the order of all doubles (0 is 0.0, 1 the next above it)."""
    bits = np.where(order >= 0, order, _SIGN ^ (-order))
    return bits.astype(np.int64).view(np.float64)
