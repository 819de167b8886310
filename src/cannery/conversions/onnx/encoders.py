"""Encoders of categories, and imputers: what becomes of a string, and of a missing value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cannery.conversions.onnx.builder import CODES, Graph
from cannery.conversions.onnx.columns import Block, Column, join
from cannery.conversions.onnx.emitter import Emit, Emitter
from cannery.conversions.onnx.maps import Fill, Is, Map, Missing, Replace, Table
from cannery.errors import ConversionError
from cannery.signatures import NULL_STRING


def _is_null(value: Any) -> bool:
    return value is None or value != value or type(value).__name__ in ("NAType", "NaTType")


def _coded(column: Column) -> Column:
    """Return the number that an encoder compares: a string's code, or the number itself."""
    if column.kind != "string":
        return column
    return Column(wire=CODES, index=column.index, single=column.single)


def _keys(graph: Graph, column: Column, category: Any) -> tuple[float, ...]:
    """Return the numbers that stand for a category in `_coded(column)`; none where it can't occur."""
    if _is_null(category) and column.null is not None:
        return ()
    if column.kind != "string":
        return (float("nan"),) if category == column.null else _number_keys(category)
    if _is_null(category):
        return (graph.code(NULL_STRING),)
    if not isinstance(category, str):
        return ()
    if category == NULL_STRING:
        raise ConversionError(f"its category {category!r} can't be told from a missing text")
    filled = (graph.code(NULL_STRING),) if column.null == category else ()
    return (graph.code(str(category)), *filled)


def _number_keys(category: Any) -> tuple[float, ...]:
    if _is_null(category):
        return (float("nan"),)
    if not isinstance(category, (bool, int, float, np.number, np.bool_)):
        return ()
    if float(category) != category:
        raise ConversionError(f"the category {category} is too large for a double")
    return (float(category),)


def _dictionary(graph: Graph, column: Column, categories: Any) -> dict[float, int]:
    """Return key → position of its category; raises ConversionError when None and NaN both are one."""
    found: dict[float, int] = {}
    nulls = 0
    for position, category in enumerate(categories):
        nulls += _is_null(category)
        for key in _keys(graph, column, category):
            found[key] = position
    if nulls > 1:
        raise ConversionError(
            "None and NaN are two categories of one column, and a record can't tell them apart",
            hint="make missing values one kind before fitting",
        )
    return found


def numbered(graph: Graph, column: Column, categories: Any) -> Column:
    """Return the position of each value among the categories, NaN where it is none of them."""
    places = _dictionary(graph, column, categories)
    values = tuple(float(position) for position in places.values())
    return _coded(column).then(Table(tuple(places), values, float("nan")))


def one_hot(emitter: Emitter, estimator: Any, block: Block) -> Block:
    """Emit one 0/1 column for each category."""
    columns: list[Column] = []
    single = np.dtype(estimator.dtype) == np.float32
    for i, column in enumerate(block.columns):
        columns += _indicators(emitter.graph, estimator, i, column)
    dense = not getattr(estimator, "sparse_output", getattr(estimator, "sparse", True))
    return Block(tuple(replace(c, single=single) for c in columns), sparse=not dense)


def _indicators(graph: Graph, estimator: Any, i: int, column: Column) -> list[Column]:
    """Return one 0/1 column for each group of categories that is not dropped."""
    groups, other = _groups(estimator, i)
    dropped = _dropped(estimator, i)
    keys = _dictionary(graph, column, estimator.categories_[i])
    coded = _coded(column)
    result = []
    for group in range(max(groups, default=-1) + 1):
        if group == dropped:
            continue
        inside = tuple(k for k, position in keys.items() if groups[position] == group)
        if group == other:
            outside = tuple(k for k in keys if k not in inside)
            result.append(coded.then(Table(outside, (0.0,) * len(outside), 1.0)))
        else:
            result.append(coded.then(_among(inside)))
    return result


def _among(keys: tuple[float, ...]) -> Map:
    """Return the map that answers 1 for these keys."""
    return Missing() if len(keys) == 1 and keys[0] != keys[0] else Is(keys)


def _groups(estimator: Any, i: int) -> tuple[list[int], int | None]:
    """Return the group of each category of feature i, and the group that unknown values join."""
    count = len(estimator.categories_[i])
    mapping = None
    if getattr(estimator, "_infrequent_enabled", False):
        mapping = estimator._default_to_infrequent_mappings[i]
    if mapping is None:
        return list(range(count)), None
    joins = estimator.handle_unknown in ("infrequent_if_exist", "warn")
    return [int(g) for g in mapping], int(max(mapping)) if joins else None


