"""Frames, indexes and categories of pandas: places that its compiled code takes as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cannery.bounds.things import (
    BrokenThingError,
    Items,
    Numbers,
    Objects,
    Thing,
    UnknownThingError,
    attributes,
    integer,
    numbers,
    whole,
    within,
)

_ASTRAY = "has a column in a place that it has not"


def manager(thing: Thing) -> str | None:
    """Judge the blocks of a frame: every column in one place, every place with a column."""
    if thing.state is not None or len(thing.arguments) < 2:
        return "gets its blocks as pandas does not write them"
    blocks, axes = thing.arguments[0], thing.arguments[1]
    columns, rows = (length(axis) for axis in axes)
    seen = np.zeros(columns, dtype=bool)
    for block in blocks:
        if not block.known:
            raise UnknownThingError
        values, placement = block.arguments[0], block.arguments[1]
        places = _places(placement, columns)
        if places is None or seen[places].any():
            return _ASTRAY
        seen[places] = True
        if problem := _block_problem(values, len(places), rows):
            return problem
    return None if seen.all() else _ASTRAY


def _block_problem(values: Any, columns: int, rows: int) -> str | None:
    shape = values.shape if isinstance(values, Numbers | Objects) else (length(values),)
    # Categories and their like stand for one column, in one dimension or in two.
    if shape not in ((columns, rows), (rows,)) or (len(shape) == 1 and columns != 1):
        return "has a block of another shape than its axes"
    return None


def _places(placement: Any, count: int) -> NDArray[np.int64] | None:
    """Return the columns of a block, None where one is not there, or there twice."""
    if isinstance(placement, Thing):
        steps = _steps(placement)
        if len(steps) > count:
            return None
        found = np.array(steps, dtype=np.int64)
    else:
        found = whole(numbers(placement, 1)).astype(np.int64)
    inside = bool(((found >= 0) & (found < count)).all()) and len(np.unique(found)) == len(found)
    return found if inside else None


def _steps(piece: Thing) -> range:
    if piece.name != "builtins.slice" or len(piece.arguments) != 3:
        raise BrokenThingError("has a block in no place")
    start, stop, step = piece.arguments
    return range(integer(start), integer(stop), 1 if step is None else integer(step))


def series(thing: Thing) -> str | None:
    """Judge the one block of a series, which pandas writes as it did before frames had several."""
    state = thing.state
    if state is None:
        return None
    if not isinstance(state, Items) or len(state) != 4:
        return "gets its block as pandas does not write it"
    inside = state[3]["0.14.1"]
    axes, blocks = inside["axes"], inside["blocks"]
    if len(axes) != 1 or len(blocks) != 1:
        return "has another number of blocks than one"
    places = _places(blocks[0]["mgr_locs"], length(axes[0]))
    rows = length(axes[0])
    if places is None or len(places) != rows or length(blocks[0]["values"]) != rows:
        return _ASTRAY
    return None


def index(thing: Thing) -> str | None:
    """Judge an index of several levels; others stand for themselves."""
    parts = _parts(thing)
    codes, levels = (
        parts.get("codes", parts.get("_codes")),
        parts.get("levels", parts.get("_levels")),
    )
    if codes is None and levels is None:
        return None
    if len(levels) != len(codes) or len({numbers(one, 1).shape for one in codes}) > 1:
        return "has codes for other levels"
    for level, one in zip(levels, codes, strict=True):
        if not within(numbers(one, 1), -1, length(level)):
            return "has a code for a value that it has not"
    return None


def _parts(thing: Thing) -> Mapping[str, Any]:
    """Return the arguments by name with which pandas makes an index, or its attributes."""
    if len(thing.arguments) > 1 and isinstance(thing.arguments[1], Mapping):
        return thing.arguments[1]
    state = thing.state
    if isinstance(state, Items) and len(state) == 1:
        state = state[0]
    return state if isinstance(state, Mapping) else {}


def categorical(thing: Thing) -> str | None:
    """Judge categories and the codes that stand for them."""
    state = thing.state
    if state is None:
        return None
    parts = [state[key] for key in state] if isinstance(state, Mapping) else list(state)
    codes = [part for part in parts if isinstance(part, Numbers)]
    kinds = [part for part in parts if isinstance(part, Thing)]
    if len(codes) != 1 or len(kinds) != 1:
        return "has no codes"
    if not within(numbers(codes[0], len(codes[0].shape)), -1, _categories(kinds[0])):
        return "has a code for a category that it has not"
    return None


def _categories(kind: Thing) -> int:
    known = kind.arguments[0] if len(kind.arguments) else None
    state = kind.state
    if isinstance(state, Mapping):
        known = state.get("categories", state.get("_categories", known))
    return 0 if known is None else length(known)


def sparse_index(thing: Thing) -> str | None:
    """Judge the places of the values that a sparse column has."""
    _filled(thing)
    return None


def _filled(thing: Thing) -> int:
    """Return how many values a sparse column has; raises BrokenThingError where a place is not there."""
    kind, parts = thing.name.rpartition(".")[2], thing.arguments
    if len(parts) != {"IntIndex": 2, "BlockIndex": 3}.get(kind):
        raise BrokenThingError("has no places of its values")
    size = integer(parts[0])
    first = whole(numbers(parts[1], 1)).astype(np.int64)
    last = first + (whole(numbers(parts[2], 1)).astype(np.int64) if len(parts) > 2 else 1)
    ends = np.append(first[1:], size)
    if not 0 <= size <= _LONGEST or first.shape != last.shape or (first[:1] < 0).any():
        raise BrokenThingError(_ASTRAY)
    if (last <= first).any() or (last > ends).any():
        raise BrokenThingError("has a value in a place that it has not")
    return int((last - first).sum())


_LONGEST = 1 << 31


def sparse(thing: Thing) -> str | None:
    """Judge a sparse column: a value for every place."""
    state = attributes(thing)
    places, values = state["_sparse_index"], state["_sparse_values"]
    if not isinstance(places, Thing) or not isinstance(values, Numbers | Objects):
        return "has no values, or no places of them"
    return None if values.shape == (_filled(places),) else "has other values than places"


def length(value: Any) -> int:
    """Return the number of items of an array or an index; raises BrokenThingError where it is not known."""
    match value:
        case Numbers() | Objects() if value.shape:
            return value.shape[-1]
        case Items():
            return len(value)
        case Thing():
            return _length_of(value)
    raise BrokenThingError("has an axis of unknown length")


def _length_of(thing: Thing) -> int:
    if thing.name == "pyarrow.lib._restore_array":
        return integer(thing.arguments[0])
    if thing.name.startswith("pandas._libs.sparse."):
        return integer(thing.arguments[0])
    if thing.name == "pyarrow.lib.chunked_array":
        return sum(length(chunk) for chunk in thing.arguments)
    if thing.name == "builtins.range":
        return len(range(*(integer(step) for step in thing.arguments)))
    parts = _parts(thing)
    for key in ("codes", "_codes"):
        if isinstance(parts.get(key), Items):
            return length(parts[key][0])
    if "start" in parts:
        return len(range(*(integer(parts[key]) for key in ("start", "stop", "step"))))
    for key in (
        "data",
        "left",
        "_range",
        "_data",
        "_ndarray",
        "_codes",
        "_left",
        "_pa_array",
        "_sparse_index",
    ):
        if key in parts:
            return length(parts[key])
    state = thing.state if isinstance(thing.state, Items) else ()
    found = [part for part in state if isinstance(part, Numbers | Objects)]
    if len(found) == 1:
        return length(found[0])
    inside = [*parts.values(), *state]
    if not thing.known or any(isinstance(part, Thing) and not part.known for part in inside):
        raise UnknownThingError
    raise BrokenThingError("has an axis of unknown length")
