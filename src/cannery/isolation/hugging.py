"""Rows on both sides of a tree's split thresholds, down to the last bit. Runs in the worker.

A converted model may differ from its original only where a value falls on the other side of a
split. So for each threshold a pair of adjacent raw doubles is found between which the original
changes sides, by bisection through its own preprocessing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cannery.errors import ConversionError
from cannery.isolation.describing import transformers_of
from cannery.serving.boosters import Library, library_of
from cannery.signatures import Batch, Feature

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
ToTable = Callable[[Batch], Any]
Transforms = tuple[Any, ...]

_PROBES = 48
"""Rows on which it is tried which raw feature drives which transformed column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """The splits of the trees that see the same transformed columns."""

    transforms: Transforms
    tree: Ints
    """Which tree each split is of."""
    column: Ints
    threshold: Floats
    single: bool
    """Whether the trees cast to float32 before they compare."""


def hug(
    model: Any, batch: Batch, features: tuple[Feature, ...], table: ToTable, *, cap: int, seed: int
) -> Batch:
    """Return at most `cap` rows that lie beside split thresholds of `model`; none where it has no trees.

    Each row is a row of `batch` (a sample) with one number moved: the two adjacent values between
    which the split is crossed, and their outer neighbours.
    """
    random = np.random.default_rng(seed)
    groups = _grouped(list(_splits(model, ())))
    numbers = [f for f in features if f.type != "string"]
    found: list[Batch] = []
    for splits in groups:
        share = max(1, cap // 4 // len(groups))
        found.append(_hug_group(splits, batch, numbers, table, share, random))
    if not found:
        return batch.take(slice(0, 0))
    return Batch(
        numbers=np.concatenate([b.numbers for b in found])[:cap],
        strings=np.concatenate([b.strings for b in found])[:cap],
    )


def _splits(model: Any, transforms: Transforms) -> Iterator[Splits]:
    """Walk to every tree, keeping what a row passes through on its way there."""
    if model is None or isinstance(model, str):
        return
    if getattr(model, "steps", None):
        yield from _splits(model.steps[-1][1], transforms + transformers_of(model))
    elif hasattr(model, "tree_"):
        yield _of_tree(model.tree_, transforms)
    elif hasattr(model, "_predictors"):
        yield from _of_histograms(model, transforms)
    elif library := library_of(model):
        yield from _of_booster(model, library, transforms)
    elif hasattr(model, "best_estimator_"):
        yield from _splits(model.best_estimator_, transforms)
    elif hasattr(model, "calibrated_classifiers_"):
        for one in model.calibrated_classifiers_:
            yield from _splits(one.estimator, transforms)
    elif hasattr(model, "estimators_"):
        # Before `estimator_`, which in an ensemble is the template that was never fitted.
        subsets = getattr(model, "estimators_features_", None)
        for index, member in enumerate(_members(model.estimators_)):
            chosen = () if subsets is None else (_Subset(subsets[index]),)
            yield from _splits(member, transforms + chosen)
    else:
        for name in ("estimator_", "regressor_"):
            yield from _splits(getattr(model, name, None), transforms)


def _members(estimators: Any) -> Iterator[Any]:
    """Yield the members of an ensemble, row by row: a pipeline is one, although it can be indexed."""
    for one in estimators:
        if isinstance(one, list | np.ndarray):
            yield from _members(one)
        else:
            yield one


@dataclass(frozen=True)
class _Subset:
    """Some of the columns, as an ensemble hands them to one of its members."""

    columns: Any

    def transform(self, table: Any) -> Any:
        """Return these columns."""
        return _matrix(table)[:, self.columns]

    def __hash__(self) -> int:
        return hash(tuple(self.columns))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Subset) and tuple(other.columns) == tuple(self.columns)


def _of_tree(tree: Any, transforms: Transforms) -> Splits:
    inner = tree.children_left != -1
    column = tree.feature[inner].astype(np.int64)
    threshold = tree.threshold[inner].astype(np.float64)
    return Splits(
        transforms=transforms,
        tree=np.zeros_like(column),
        column=column,
        threshold=threshold,
        single=True,
    )


def _of_histograms(model: Any, transforms: Transforms) -> Iterator[Splits]:
    before = getattr(model, "_preprocessor", None)
    for predictor in (p for stage in model._predictors for p in stage):
        nodes = predictor.nodes
        inner = (nodes["is_leaf"] == 0) & (nodes["is_categorical"] == 0)
        column = nodes["feature_idx"][inner].astype(np.int64)
        threshold = nodes["num_threshold"][inner].astype(np.float64)
        yield Splits(
            transforms=transforms if before is None else (*transforms, before),
            tree=np.zeros_like(column),
            column=column[np.isfinite(threshold)],
            threshold=threshold[np.isfinite(threshold)],
            single=False,
        )