def _dropped(estimator: Any, i: int) -> int | None:
    drop = getattr(estimator, "_drop_idx_after_grouping", estimator.drop_idx_)
    return None if drop is None or drop[i] is None else int(drop[i])


def _ordinal(emitter: Emitter, estimator: Any, block: Block) -> Block:
    kind = np.dtype(estimator.dtype)
    if kind.kind not in "fiu" or kind == np.float16:
        raise emitter.refuse(estimator, f"its dtype is {kind}", "leave 'dtype' out")
    unknown = estimator.unknown_value if estimator.handle_unknown == "use_encoded_value" else np.nan
    columns = []
    for i, column in enumerate(block.columns):
        groups, _ = _groups(estimator, i)
        missing = getattr(estimator, "_missing_indices", {}).get(i)
        keys = _dictionary(emitter.graph, column, estimator.categories_[i])
        # scikit-learn compares the numbers after grouping, so a group can take the missing one's place
        numbers = [p if p == missing else g for p, g in enumerate(groups)]
        values = [float(estimator.encoded_missing_value if n == missing else n) for n in numbers]
        table = Table(tuple(keys), tuple(values[p] for p in keys.values()), float(unknown))
        columns.append(replace(_coded(column).then(table), single=kind == np.float32))
    return Block(tuple(columns))


def _target(emitter: Emitter, estimator: Any, block: Block) -> Block:
    means = np.atleast_1d(estimator.target_mean_)
    per_feature = len(estimator.encodings_) // len(block)
    columns = []
    for e, encoding in enumerate(estimator.encodings_):
        i = e // per_feature
        column = block.columns[i]
        keys = _dictionary(emitter.graph, column, estimator.categories_[i])
        values = tuple(float(encoding[p]) for p in keys.values())
        table = Table(tuple(keys), values, float(means[e % per_feature]))
        columns.append(_coded(column).then(table))
    return Block(tuple(columns))


def filled(emitter: Emitter, estimator: Any, block: Block) -> Block:
    """Emit SimpleImputer."""
    keep = getattr(estimator, "keep_empty_features", False)
    columns = [
        _imputed(emitter, estimator, column, value)
        for column, value in zip(block.columns, estimator.statistics_, strict=True)
        if keep or not _is_null(value)  # a column without any value in training is left out
    ]
    if estimator.add_indicator:
        flags = shown(emitter, estimator.indicator_, block)
        return join([Block(tuple(columns)), flags], sparse=block.sparse)
    return Block(tuple(columns), block.sparse)


def _imputed(emitter: Emitter, estimator: Any, column: Column, value: Any) -> Column:
    sentinel = estimator.missing_values
    if column.kind == "string":
        if not _is_null(sentinel):
            raise emitter.refuse(estimator, f"'missing_values' is {sentinel!r} for a string column")
        if (sentinel is None) != column.none:
            return replace(column, name=None)  # None is not NaN to it, nor NaN None
        if not isinstance(value, str):
            raise emitter.refuse(estimator, f"a string column is filled with {value!r}")
        return replace(column, null=column.null or str(value), name=None)
    if _is_null(sentinel) and (isinstance(value, str) or column.null is not None):
        return replace(column, null=column.null or value, name=None)  # among texts
    if not isinstance(value, (bool, int, float, np.number, np.bool_)):
        raise emitter.refuse(estimator, f"a column of numbers is filled with {value!r}")
    if _is_null(sentinel):
        return column.then(Fill(float(value)))
    return column.then(Replace(float(sentinel), float(value)))


def shown(emitter: Emitter, indicator: Any, block: Block) -> Block:
    """Return the 0/1 columns that tell which values are missing."""
    return Block(
        tuple(shows_missing(emitter, indicator, block.columns[i]) for i in indicator.features_)
    )


def shows_missing(emitter: Emitter, indicator: Any, column: Column) -> Column:
    """Return 1 where the column is missing in the sense of `indicator`, else 0."""
    sentinel = indicator.missing_values
    if not _is_null(sentinel):
        keys = _keys(emitter.graph, column, sentinel)
        return _coded(column).then(Is(keys))
    return _coded(column).then(_among(_keys(emitter.graph, column, None)))


def _missing_indicator(emitter: Emitter, estimator: Any, block: Block) -> Block:
    sparse = block.sparse if estimator.sparse == "auto" else bool(estimator.sparse)
    return join([shown(emitter, estimator, block)], sparse=sparse)


TABLE: dict[str, Emit] = {
    "sklearn.preprocessing.OneHotEncoder": one_hot,
    "sklearn.preprocessing.OrdinalEncoder": _ordinal,
    "sklearn.preprocessing.TargetEncoder": _target,
    "sklearn.impute.SimpleImputer": filled,
    "sklearn.impute.MissingIndicator": _missing_indicator,
}
