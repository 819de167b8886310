"""Large constants of a graph: where they stand in its file, and that they are mapped from there."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from heavy_graphs import heavy_graph
from hypothesis import example, given
from hypothesis import strategies as st
from onnx import TensorProto
from small_cans import make_can

from cannery.cans.open import Can
from cannery.cans.seal import seal
from cannery.errors import CanError
from cannery.processes import run
from cannery.serving.scorer import open_scorer
from cannery.serving.service import open_service
from cannery.serving.weights import ALIGNED, LEAST, apart, bytes_apart, laid_out

WIDE = 64 << 20
"""Bytes of the constant."""


def heavy_can(folder: Path, size: int = 2 * LEAST, *, aligned: bool = True) -> Can:
    """Seal the small can with a large constant."""
    can = make_can(folder / "small")
    data = heavy_graph(can.read("model.onnx"), size)
    files = {
        "model.onnx": laid_out(data) if aligned else data,
        "canary.json": can.read("canary.json"),
    }
    return seal(can.manifest, files, folder / "can")


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.bool_])
def test_a_graph_is_the_same_wherever_its_constants_stand(tmp_path: Path, dtype: type) -> None:
    """The large constant begins where vector instructions can read it, and all else is as it was."""
    data = heavy_graph(make_can(tmp_path / "can").read("model.onnx"), LEAST, dtype)
    moved = laid_out(data)
    weights = np.ones(LEAST // np.dtype(dtype).itemsize, dtype=dtype).tobytes()
    assert moved.index(weights) % ALIGNED == 0
    model = onnx.load_model_from_string(moved)
    for tensor in model.graph.initializer:
        tensor.ClearField("doc_string")
    assert model.SerializeToString() == data
    onnx.checker.check_model(moved)


def test_a_large_constant_is_named_and_left_in_its_file(tmp_path: Path) -> None:
    """What is opened is small, and names the file, the place and the length of the constant."""
    can = heavy_can(tmp_path)
    data = apart(can.model_path)
    assert data is not None
    assert len(data) < 5000
    graph = onnx.load_model_from_string(data).graph
    (tensor,) = [t for t in graph.initializer if t.external_data]
    told = {entry.key: entry.value for entry in tensor.external_data}
    assert (tensor.name, told["location"]) == ("weights_beside", "model.onnx")
    assert int(told["length"]) == bytes_apart(can.model_path)
    assert int(told["offset"]) % ALIGNED == 0
    begin, size = int(told["offset"]), int(told["length"])
    held = can.model_path.read_bytes()[begin : begin + size]
    assert held == np.ones(2 * LEAST // 8).tobytes()


@pytest.mark.parametrize("aligned", [True, False])
def test_the_canary_comes_out_right_wherever_constants_stand(tmp_path: Path, aligned: bool) -> None:
    """A graph whose constants can't be mapped is opened from its bytes."""
    can = heavy_can(tmp_path, aligned=aligned)
    assert (apart(can.model_path) is not None) is aligned
    assert open_service(can.folder).check().healthy


def test_a_graph_without_large_constants_is_opened_from_its_bytes(tmp_path: Path) -> None:
    """Nothing is gained by mapping little."""
    can = make_can(tmp_path / "can")
    assert apart(can.model_path) is None
    assert bytes_apart(can.model_path) == 0
    assert laid_out(can.read("model.onnx")) == can.read("model.onnx")


def test_a_mapped_constant_takes_no_memory_of_its_own(tmp_path: Path) -> None:
    """A process that serves 64 MB of weights holds less memory of its own than they have."""
    can = heavy_can(tmp_path, WIDE)
    program = (
        "import sys; from pathlib import Path;"
        "from cannery.serving.service import open_service;"
        "open_service(Path(sys.argv[1]));"
        "print(*(l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM')))"
    )
    peaks = [
        int(run([sys.executable, "-c", program, str(folder)], timeout=60).stdout) << 10
        for folder in (can.folder, tmp_path / "small")
    ]
    assert peaks[0] - peaks[1] < WIDE // 4


def test_a_damaged_weight_is_found_before_it_is_served(tmp_path: Path) -> None:
    """What is mapped is checked by digest as all else is."""
    can = heavy_can(tmp_path)
    data = bytearray(can.model_path.read_bytes())
    data[len(data) // 2] ^= 1
    can.model_path.write_bytes(data)
    with pytest.raises(CanError, match=r"'model\.onnx' is damaged"):
        open_service(can.folder)


def test_a_shape_beyond_the_bytes_is_refused(tmp_path: Path) -> None:
    """A hostile can whose constant says that it is longer than its bytes does not read beyond them."""
    can = heavy_can(tmp_path)
    model = onnx.load_model_from_string(can.read("model.onnx"))
    (tensor,) = [t for t in model.graph.initializer if t.name == "weights_beside"]
    tensor.dims[0] *= 1000
    tensor.doc_string = ""
    files = {
        "model.onnx": laid_out(model.SerializeToString()),
        "canary.json": can.read("canary.json"),
    }
    hostile = seal(can.manifest, files, tmp_path / "hostile")
    assert apart(hostile.model_path) is not None
    with pytest.raises(CanError, match="ONNX Runtime can't open the graph"):
        open_scorer(hostile)


@pytest.mark.parametrize("location", ["/etc/hostname", "../outside", "linked"])
def test_a_constant_of_a_can_that_stands_elsewhere_is_refused(
    tmp_path: Path, location: str
) -> None:
    """That some constants are mapped opens no way to files that are not the can's."""
    (tmp_path / "outside").write_bytes(bytes(LEAST))
    can = heavy_can(tmp_path)
    model = onnx.load_model_from_string(can.read("model.onnx"))
    (tensor,) = [t for t in model.graph.initializer if t.name == "nothing"]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    files = {
        "model.onnx": laid_out(model.SerializeToString()),
        "canary.json": can.read("canary.json"),
    }
    hostile = seal(can.manifest, files, tmp_path / "hostile")
    (hostile.folder / "linked").symlink_to(tmp_path / "outside")
    assert apart(hostile.model_path) is not None
    with pytest.raises(CanError, match="ONNX Runtime can't open the graph"):
        open_scorer(hostile)


def test_an_empty_file_is_no_graph(tmp_path: Path) -> None:
    """It can't be mapped, and the error names it."""
    (tmp_path / "model.onnx").touch()
    with pytest.raises(CanError, match=r"can't read '.*model\.onnx'"):
        apart(tmp_path / "model.onnx")


@given(st.binary(max_size=200))
@example(b"\x3a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x7f")
@example(b"\x3a\x05\x2a\xff\xff\xff\x7f")
def test_what_is_no_graph_stays_as_it_is(data: bytes) -> None:
    """Bytes that can't be read as fields are passed on for the library to refuse."""
    assert laid_out(data) == data