def _of_booster(model: Any, library: Library, transforms: Transforms) -> Iterator[Splits]:
    """Yield the splits of a booster; none where the model is not one that converts."""
    from cannery.conversions.onnx import catboost, lightgbm, xgboost  # for what the worker opens

    reader: Any = {"catboost": catboost, "lightgbm": lightgbm, "xgboost": xgboost}[library]
    try:
        for column, threshold in reader.numeric_splits(model):
            yield Splits(
                transforms=transforms,
                tree=np.zeros_like(column),
                column=column,
                threshold=threshold,
                single=library != "lightgbm",  # which compares doubles
            )
    except ConversionError:
        return


def _grouped(splits: list[Splits]) -> list[Splits]:
    """Join the splits of all trees that see the same columns."""
    groups: dict[tuple[Any, ...], list[Splits]] = {}
    for one in splits:
        key = (one.single, *(t if isinstance(t, _Subset) else id(t) for t in one.transforms))
        groups.setdefault(key, []).append(one)
    return [
        Splits(
            transforms=members[0].transforms,
            tree=np.concatenate([np.full(len(m.column), i) for i, m in enumerate(members)]),
            column=np.concatenate([m.column for m in members]),
            threshold=np.concatenate([m.threshold for m in members]),
            single=members[0].single,
        )
        for members in groups.values()
    ]


def _matrix(table: Any) -> Any:
    """Return a table as something that takes [rows, columns]: an array, or a sparse matrix in CSR."""
    if hasattr(table, "tocsr"):
        return table.tocsr()
    return table.to_numpy() if hasattr(table, "to_numpy") else np.asarray(table)


def _transformed(splits: Splits, table: Any) -> Any:
    for transform in splits.transforms:
        table = transform.transform(table)
    return _matrix(table)


def _cells(matrix: Any, columns: Ints) -> Floats:
    """Return one cell of each row."""
    return np.asarray(matrix[np.arange(len(columns)), columns], dtype=np.float64).ravel()


def _drivers(
    splits: Splits,
    batch: Batch,
    numbers: list[Feature],
    table: ToTable,
    random: np.random.Generator,
) -> dict[int, int]:
    """Return transformed column → the number that moves it most, found by moving one at a time."""
    rows = batch.take(random.choice(len(batch), size=min(_PROBES, len(batch)), replace=False))
    given = _transformed(splits, table(rows))
    wanted = np.unique(splits.column)
    wanted = wanted[wanted < given.shape[1]]  # a chain's members see answers behind the columns
    before = _dense(given, wanted)
    strongest = np.zeros(len(wanted))
    drivers: dict[int, int] = {}
    for index, feature in enumerate(numbers):
        if feature.type == "boolean":
            continue
        moved = rows.numbers.copy()
        low, high = _span(batch.numbers[:, index])
        moved[:, index] = np.where(moved[:, index] > (low + high) / 2, low, high)
        after = _dense(
            _transformed(splits, table(Batch(numbers=moved, strings=rows.strings))), wanted
        )
        effect = np.nanmean(np.nan_to_num(np.abs(after - before)), axis=0)
        for place in np.flatnonzero(effect > strongest):
            drivers[int(wanted[place])] = index
        strongest = np.maximum(strongest, effect)
    return drivers


def _dense(matrix: Any, columns: Ints) -> Floats:
    part = matrix[:, columns]
    return np.asarray(part.toarray() if hasattr(part, "toarray") else part, dtype=np.float64)


def _span(values: Floats) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)


def _chosen(
    splits: Splits, drivers: dict[int, int], count: int, random: np.random.Generator
) -> NDArray[np.intp]:
    """Return at most `count` splits that a number drives: each threshold once, spread over the trees."""
    order = random.permutation(len(splits.column))
    order = order[np.isin(splits.column[order], list(drivers))]
    tree = splits.tree[order]
    turn = np.zeros(len(order), dtype=np.int64)
    by_tree = np.argsort(tree, kind="stable")
    sizes = np.unique(tree, return_counts=True)[1]
    turn[by_tree] = np.concatenate([np.arange(n) for n in sizes]) if len(sizes) else 0
    order = order[np.argsort(turn, kind="stable")]
    pairs = np.stack([splits.column[order].astype(np.float64), splits.threshold[order]], axis=1)
    first = np.unique(pairs, axis=0, return_index=True)[1] if len(pairs) else np.zeros(0, np.intp)
    return order[np.sort(first)[:count]]


def _hug_group(
    splits: Splits,
    batch: Batch,
    numbers: list[Feature],
    table: ToTable,
    count: int,
    random: np.random.Generator,
) -> Batch:
    empty = batch.take(slice(0, 0))
    if not len(batch) or not numbers or not len(splits.column):
        return empty
    drivers = _drivers(splits, batch, numbers, table, random)
    try:
        return _beside(splits, batch, numbers, table, drivers, count, random)
    except Exception:  # whatever a step raises of a number that it does not take
        free = {
            n for n in set(drivers.values()) if _takes_any(splits, batch, (n, numbers[n]), table)
        }
        drivers = {column: n for column, n in drivers.items() if n in free}
        return _beside(splits, batch, numbers, table, drivers, count, random)


