"""Properties of the thresholds into which a column's way is folded, and of what the trees become."""

from __future__ import annotations

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_comparison import as_frame, assert_same, compare, expected
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from cannery.conversions.onnx.folds import ascends, fold
from cannery.conversions.onnx.layouts import _apart
from cannery.conversions.onnx.maps import Above, Arithmetic, Bins, Clip, Fill, Missing, chain

numbers = st.floats(-1e6, 1e6)
scales = st.floats(1e-6, 1e6)
steps = st.one_of(
    st.builds(Arithmetic, st.sampled_from(["Add", "Sub"]), numbers),
    st.builds(Arithmetic, st.sampled_from(["Mul", "Div"]), scales),
    st.builds(lambda a, b: Clip(min(a, b), max(a, b)), numbers, numbers),
    st.builds(Fill, numbers),
    st.builds(Above, numbers),
    st.builds(lambda e: Bins(tuple(sorted(e))), st.lists(numbers, min_size=1, max_size=4)),
    st.just(Missing()),
)


@settings(max_examples=300)
@given(
    maps=st.lists(steps, max_size=4).map(tuple),
    threshold=numbers,
    x=st.one_of(numbers, st.floats(allow_nan=True)),
    left=st.booleans(),
    single=st.booleans(),
)
def test_a_folded_split_decides_like_the_original(maps, threshold, x, left, single):
    """`x <= folded` holds exactly where `cast(f(x)) <= threshold` does, at the boundary too."""
    assert ascends(maps, refuses_missing=False)
    splits = fold(maps, np.array([threshold]), np.array([left]), single=single)
    boundary = splits.values[0]
    for value in (x, boundary, np.nextafter(boundary, np.inf), np.nextafter(boundary, -np.inf)):
        y = chain(maps, np.array([value]))[0]
        with np.errstate(over="ignore"):
            y = float(np.float32(y)) if single else y
        original = left if np.isnan(y) else y <= threshold
        folded = splits.missing_left[0] if np.isnan(value) else value <= boundary
        assert original == folded


def test_scaling_and_casting_leave_no_node_behind():
    """A scaled tree is the tree alone, asked of the numbers as they come."""
    x = np.random.default_rng(0).normal(3, 5, (200, 4))
    model = make_pipeline(StandardScaler(), DecisionTreeRegressor(max_depth=6)).fit(x, x[:, 0])
    graph = onnx.load_from_string(assert_same(model, x, tolerance=0.0).data).graph
    assert [node.op_type for node in graph.node] == ["TreeEnsemble", "Squeeze"]


def test_impure_leaves_of_one_weight_keep_their_targets():
    """Neighbouring questions about one category, with leaves of one weight, are not merged."""
    rng = np.random.default_rng(0)
    for seed in range(25):
        x = rng.integers(0, 5, (120, 2)).astype(float)
        y = rng.integers(0, 3, 120)
        forest = RandomForestClassifier(4, random_state=seed, min_samples_leaf=2)
        model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), forest).fit(x, y)
        converted = assert_same(model, x, tolerance=0.0)
        strange = x + 0.5
        compare(converted(as_frame(strange)), expected(model, strange), 0.0)


def test_a_root_is_not_taken_for_a_leaf():
    """The leaf and the node under a root never share a number."""
    arrays = {
        "nodes_trueleafs": np.array([1, 1, 1]),
        "nodes_falseleafs": np.array([0, 1, 1]),
        "nodes_truenodeids": np.array([1, 0, 0]),
        "nodes_falsenodeids": np.array([1, 2, 2]),
        "leaf_targetids": np.array([0, 0, 0]),
        "leaf_weights": np.array([1.0, 2.0, 3.0]),
    }
    apart = _apart(arrays, np.array([0]))
    assert apart["nodes_truenodeids"][0] != apart["nodes_falsenodeids"][0]
    assert apart["leaf_weights"][apart["nodes_truenodeids"][0]] == 2.0


def test_small_trees_of_every_shape_are_exact():
    """Two-split trees, in which a root has a leaf on one side, keep their answers."""
    rng = np.random.default_rng(0)
    for seed in range(40):
        x = rng.normal(size=(30, 3))
        y = rng.normal(size=30)
        model = DecisionTreeRegressor(max_leaf_nodes=2 + seed % 4, random_state=seed).fit(x, y)
        assert_same(model, x, tolerance=0.0)
