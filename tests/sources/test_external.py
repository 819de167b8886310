"""Constants in files beside an ONNX graph are read into it, from files of the model's own alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cannery.audits.audit import audit
from cannery.errors import SourceError
from cannery.sources.fetch import fetch
from cannery.sources.source import Source

WEIGHTS = np.arange(600, dtype=np.float64).reshape(2, 300)
MLMODEL = (
    "flavors:\n  onnx:\n    data: model.onnx\n  python_function:\n    loader_module: mlflow.onnx\n"
)


def model() -> onnx.ModelProto:
    """Return a graph with a constant of 4,800 bytes, and one of them within a branch of a choice."""
    info = helper.make_tensor_value_info
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node("Identity", [f"w_{name}"], [name])],
            name,
            [],
            [info(name, TensorProto.DOUBLE, None)],
            [numpy_helper.from_array(WEIGHTS, f"w_{name}")],
        )
        for name in ("then", "else")
    }
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["z"]),
            helper.make_node("If", ["yes"], ["chosen"], **branches),
            helper.make_node("ReduceSum", ["chosen"], ["s"], keepdims=0),
            helper.make_node("Add", ["z", "s"], ["y"]),
        ],
        "g",
        [info("x", TensorProto.DOUBLE, [None, 2])],
        [info("y", TensorProto.DOUBLE, [None, 300])],
        [numpy_helper.from_array(WEIGHTS, "w"), numpy_helper.from_array(np.array(True), "yes")],
    )
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8)


def write(
    path: Path, location: str, change: Callable[[onnx.ModelProto], None] | None = None
) -> None:
    """Write the graph at `path`, its constants in the file `location` beside it, as exporters do."""
    onnx.save(
        model(),
        path,
        save_as_external_data=True,
        location=location,
        size_threshold=1024,
        convert_attribute=True,
    )
    if change is not None:
        bent = onnx.load(path, load_external_data=False)
        change(bent)
        path.write_bytes(bent.SerializeToString())


def fetched(path: Path) -> Source:
    """Return what is at a path."""
    return fetch(str(path), staging=path.parent / "staging")


def rules(path: Path) -> set[str]:
    """Return what the audit finds."""
    return {finding.rule for finding in audit(fetched(path)).findings}


@pytest.mark.parametrize("location", ["model.onnx.data", "model.onnx_data", "model.data"])
def test_what_an_exporter_wrote_beside_a_graph_is_read_into_it(
    tmp_path: Path, location: str
) -> None:
    """The source is one whole graph, the constants within its nodes too, and its digest names them."""
    write(tmp_path / "model.onnx", location)
    source = fetched(tmp_path / "model.onnx")
    whole = onnx.load_model_from_string(source.blob.read())
    assert whole.graph == model().graph
    assert (audit(source).verdict, audit(source).size) == ("safe", source.blob.size)
    before = source.blob.digest
    (tmp_path / location).write_bytes(bytes((tmp_path / location).stat().st_size))
    assert fetched(tmp_path / "model.onnx").blob.digest != before


def test_a_folder_of_mlflow_may_name_its_file_as_it_likes(tmp_path: Path) -> None:
    """No file is left over, of which the audit would not know what it is."""
    write(tmp_path / "model.onnx", "0e4f.data")
    (tmp_path / "MLmodel").write_text(MLMODEL)
    source = fetched(tmp_path)
    assert set(source.files) == {"MLmodel", "model.onnx"}
    assert onnx.load_model_from_string(source.blob.read()).graph == model().graph
    assert audit(source).findings == ()


@pytest.mark.parametrize("location", ["model_key", "model.onnx.bak", "other.data"])
def test_no_other_neighbour_is_read(tmp_path: Path, location: str) -> None:
    """It may be any file of the user's."""
    write(tmp_path / "model.onnx", location)
    assert "external-data" in rules(tmp_path / "model.onnx")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """It could lead anywhere."""
    write(tmp_path / "model.onnx", "model.onnx.data")
    (tmp_path / "model.onnx.data").rename(tmp_path / "secret")
    (tmp_path / "model.onnx.data").symlink_to(tmp_path / "secret")
    assert "external-data" in rules(tmp_path / "model.onnx")


@pytest.mark.parametrize("location", ["../model.onnx.data", "/etc/hostname", "model.onnx", "."])
def test_a_folder_s_graph_reads_nothing_outside_of_it(tmp_path: Path, location: str) -> None:
    """Nor itself: these stay external, and are refused."""
    (tmp_path / "m").mkdir()
    write(tmp_path / "m" / "model.onnx", "model.onnx.data", _at(location))
    shutil.copy(tmp_path / "m" / "model.onnx.data", tmp_path / "model.onnx.data")
    (tmp_path / "m" / "MLmodel").write_text(MLMODEL)
    refused = [f for f in audit(fetched(tmp_path / "m")).findings if f.rule == "external-data"]
    assert ["constant 'w'" in finding.message for finding in refused] == [True]


def _at(location: str) -> Callable[[onnx.ModelProto], None]:
    def change(bent: onnx.ModelProto) -> None:
        for entry in bent.graph.initializer[0].external_data:
            entry.value = location if entry.key == "location" else entry.value

    return change


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("offset", "99999"),
        ("offset", "-8"),
        ("offset", "1e3"),
        ("length", "99999999999999999999"),
        ("length", "14401"),
        ("basepath", "/"),
        ("location", "model.onnx.data"),
    ],
)
def test_what_lies_about_its_place_is_refused(tmp_path: Path, key: str, value: str) -> None:
    """Past the end, before the beginning, no number, a key that nobody knows, or one given twice."""

    def change(bent: onnx.ModelProto) -> None:
        places = bent.graph.initializer[0].external_data
        kept = [(e.key, e.value) for e in places if e.key != key or key == "location"]
        del places[:]
        for name, text in (*kept, (key, value)):
            places.add(key=name, value=text)

    write(tmp_path / "model.onnx", "model.onnx.data", change)
    assert "external-data" in rules(tmp_path / "model.onnx")


def test_a_small_file_can_t_become_a_large_graph(tmp_path: Path) -> None:
    """Constants that share bytes are not copied again and again."""

    def change(bent: onnx.ModelProto) -> None:
        for number in range(100):
            bent.graph.initializer.add().CopyFrom(bent.graph.initializer[0])
            bent.graph.initializer[-1].name = f"c{number}"

    write(tmp_path / "model.onnx", "model.onnx.data", change)
    path = tmp_path / "model.onnx"
    assert fetched(path).blob.size < 3 * (
        path.stat().st_size + (tmp_path / "model.onnx.data").stat().st_size
    )
    assert "external-data" in rules(path)


def test_more_than_one_file_can_hold_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so before anything of that size is made."""
    write(tmp_path / "model.onnx", "model.onnx.data")
    monkeypatch.setattr("cannery.sources.external._MOST", 8_000)
    with pytest.raises(SourceError, match=r"in 'model\.onnx\.data' are more than 2 GB together"):
        fetched(tmp_path / "model.onnx")