def _takes_any(splits: Splits, batch: Batch, number: tuple[int, Feature], table: ToTable) -> bool:
    """Whether the steps take this number wherever it is moved: encoders may refuse unseen categories."""
    place, feature = number
    low, high = _span(batch.numbers[:, place])
    reach = 1e3 * max(high - low, 1.0)
    moved = np.repeat(batch.numbers[:1], 3, axis=0)
    least = -np.inf if feature.least is None else feature.least
    most = np.inf if feature.most is None else feature.most
    moved[:, place] = np.clip(np.round([low - reach, (low + high) / 2, high + reach]), least, most)
    try:
        _transformed(splits, table(Batch(numbers=moved, strings=batch.strings[[0, 0, 0]])))
    except Exception:  # as above
        return False
    return True


def _beside(
    splits: Splits,
    batch: Batch,
    numbers: list[Feature],
    table: ToTable,
    drivers: dict[int, int],
    count: int,
    random: np.random.Generator,
) -> Batch:
    """Return rows beside at most `count` of the splits that a number drives."""
    chosen = _chosen(splits, drivers, count, random)
    if not len(chosen):
        return batch.take(slice(0, 0))
    base = batch.take(random.integers(0, len(batch), size=len(chosen)))
    column, threshold = splits.column[chosen], splits.threshold[chosen]
    feature = np.array([drivers[int(c)] for c in column])
    whole = np.array([numbers[f].type == "long" for f in feature])

    def left(values: Floats) -> NDArray[np.bool_]:
        """Whether each row, with its number moved to the value, goes left."""
        cells = _cells(_transformed(splits, table(_moved(base, feature, values))), column)
        with np.errstate(over="ignore"):
            compared = cells.astype(np.float32).astype(np.float64) if splits.single else cells
        return np.asarray(compared <= threshold)

    low, high = _bracket(left, batch, numbers, feature, whole)
    crossed = left(low) != left(high)
    at = _Lattice(whole)
    down, up = _bisect(left, at, low, high, crossed)
    values = [at.values(down), at.values(up), at.values(down - 1), at.values(up + 1)]
    rows = [_moved(base, feature, v).take(np.flatnonzero(crossed)) for v in values]
    count = sum(map(len, rows))
    return Batch(
        numbers=np.stack([r.numbers for r in rows], axis=1).reshape(count, base.numbers.shape[1]),
        strings=np.stack([r.strings for r in rows], axis=1).reshape(count, base.strings.shape[1]),
    )


def _moved(base: Batch, feature: NDArray[np.intp], values: Floats) -> Batch:
    numbers = base.numbers.copy()
    numbers[np.arange(len(numbers)), feature] = values
    return Batch(numbers=numbers, strings=base.strings)


def _bracket(
    left: Callable[[Floats], NDArray[np.bool_]],
    batch: Batch,
    numbers: list[Feature],
    feature: NDArray[np.intp],
    whole: NDArray[np.bool_],
) -> tuple[Floats, Floats]:
    """Return for each row two values of its feature, as near the sample as will hold the crossing."""
    spans = [_span(batch.numbers[:, f]) for f in range(batch.numbers.shape[1])]
    low, high = (np.array([spans[f][side] for f in feature]) for side in (0, 1))
    least = np.array([-np.inf if f.least is None else f.least for f in numbers])[feature]
    most = np.array([np.inf if f.most is None else f.most for f in numbers])[feature]
    width = np.maximum(high - low, 1.0)
    start_low, start_high = low.copy(), high.copy()
    for reach in (0.0, 1.0, 1e3):
        missing = left(low) == left(high) if reach else np.ones(len(low), dtype=bool)
        low = np.where(missing, np.maximum(start_low - reach * width, least), low)
        high = np.where(missing, np.minimum(start_high + reach * width, most), high)
    return np.where(whole, np.floor(low), low), np.where(whole, np.ceil(high), high)


class _Lattice:
    """The values that a feature can take, numbered in order: doubles by their bits, or whole numbers."""

    def __init__(self, whole: NDArray[np.bool_]) -> None:
        self._whole = whole

    def places(self, values: Floats) -> Ints:
        """Return the number of each value."""
        bits = (values + 0.0).view(np.int64)
        ordered = np.where(bits >= 0, bits, np.int64(-(2**63)) - bits)
        return np.where(self._whole, values.astype(np.int64), ordered)

    def values(self, places: Ints) -> Floats:
        """Return the value of each number."""
        bits = np.where(places >= 0, places, np.int64(-(2**63)) - places)
        return np.where(self._whole, places.astype(np.float64), bits.view(np.float64))


def _bisect(
    left: Callable[[Floats], NDArray[np.bool_]],
    at: _Lattice,
    low: Floats,
    high: Floats,
    crossed: NDArray[np.bool_],
) -> tuple[Ints, Ints]:
    """Return the adjacent places between which each row changes sides, all rows at once."""
    down, up = at.places(low), at.places(high)
    side = left(low)
    while np.any(wide := crossed & (up > down + 1)):
        # Neither the sum nor the distance of two places need fit into 64 bits.
        middle = (down >> 1) + (up >> 1) + (down & up & 1)
        same = left(at.values(middle)) == side
        down = np.where(wide & same, middle, down)
        up = np.where(wide & ~same, middle, up)
    return down, up
