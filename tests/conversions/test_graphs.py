"""ONNX files given as such: their interface, and what is refused."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pyarrow as pa
import pytest
from onnx import TensorProto, helper
from originals import cleared_file

from cannery.conversions.choose import ConvertOptions, convert
from cannery.conversions.nouns import Conversion
from cannery.errors import ConversionError, SchemaError, UsageError
from cannery.signatures import Feature

SAMPLE = pa.table({"a": [1.0, 2.0, 3.0], "b": [10, 20, 30]})


def write_graph(
    path: Path, nodes: Sequence[onnx.NodeProto], inputs: Sequence[object], outputs: Sequence[object]
) -> Path:
    """Write a graph of these parts."""
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs))
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path


def one_tensor(path: Path, width: int | None = 2) -> Path:
    """Write a graph that doubles a float tensor of `width` columns."""
    return write_graph(
        path,
        [helper.make_node("Add", ["x", "x"], ["y"])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, width])],
    )


def converted(path: Path, sample: pa.Table | None = SAMPLE, **options: object) -> Conversion:
    """Convert a graph."""
    cleared = cleared_file(path, set(), kind="onnx")
    return convert(cleared, sample=sample, options=ConvertOptions(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [2, None])
def test_a_tensor_is_fed_by_the_columns_of_the_sample(tmp_path: Path, width: int | None) -> None:
    """The graph is kept byte by byte; its answer is one field for each column."""
    path = one_tensor(tmp_path / "m.onnx", width)
    found = converted(path)
    assert found.artifact.data == path.read_bytes()
    assert found.artifact.feeds[0].features == ("a", "b")
    assert [f.type for f in found.signature.features] == ["double", "long"]
    assert [o.name for o in found.signature.outputs] == ["y_0", "y_1"]
    assert found.canary.outputs[0] == {"y_0": 2.0, "y_1": 20.0}
    assert (found.parity, found.sandbox, found.task) == (None, "none", "graph")


def test_several_inputs_are_features_by_name(tmp_path: Path) -> None:
    """Each input of one column is a feature; a vector is fed as a vector."""
    path = write_graph(
        tmp_path / "m.onnx",
        [
            helper.make_node("Cast", ["b"], ["c"], to=TensorProto.DOUBLE),
            helper.make_node("Add", ["a", "c"], ["sum"]),
        ],
        [
            helper.make_tensor_value_info("b", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("a", TensorProto.DOUBLE, [None]),
        ],
        [helper.make_tensor_value_info("sum", TensorProto.DOUBLE, [None])],
    )
    found = converted(path)
    assert [(f.name, f.type) for f in found.signature.features] == [("b", "long"), ("a", "double")]
    assert {f.rank for f in found.artifact.feeds} == {1}
    assert [o["sum"] for o in found.canary.outputs] == [11.0, 22.0, 33.0]


def test_an_output_can_be_chosen(tmp_path: Path) -> None:
    """By its place among all columns of the answer."""
    found = converted(one_tensor(tmp_path / "m.onnx"), outputs={"twice_b": {"column": 1}})
    assert found.canary.outputs[0] == {"twice_b": 20.0}
    with pytest.raises(UsageError, match="asks for column 2 of the 2"):
        converted(one_tensor(tmp_path / "m.onnx"), outputs={"c": {"column": 2}})


def test_a_recorded_null_is_kept_where_the_graph_answers_it(tmp_path: Path) -> None:
    """A graph that answers NaN for NaN does not: so the feature is not nullable."""
    path = one_tensor(tmp_path / "m.onnx")
    features = tuple(Feature(name=n, type="double", nullable=True) for n in "ab")
    cleared = cleared_file(path, set(), kind="onnx", features=features)
    found = convert(cleared, sample=SAMPLE)
    assert [f.nullable for f in found.signature.features] == [False, False]


@pytest.mark.parametrize(
    ("kind", "keys", "names"),
    [
        ("classlabels_int64s", [3, 7], ["y_3", "y_7"]),
        ("classlabels_strings", ["No", "Yes"], ["y_No", "y_Yes"]),
    ],
)
def test_dictionaries_are_answered_as_the_tensor_of_which_they_were_made(
    tmp_path: Path, kind: str, keys: list[Any], names: list[str]
) -> None:
    """ZipMap, with which converters end a classifier, is left out; its keys name the columns."""
    element = TensorProto.INT64 if isinstance(keys[0], int) else TensorProto.STRING
    map_of_floats = helper.make_map_type_proto(
        element, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    )
    path = write_graph(
        tmp_path / "m.onnx",
        [helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", **{kind: keys})],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_value_info("y", helper.make_sequence_type_proto(map_of_floats))],
    )
    found = converted(path)
    assert [field.name for field in found.signature.outputs] == names
    (given,) = ort.InferenceSession(path).run(
        None, {"x": np.float32([list(found.canary.records[0].values())])}
    )
    assert list(found.canary.outputs[0].values()) == [given[0][key] for key in keys]


def test_other_sequences_are_refused(tmp_path: Path) -> None:
    """Of them no tensor can be made reliably."""
    path = write_graph(
        tmp_path / "m.onnx",
        [helper.make_node("SequenceConstruct", ["x"], ["y"])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [
            helper.make_value_info(
                "y",
                helper.make_sequence_type_proto(
                    helper.make_tensor_type_proto(TensorProto.FLOAT, None)
                ),
            )
        ],
    )
    with pytest.raises(ConversionError, match="not a tensor but a sequence_type"):
        converted(path)


def test_an_image_is_no_record(tmp_path: Path) -> None:
    """Inputs of more than two axes can't be filled."""
    path = write_graph(
        tmp_path / "m.onnx",
        [helper.make_node("Identity", ["x"], ["y"])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3, 8, 8])],
    )
    with pytest.raises(ConversionError, match="can't fill"):
        converted(path)


def test_a_graph_needs_a_sample(tmp_path: Path) -> None:
    """There is no canary without one."""
    with pytest.raises(ConversionError) as caught:
        converted(one_tensor(tmp_path / "m.onnx"), sample=None)
    assert "--sample" in str(caught.value.hint)


def test_a_sample_of_another_width_is_refused(tmp_path: Path) -> None:
    """Two columns can't be chosen out of three without names."""
    wide = SAMPLE.append_column("c", pa.array(np.zeros(3)))
    with pytest.raises(SchemaError, match="takes 2 columns"):
        converted(one_tensor(tmp_path / "m.onnx"), sample=wide)


def test_another_runtime_can_not_be_forced(tmp_path: Path) -> None:
    """A graph is a graph."""
    with pytest.raises(UsageError, match="runs as ONNX"):
        converted(one_tensor(tmp_path / "m.onnx"), runtime="skops")
