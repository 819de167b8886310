"""Decision trees and forests, on the sample and on rows at their thresholds."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import onnx
import pytest
from onnx_comparison import as_frame, assert_same, compare, expected, hugging, load, tree_thresholds
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

X, Y = make_classification(400, 6, n_informative=5, n_redundant=0, n_classes=3, random_state=0)
XR, YR = make_regression(400, 6, noise=3.0, random_state=0)

CLASSIFIERS = [
    DecisionTreeClassifier(random_state=0),
    DecisionTreeClassifier(max_depth=4, random_state=0),
    ExtraTreeClassifier(min_samples_leaf=7, random_state=0),
    RandomForestClassifier(20, random_state=0),
    RandomForestClassifier(20, min_samples_leaf=5, class_weight="balanced", random_state=0),
    ExtraTreesClassifier(20, max_depth=5, random_state=0),
]
REGRESSORS = [
    DecisionTreeRegressor(random_state=0),
    DecisionTreeRegressor(criterion="absolute_error", max_depth=5, random_state=0),
    ExtraTreeRegressor(random_state=0),
    RandomForestRegressor(20, random_state=0),
    ExtraTreesRegressor(20, min_samples_leaf=3, random_state=0),
]


@pytest.mark.parametrize("model", CLASSIFIERS, ids=str)
def test_a_tree_classifier_is_exact_at_its_thresholds(model):
    """Labels and probabilities agree to the last bit, one ulp beside a threshold too."""
    model.fit(X, Y)
    converted = assert_same(model, X, tolerance=0.0)
    rows = hugging(X, tree_thresholds(model))
    compare(converted(as_frame(rows)), expected(model, rows), 0.0)


def test_two_classes_that_are_almost_even_are_told_apart_by_the_last_bit():
    """One class is summed and the other is the rest, but where rounding decides both are summed."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(200, 3)), random.integers(0, 2, size=200)
    model = RandomForestClassifier(12, max_depth=4, random_state=0).fit(x, y)
    assert_same(model, x, tolerance=1e-15)
    for own, other in zip(model.estimators_[:6], model.estimators_[6:], strict=True):
        mirrored = deepcopy(own.tree_)
        mirrored.value[:] = own.tree_.value[:, :, ::-1]
        other.tree_ = mirrored
    assert len(np.unique(model.predict_proba(x)[:, 0] - 0.5)) > 1  # by nothing but rounding
    assert_same(model, x, tolerance=0.0)
    assert_same(VotingClassifier([("a", model), ("b", model)]).fit(x, y), x, tolerance=1e-15)


@pytest.mark.parametrize("model", REGRESSORS, ids=str)
def test_a_tree_regressor_is_exact_at_its_thresholds(model):
    """Predictions agree to the last bit, one ulp beside a threshold too."""
    model.fit(XR, YR)
    converted = assert_same(model, XR, tolerance=0.0)
    rows = hugging(XR, tree_thresholds(model))
    compare(converted(as_frame(rows)), expected(model, rows), 0.0)


@pytest.mark.parametrize("kind", [DecisionTreeClassifier, RandomForestClassifier], ids=str)
def test_a_missing_value_goes_the_way_that_was_learnt(kind):
    """NaN follows `missing_go_to_left`, in trees that saw missing values while they were fitted."""
    x = X.copy()
    x[np.random.default_rng(0).random(x.shape) < 0.2] = np.nan
    model = kind(random_state=0, max_depth=6).fit(x, Y)
    assert_same(model, x, tolerance=0.0)


@pytest.mark.parametrize(("count", "targets"), [(5, 2), (20, 20)])
def test_several_targets_are_answered_side_by_side(count, targets):
    """A regressor of two targets answers [N, 2]; many trees are walked once for both, and looked up."""
    y = np.column_stack([YR, -YR + XR[:, 0]])
    model = RandomForestRegressor(count, random_state=0).fit(XR, y)
    converted = assert_same(model, XR, tolerance=0.0)
    rows = hugging(XR, tree_thresholds(model))
    compare(converted(as_frame(rows)), expected(model, rows), 0.0)
    nodes = onnx.load_from_string(converted.data).graph.node
    assert {a.i for n in nodes for a in n.attribute if a.name == "n_targets"} == {targets}


def test_a_tree_without_a_split_answers_its_constant():
    """A tree that is one leaf answers the same for every row."""
    model = DecisionTreeRegressor().fit(XR, np.full(len(XR), 2.5))
    assert_same(model, XR, tolerance=0.0)


@pytest.mark.parametrize(
    "labels",
    [np.array(["no", "yes"]), np.array([False, True]), np.array([-1, 7]), np.array([1.0, 2.0])],
    ids=str,
)
def test_labels_keep_their_type(labels):
    """Classes that are strings, booleans, integers or doubles are answered as such."""
    model = DecisionTreeClassifier(max_depth=3).fit(X, labels[(Y > 0).astype(int)])
    converted = assert_same(model, X, tolerance=0.0)
    answered = converted(as_frame(X))["label"].dtype
    assert answered.kind == ("O" if labels.dtype.kind == "U" else labels.dtype.kind)


def test_labels_in_an_object_array_are_strings():
    """Strings of a pandas column come back as strings."""
    model = DecisionTreeClassifier(max_depth=3).fit(X, np.array(["a", "b", "c"], object)[Y])
    assert load(model, as_frame(X))(as_frame(X))["label"].tolist() == model.predict(X).tolist()


@pytest.mark.parametrize("scaled", [False, True], ids=["in float32", "folded"])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_forest_of_mixed_leaves_is_walked_once(classes, scaled):
    """To the last bit, in the order of the trees: beside thresholds, and where classes are tied."""
    x, y = make_classification(
        600, 8, n_informative=6, n_redundant=0, n_classes=classes, random_state=0
    )
    forest = RandomForestClassifier(20, max_depth=5, random_state=0)
    model = make_pipeline(StandardScaler(), forest) if scaled else forest
    model.fit(x, y)
    rows = x if scaled else np.vstack([x, hugging(x, tree_thresholds(forest))])
    converted = assert_same(model, rows, tolerance=0.0)
    nodes = onnx.load_from_string(converted.data).graph.node
    (targets,) = [a.i for n in nodes for a in n.attribute if a.name == "n_targets"]
    assert targets == 20
