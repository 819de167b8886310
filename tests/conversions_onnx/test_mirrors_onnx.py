"""Splits that send NaN to the left are asked of negated columns, and every row goes where it went."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from lightgbm import LGBMClassifier
from onnx_comparison import Converted, as_frame, compare, expected, hugging, load, tree_thresholds
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    ExtraTreesClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier

from cannery.conversions.onnx.folds import LEQ, MEMBER
from cannery.conversions.onnx.layouts import Questions, Tree, stack
from cannery.conversions.onnx.mirrors import mirror

X, Y = make_classification(600, 5, n_informative=4, n_redundant=0, n_classes=3, random_state=0)
HOLES = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)

FORESTS: dict[str, tuple[Any, Any, Any]] = {
    "pure leaves": (ExtraTreesClassifier(90, random_state=0), X, Y),
    "mixed leaves": (RandomForestClassifier(90, max_depth=7, random_state=0), X, Y),
    "mixed leaves, missing values": (RandomForestClassifier(90, max_depth=7, random_state=0), HOLES, Y),
    "a number": (RandomForestRegressor(90, random_state=0), X, X[:, 0] * X[:, 1]),
    "behind a scaler": (make_pipeline(StandardScaler(), RandomForestClassifier(90, max_depth=7, random_state=0)), HOLES, Y),
    "leaf by leaf": (LGBMClassifier(n_estimators=100, n_jobs=1, verbose=-1), HOLES, Y > 0),
    "sums in float32": (XGBClassifier(n_estimators=200, n_jobs=1), HOLES, Y > 0),
}  # fmt: skip


def ensembles(converted: Converted) -> list[dict[str, Any]]:
    """Return the attributes of the graph's ensembles, those within a choice left out."""
    nodes = onnx.load_from_string(converted.data).graph.node
    return [
        {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        for node in nodes
        if node.op_type == "TreeEnsemble"
    ]


@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names:UserWarning")
@pytest.mark.parametrize("name", FORESTS)
def test_a_forest_says_nothing_of_missing_values_and_sends_them_where_they_went(name: str) -> None:
    """At thresholds and one ulp beside them, with missing values where the original takes some."""
    model, x, y = FORESTS[name]
    frame = as_frame(x)
    model.fit(frame, y)
    converted = load(model, frame)
    for found in ensembles(converted):
        assert "nodes_missing_value_tracks_true" not in found
        assert x.shape[1] <= max(found["nodes_featureids"]) < 2 * x.shape[1]
    own = tree_thresholds(model)[:300] if hasattr(model, "estimators_") else []
    rows = as_frame(np.concatenate([x, hugging(x, own)]) if own else x)
    for part in (rows[:50], rows):
        compare(converted(part), expected(model, part), 1e-15 if own else 1e-6)


def test_a_small_forest_is_asked_as_it_is() -> None:
    """Two nodes more would cost a row more than it gains."""
    model = RandomForestRegressor(20, max_depth=5, random_state=0).fit(X, X[:, 0])
    (found,) = ensembles(load(model, as_frame(X)))
    assert max(found["nodes_featureids"]) < X.shape[1]


def goes_left(questions: Questions, node: int, x: Any) -> bool:
    """Tell where ONNX Runtime sends a number, given beside its negative."""
    asked = (x, -x)[questions.feature[node]]
    passes = bool(asked <= questions.split[node])
    tracked = np.isnan(x) and questions.missing_left[node] != questions.swapped[node]
    return (passes or bool(tracked)) != bool(questions.swapped[node])


@pytest.mark.parametrize("kind", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("missing_left", [False, True])
def test_a_number_goes_to_the_side_to_which_it_went(kind: Any, missing_left: bool) -> None:
    """At the ends of the range, about zero, and where no number passes."""
    limits = np.finfo(kind)
    numbers = [0.0, limits.smallest_subnormal, limits.tiny, 1.5, limits.max, np.inf]
    splits = np.array([*numbers, *(-n for n in numbers), np.nan], kind).astype(float)
    one = np.array([0, 0, 0])
    stump = Tree(
        feature=one,
        threshold=one * 0.5,
        left=np.array([1, -1, -1]),
        right=np.array([2, -1, -1]),
        missing_left=one > 0,
        values=one[:, None] * 1.0,
    )
    forest = stack([stump] * 500)
    count = len(forest.feature)
    before = Questions(
        wire="x",
        feature=np.zeros(count, np.int64),
        mode=np.full(count, LEQ, np.uint8),
        split=np.resize(splits, count),
        missing_left=np.full(count, missing_left),
        swapped=np.zeros(count, bool),
        members={},
    )
    ((_, after),), _ = mirror([(forest, before)], 1, kind)
    assert after.feature.any() == missing_left
    with np.errstate(over="ignore", under="ignore"):
        around = [np.nextafter(kind(s), kind(to)) for s in splits for to in (-np.inf, np.inf)]
    for node in range(len(splits)):
        for x in [*splits.astype(kind), *around, kind(np.nan)]:
            assert goes_left(after, node, x) == goes_left(before, node, x), (splits[node], x)
    sets = replace(before, mode=np.full(count, MEMBER, np.uint8))
    ((_, sets),), _ = mirror([(forest, sets)], 1, kind)
    assert not sets.feature.any()
