"""Small trees: many rows are looked up, few are walked, and both answer as the original does."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from onnx_comparison import Converted, as_frame, compare, expected, hugging, load, tree_thresholds
from originals import NUMBERS, TEXTS, churn_pipeline
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    AdaBoostClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cannery.conversions.onnx.lookups import MANY
from cannery.conversions.parity import FEW
from cannery.serving.scorer import onnx_scorer
from cannery.signatures import Batch, Feature, Output, Signature

X, Y = make_classification(600, 5, n_informative=4, n_redundant=0, n_classes=3, random_state=0)
HOLES = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)

MODELS: dict[str, tuple[Any, Any, Any]] = {
    "two classes": (GradientBoostingClassifier(n_estimators=60, random_state=0), X, Y > 0),
    "three classes": (GradientBoostingClassifier(n_estimators=60, random_state=0), X, Y),
    "five classes": (GradientBoostingClassifier(n_estimators=40, max_depth=2, random_state=0), X, (X[:, 0] * 9).astype(int) % 5),
    "a number": (GradientBoostingRegressor(n_estimators=60, random_state=0), X, X[:, 0] * X[:, 1]),
    "a forest": (RandomForestRegressor(60, max_depth=3, random_state=0), X, X[:, 0] * X[:, 1]),
    "missing values": (HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=9, random_state=0), HOLES, Y > 0),
    "missing values, leaf by leaf": (LGBMClassifier(n_estimators=60, num_leaves=7, random_state=0, verbose=-1), HOLES, Y),
    "behind a scaler": (
        make_pipeline(SimpleImputer(), StandardScaler(), GradientBoostingClassifier(n_estimators=60, random_state=0)), HOLES, Y > 0,
    ),
}  # fmt: skip


def walked(data: bytes) -> list[onnx.NodeProto]:
    """Return the ensembles that few rows walk, where many rows have another form."""
    nodes = onnx.load_from_string(data).graph.node
    chosen = next(node for node in nodes if node.op_type == "If")
    few = next(a.g for a in chosen.attribute if a.name == "else_branch")
    return [node for node in few.node if node.op_type == "TreeEnsemble"]


def asked_of(ensemble: onnx.NodeProto, width: int) -> list[tuple[int, float]]:
    """Return (column, number) of every split; from `width` on columns are negated ones."""
    found = {a.name: onnx.helper.get_attribute_value(a) for a in ensemble.attribute}
    numbers = onnx.numpy_helper.to_array(found["nodes_splits"])
    columns = np.array(found["nodes_featureids"])
    numbers = np.where(columns < width, numbers, -np.nextafter(numbers, np.inf))
    return sorted(set(zip((columns % width).tolist(), numbers.tolist(), strict=True)))


def sums(converted: Converted) -> Converted:
    """Return the graph that answers the sums of the trees."""
    model = onnx.load_from_string(converted.data)
    chosen = next(node for node in model.graph.node if node.op_type == "If")
    del model.graph.output[:]
    double = onnx.TensorProto.DOUBLE
    model.graph.output.append(onnx.helper.make_tensor_value_info(chosen.output[0], double, None))
    data = model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return Converted(session, converted.feeds, data)


def assert_same_both_ways(
    model: Any, converted: Converted, frame: pd.DataFrame, tolerance: float = 1e-15
) -> None:
    """All rows at once are summed as few at a time, to the last bit, and answered as the original does."""
    assert len(frame) > 2 * MANY
    bare = sums(converted)
    (whole,) = bare(frame).values()
    parts = [next(iter(bare(frame[at : at + 7]).values())) for at in range(0, len(frame), 7)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    compare(converted(frame), expected(model, frame), tolerance)


@pytest.mark.filterwarnings("ignore:X has feature names:UserWarning")
@pytest.mark.parametrize("classes", [2, 3])
def test_the_shares_of_a_forest_are_added_up_alike_for_few_rows_and_many(classes: int) -> None:
    """Class by class or tree by tree: the order of the trees decides ties either way."""
    model = RandomForestClassifier(40, max_depth=5, random_state=0).fit(as_frame(X), Y % classes)
    rows = np.concatenate([X, hugging(X, tree_thresholds(model))])
    assert_same_both_ways(model, load(model, as_frame(X)), as_frame(rows), tolerance=0.0)


@pytest.mark.filterwarnings("ignore:X has feature names:UserWarning")
@pytest.mark.parametrize("name", MODELS)
def test_rows_beside_thresholds_are_looked_up_as_they_are_walked(name: str) -> None:
    """On thresholds and one ulp beside them, with missing values: the same to the last bit."""
    model, x, y = MODELS[name]
    frame = as_frame(x)
    model.fit(frame, y)
    converted = load(model, frame)
    splits = [
        split for ensemble in walked(converted.data) for split in asked_of(ensemble, x.shape[1])
    ]
    rows = np.concatenate([x, hugging(x, splits)])
    assert_same_both_ways(model, converted, as_frame(rows))


def test_categories_are_looked_up_with_those_that_nobody_knows(churn: pd.DataFrame) -> None:
    """Columns of few values share a table, and a text that was never seen falls into a cell too."""
    model = churn_pipeline(churn, GradientBoostingClassifier(n_estimators=60, random_state=0))
    frame = churn[NUMBERS + TEXTS].copy()
    converted = load(model, frame)
    assert walked(converted.data)
    frame.loc[::3, "contract"] = "never seen"
    frame.loc[::5, "payment_method"] = ""
    assert_same_both_ways(model, converted, frame)


def test_the_scorer_answers_one_row_as_it_answers_thousands() -> None:
    """It opens the graph a second time for single rows, and takes long batches in rounds."""
    model = GradientBoostingClassifier(n_estimators=60, random_state=0).fit(X, Y > 0)
    converted = load(model, as_frame(X))
    features = tuple(Feature(name=name, type="double") for name in as_frame(X))
    output = Output(name="p", tensor="probabilities", type="double", column=1)
    signature = Signature(features=features, outputs=(output,))
    scorer = onnx_scorer(converted.data, signature, converted.feeds)

    def score(rows: np.ndarray) -> np.ndarray:
        texts = np.empty((len(rows), 0), dtype=object)
        return scorer.score(Batch(numbers=rows, strings=texts))["probabilities"]

    rows = np.tile(X, (5, 1))
    whole = score(rows)
    np.testing.assert_allclose(whole, model.predict_proba(rows), rtol=0, atol=1e-15)
    singles = np.concatenate([score(row[None]) for row in X])
    np.testing.assert_allclose(singles, whole[: len(X)], rtol=0, atol=1e-15)


def test_trees_that_are_quicker_walked_have_one_form() -> None:
    """Large trees, few trees, and trees of one split."""
    for model, x, y in (
        (RandomForestRegressor(20, max_depth=5, random_state=0), X, Y),
        (GradientBoostingClassifier(n_estimators=2, random_state=0), X, Y > 0),
        (AdaBoostClassifier(n_estimators=60, random_state=0), X, Y > 0),
    ):
        converted = load(model.fit(x, y), as_frame(x))
        assert b"then_branch" not in converted.data


def test_parity_asks_for_few_rows_where_the_graph_walks() -> None:
    """The parts in which probe rows are asked again stay below the number from which trees are looked up."""
    assert 1 < FEW < MANY
