"""Sparse matrices, and the tables of names and categories from which estimators make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cannery.bounds.things import (
    BrokenThingError,
    Items,
    Numbers,
    Objects,
    Parts,
    Thing,
    attributes,
    integer,
    numbers,
    whole,
    within,
)

_ANY = "biufc"


def matrix(thing: Thing) -> str | None:
    """Judge a sparse matrix of any format."""
    state = attributes(thing)
    if not state:
        return None
    kind = thing.name.rpartition(".")[2][:3]
    sizes = state.get("_shape")
    if not isinstance(sizes, Items) or not all(integer(n) >= 0 for n in sizes):
        raise BrokenThingError("has no shape")
    shape = tuple(integer(n) for n in sizes)
    if kind == "coo":
        return _coordinates(state, shape)
    if len(shape) == 1 and kind == "csr":
        shape = (1, *shape)
    if len(shape) != 2:
        return "has another number of dimensions than its kind"
    rows, columns = shape
    match kind:
        case "csr":
            return _compressed(state, rows, columns)
        case "csc":
            return _compressed(state, columns, rows)
        case "bsr":
            return _blocks(state, rows, columns)
        case "dia":
            data, offsets = state["data"], numbers(state["offsets"], 1)
            return None if numbers(data, 2, _ANY).shape[0] == offsets.shape[0] else _LENGTHS
        case "lil":
            return _lists(state, rows, columns)
    return None if kind == "dok" else "is a matrix of no kind"


_LENGTHS = "has lists of different lengths"
_OUTSIDE = "has an element outside of its shape"


def _compressed(state: Mapping[str, Any], major: int, minor: int) -> str | None:
    if not isinstance(state["data"], Numbers) or len(state["data"].shape) != 1:
        return _LENGTHS
    return _pointed(state, state["data"].shape[0], major, minor)


def _pointed(state: Mapping[str, Any], stored: int, major: int, minor: int) -> str | None:
    indices, pointers = numbers(state["indices"], 1), numbers(state["indptr"], 1)
    if pointers.shape != (major + 1,):
        return _LENGTHS
    before = 0
    for number, block in enumerate(pointers.blocks()):
        ends = block.astype("i8")
        if (number == 0 and ends[0] != 0) or ends[0] < before or (ends[1:] < ends[:-1]).any():
            return "has rows that do not follow each other"
        before = int(ends[-1])
    if before > min(indices.shape[0], stored):
        return _LENGTHS
    return None if within(indices, 0, minor) else _OUTSIDE


def _blocks(state: Mapping[str, Any], rows: int, columns: int) -> str | None:
    data = numbers(state["data"], 3, _ANY)
    stored, high, wide = data.shape
    if not high or not wide or rows % high or columns % wide:
        return "has blocks that do not fit its shape"
    return _pointed(state, stored, rows // high, columns // wide)


def _coordinates(state: Mapping[str, Any], shape: tuple[int, ...]) -> str | None:
    stored = numbers(state["data"], 1, _ANY).shape
    coordinates = state.get("coords")
    if isinstance(coordinates, Numbers):
        # In scipy's own archive they are the rows of one array.
        table = whole(numbers(coordinates, 2)).reshape(coordinates.shape)
        inside = all(((row >= 0) & (row < n)).all() for row, n in zip(table, shape, strict=True))
        return None if inside and table.shape[1:] == stored else _OUTSIDE
    if coordinates is None:
        coordinates = [state.get("row"), state.get("col")]
    if len(coordinates) != len(shape):
        return _LENGTHS
    for places, size in zip(coordinates, shape, strict=True):
        if numbers(places, 1).shape != stored:
            return _LENGTHS
        if not within(places, 0, size):
            return _OUTSIDE
    return None


def _lists(state: Mapping[str, Any], rows: int, columns: int) -> str | None:
    places, data = state["rows"], state["data"]
    if not isinstance(places, Objects) or not isinstance(data, Objects):
        raise BrokenThingError("has no lists")
    if places.shape != (rows,) or data.shape != (rows,):
        return _LENGTHS
    for row, values in zip(places.items, data.items, strict=True):
        if len(row) != len(values):
            return _LENGTHS
        if any(not 0 <= integer(place) < columns for place in row):
            return _OUTSIDE
    return None


def vocabulary(thing: Thing) -> str | None:
    """Judge the columns of words or labels: they become indices of a sparse matrix with as many columns."""
    state = attributes(thing)
    for words in (state.get("vocabulary_"), state.get("_cached_dict")):
        if words is None:
            continue
        if not isinstance(words, Parts):
            return "has a vocabulary that is no dictionary"
        places = [*words.whole_numbers(), *map(integer, words.rest)]
        if places and not 0 <= min(places) <= max(places) < len(places):
            return "has a word for a column that it has not"
    return None


def mapped(thing: Thing) -> str | None:
    """Judge what was a map of a file: as an array it has bytes of its own."""
    return "has no bytes of its own" if thing.state is None else None


def categories(thing: Thing) -> str | None:
    """Judge one-hot columns: as many for a feature as it has categories."""
    state = attributes(thing)
    sizes, known = state.get("_n_features_outs"), state.get("categories_")
    if sizes is None or known is None:
        return None
    if not isinstance(sizes, Sequence) or len(sizes) != len(known):
        return "has columns for other features"
    groups = state.get("_default_to_infrequent_mappings")
    dropped = state.get("_drop_idx_after_grouping", state.get("drop_idx_"))
    for number, size in enumerate(sizes):
        values = _count(known[number], groups[number] if groups is not None else None)
        if dropped is not None and _drops(dropped, number, values):
            values -= 1
        if integer(size) != values:
            return "has another number of columns than of categories"
    return None


def _count(known: Any, group: Any) -> int:
    """Return how many values a feature takes once rare categories stand for one."""
    if group is not None:
        places = numbers(group, 1)
        if places.shape != known.shape:
            raise BrokenThingError("groups other categories than it knows")
        return 1 + max((int(block.max()) for block in places.blocks() if len(block)), default=-1)
    if not isinstance(known, Numbers | Objects) or len(known.shape) != 1:
        raise BrokenThingError("has categories that are no list")
    return known.shape[0]


def _drops(dropped: Any, number: int, values: int) -> bool:
    place = dropped.items[number] if isinstance(dropped, Objects) else None
    return place is not None and 0 <= integer(place) < values
