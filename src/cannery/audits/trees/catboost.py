"""Models of CatBoost (`.cbm`): a flatbuffer, and the statistics of categories behind it.

https://github.com/catboost/catboost/tree/master/catboost/libs/model/flatbuffers
"""

from __future__ import annotations

import numpy as np

from cannery.audits.trees.flatbuffers import Table
from cannery.audits.trees.walks import (
    BadModelError,
    Indices,
    UncheckedModelError,
    hostile,
    integers,
    within,
)
from cannery.sources.windows import Data

_MAGIC = b"CBM1"
_VERSION = b"FlabuffersModel_v1"
_STATISTICS = b"static_provider_v1"
_DEEPEST = 16
_MOST_OUTPUTS = 10_000
_PER_BIN = 254
"""Borders of one column that share a byte when a model is applied."""
_BIN = np.dtype([("feature", "<u2"), ("mask", "u1"), ("split", "u1")])
_STEP = np.dtype([("left", "<u2"), ("right", "<u2")])
_BUCKET = np.dtype([("hash", "<u8"), ("index", "<u4")])
_EMPTY = (1 << 64) - 1
"""The hash of a bucket that holds nothing."""
_WIDTHS = {2: 8, 3: 8, 4: 4, 5: 4}
"""Kind of statistic → bytes of an item; of the others one number for each class."""


def check_catboost(data: Data) -> None:
    """Raise BadModelError for a file whose numbers would lead CatBoost's own code astray."""
    size = int.from_bytes(data[4:8], "little")
    if data[:4] != _MAGIC or size > len(data) - 8:
        raise BadModelError("the model is cut short")
    core = Table.root(data[8 : 8 + size])
    trees = core.table(1)
    if core.text(0) != _VERSION or trees is None:
        raise BadModelError(f"a model of version {core.text(0)[:40]!r}")
    for pair in core.tables(2):
        pair.text(0), pair.text(1)
    _check_forest(trees)
    parts = core.texts(3)
    rest = data[8 + size :]
    if parts == [_STATISTICS]:
        _check_statistics(rest, trees)
    elif parts:
        raise BadModelError(f"a model with a part of the kind {parts[0][:40]!r}")
    elif rest or trees.tables(7):
        raise hostile("bytes follow the end of the model, or statistics are missing")


def _check_forest(trees: Table) -> None:
    outputs = trees.number(0, 1)
    if not 1 <= outputs <= _MOST_OUTPUTS:
        raise hostile(f"{outputs} outputs")
    if any(trees.tables(field) for field in (12, 13, 18)):
        raise UncheckedModelError("columns of text or embeddings are not checked here")
    _check_columns(trees)
    splits, sizes, starts = (integers(trees.values(f, "<i4"), "the trees") for f in (1, 2, 3))
    within(sizes, 0, len(splits) + 1, "the size of a tree")
    if sizes.sum() != len(splits) or not np.array_equal(starts, np.cumsum(sizes) - sizes):
        raise hostile("the trees do not stand one behind the other")
    bins = _bins(trees)
    within(splits, 0, len(bins), "the split of a tree")
    packed = trees.values(17, _BIN)
    if len(packed) and not np.array_equal(packed, bins[splits]):
        raise hostile("the splits of the trees are packed otherwise than they are listed")
    values, weights = len(trees.values(8, "<f8")), len(trees.values(9, "<f8"))
    steps = trees.values(10, _STEP)
    if len(steps):
        leaves = trees.values(11, "<u4").astype(np.int64)
        _check_steps(steps, leaves, sizes, values - outputs + 1)
    elif len(trees.values(11, "<u4")):
        raise hostile("steps lead to leaves, and there are no steps")
    elif sizes.max(initial=0) > _DEEPEST or int((1 << sizes).sum()) * outputs != values:
        raise hostile(f"{values} values for {len(sizes)} trees of {outputs} outputs")
    if weights not in (0, values // outputs) or len(trees.values(16, "<f8")) not in (0, outputs):
        raise hostile("there are not as many weights as leaves, or biases as outputs")


def _check_columns(trees: Table) -> None:
    """Each kind of column has places of its own, and all together those of a table."""
    flat: list[int] = []
    for field, (place, position) in {4: (0, 1), 5: (1, 2)}.items():
        columns = trees.tables(field)
        own = [column.number(place, -1) for column in columns]
        if own != list(range(len(columns))):
            raise hostile("a column is not where it says")
        flat += [column.number(position, -1) for column in columns]
    if sorted(flat) != list(range(len(flat))):
        raise hostile("two columns say that they are one, or a column is left out")
    for column in trees.tables(6):
        within(integers([column.number(0, -1)], ""), 0, len(trees.tables(4)), "a category's column")


def _bins(trees: Table) -> np.ndarray:
    """Return every split that a tree may have, as it is packed for applying."""
    found: list[tuple[int, int, int]] = []
    feature = 0
    for field, borders in ((5, 3), (6, 1), (7, 1)):
        for column in trees.tables(field):
            count = len(column.values(borders, "<u4"))
            if field == 6:
                found += [(feature, ~(value + 1) & 0xFF, 0xFF) for value in range(count)]
            else:
                found += [(feature + b // _PER_BIN, 0, b % _PER_BIN + 1) for b in range(count)]
            feature += -(-count // _PER_BIN)
    if feature > 1 << 16:
        raise hostile(f"{feature} groups of splits")
    return np.array(found, _BIN)


def _check_steps(steps: np.ndarray, leaves: Indices, sizes: Indices, count: int) -> None:
    """Steps lead forward within their tree; where one ends there is a leaf."""
    if len(steps) != sizes.sum() or len(leaves) != len(steps):
        raise hostile("there are not as many steps as splits")
    ends = np.repeat(np.cumsum(sizes), sizes)
    for side in ("left", "right"):
        if np.any(np.arange(len(steps)) + steps[side] >= ends):
            raise hostile("a step leads out of its tree")
    stops = leaves[(steps["left"] == 0) | (steps["right"] == 0)]
    within(stops, 0, count, "the leaf of a step")


def _check_statistics(rest: bytes, trees: Table) -> None:
    """What is known of categories: as many tables as are said, every index within its table."""
    classes = 0
    at = 4
    for _ in range(int.from_bytes(rest[:4], "little")):
        size = int.from_bytes(rest[at : at + 4], "little")
        if not size or size > len(rest) - at - 4:
            raise BadModelError("the statistics of categories are cut short")
        classes = max(classes, _check_table(Table.root(rest[at + 4 : at + 4 + size])))
        at += 4 + size
    if at != len(rest):
        raise hostile("bytes follow the end of the model")
    columns = len(trees.tables(4))
    for feature in trees.tables(7):
        ctr = feature.table(0)
        base = ctr.table(0) if ctr else None
        if ctr is None or base is None:
            raise hostile("a feature of statistics does not say which")
        _combined(base, columns)
        within(integers([ctr.number(1, 0)], ""), 0, max(classes, 1), "the class of a statistic")


def _combined(base: Table, columns: int) -> int:
    """Check which columns a statistic is of; return its kind."""
    combination = base.table(0)
    kind = base.number(1, 0, 1)
    if combination is None or not 0 <= kind <= max(_WIDTHS):
        raise hostile("a statistic does not say of what")
    within(integers(combination.values(0, "<i4"), "columns"), 0, columns, "a category's column")
    combination.values(1, "<u8"), combination.values(2, "<u8")
    return kind


def _check_table(table: Table) -> int:
    """Check that every bucket points at an item; return the number of classes."""
    base = table.table(0)
    if base is None:
        raise hostile("a statistic does not say of what")
    classes = table.number(4, 0)
    kind = _combined(base, _MOST_OUTPUTS)
    width = _WIDTHS.get(kind) or 4 * classes
    raw, items = table.values(1, "u1"), table.values(2, "u1")
    if not 0 <= classes <= _MOST_OUTPUTS or len(raw) % _BUCKET.itemsize or not width:
        raise hostile("a table of statistics has an impossible size")
    buckets = np.frombuffer(raw.tobytes(), _BUCKET)
    used = buckets["hash"] != _EMPTY
    count = len(buckets)
    # A look-up goes on to the next bucket until it finds an empty one.
    if count & (count - 1) or (count and used.all()):
        raise hostile("a table of statistics has no empty place: looking up would not end")
    within(buckets["index"][used].astype(np.int64), 0, len(items) // width, "a place of statistics")
    return classes
