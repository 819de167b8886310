"""What a file is, by its bytes: whatever its name says."""

import gzip
import io
import json
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import get_args

import joblib
import numpy as np
import onnx
import pytest
import skops.io
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from sklearn.linear_model import LogisticRegression

from cannery.errors import SourceError
from cannery.sources.sniff import sniff
from cannery.sources.source import Format


@pytest.fixture(scope="module")
def model() -> LogisticRegression:
    """A small fitted estimator."""
    return LogisticRegression().fit(np.arange(20.0).reshape(10, 2), np.arange(10) % 2)


def _graph() -> bytes:
    row = helper.make_tensor_value_info("x", TensorProto.DOUBLE, [None, 1])
    out = helper.make_tensor_value_info("y", TensorProto.DOUBLE, [None, 1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [row], [out])
    return onnx.ModelProto(
        ir_version=10, graph=graph, opset_import=[helper.make_opsetid("", 21)]
    ).SerializeToString()


def _found(folder: Path, data: bytes) -> str:
    path = folder / "file.bin"
    path.write_bytes(data)
    return sniff(path)


def _refused(folder: Path, data: bytes) -> str:
    with pytest.raises(SourceError) as caught:
        _found(folder, data)
    return caught.value.message


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_of_every_protocol(
    tmp_path: Path, model: LogisticRegression, protocol: int
) -> None:
    """Protocols 0 and 1 have no mark of their own and are known all the same."""
    assert _found(tmp_path, pickle.dumps(model, protocol)) == "pickle"


@pytest.mark.parametrize("compress", [0, "zlib", "gzip", "bz2", "xz", "lzma", "lz4"])
def test_joblib_with_every_compressor(
    tmp_path: Path, model: LogisticRegression, compress: str
) -> None:
    """Joblib's containers are known by their first bytes, its plain files by the arrays in the stream."""
    file = io.BytesIO()
    joblib.dump(model, file, compress=(compress, 3) if compress else 0)
    assert _found(tmp_path, file.getvalue()) == "joblib"


def test_skops_onnx_and_can(tmp_path: Path, model: LogisticRegression) -> None:
    """The safer forms are told apart from all other archives and messages."""
    assert _found(tmp_path, skops.io.dumps(model)) == "skops"
    assert _found(tmp_path, _graph()) == "onnx"


def test_a_field_order_of_another_writer_is_onnx_too(tmp_path: Path) -> None:
    """Protobuf writers may put the graph first."""
    data = _graph()
    assert data[:2] == b"\x08\x0a"
    assert _found(tmp_path, data[2:] + data[:2]) == "onnx"


def _archive(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return file.getvalue()


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'{"learner": {}}', "xgboost"),
        (b'{"version": [3,2,0], "learner": {}}', "xgboost"),
        (b"{L" + bytes(7) + b"\x07learner{", "xgboost"),
        (b"{i\x07learner{", "xgboost"),
        (b"binf" + bytes(40), "xgboost"),
        (b"tree\nversion=v4\n", "lightgbm"),
        (b"CBM1....", "catboost"),
        (_archive("archive/data.pkl", "archive/version"), "torch"),
        (pickle.dumps(0x1950A86A20F9469CFC6C, 2), "torch"),
        (_archive("a.npy"), "archive"),
        (_tar(), "archive"),
        (gzip.compress(_tar()), "archive"),
        (b"\x93NUMPY\x01\x00", "numpy"),
    ],
    ids=lambda value: value if isinstance(value, str) else "data",
)
def test_what_other_libraries_write_is_told(tmp_path: Path, data: bytes, found: str) -> None:
    """Boosters' own files, torch's two forms, archives and arrays."""
    assert _found(tmp_path, data) == found


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "is empty"),
        (b"\x89HDF\r\n\x1a\n....", "HDF5"),
        (_archive("model.weights.h5", "config.json"), "Keras"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>login</html>", "a web page"),
        (b"PAR1........", "a Parquet file"),
        ("Grüße, ein Text.".encode(), "a text file"),
        (b"No model here.", "a text file"),
        (b"\x00\x01\x02\x03binary", "begins with 00 01 02 03"),
        (b"\x80\x09\x95........", "unknown protocol 9"),
    ],
)
def test_what_is_no_model_is_named(tmp_path: Path, data: bytes, part: str) -> None:
    """The message says what was found, so that the user knows which file it is."""
    assert part in _refused(tmp_path, data)


def test_files_cut_short_are_told(tmp_path: Path, model: LogisticRegression) -> None:
    """A half download is no other kind of file."""
    assert "cut short" in _refused(tmp_path, pickle.dumps(model, 5)[:200])
    assert "cut short" in _refused(tmp_path, skops.io.dumps(model)[:300])
    assert "cut short" in _refused(tmp_path, _graph()[:30])


def test_a_compressed_file_of_something_else_is_refused(tmp_path: Path) -> None:
    """A compressor's mark alone makes no joblib file."""
    assert "no pickle in it" in _refused(tmp_path, gzip.compress(json.dumps({"a": 1}).encode()))
    assert "damaged" in _refused(tmp_path, b"\x1f\x8b\x08\x00" + b"\xff" * 40)


@given(st.binary(max_size=300))
def test_random_bytes_never_break_it(tmp_path_factory, data: bytes) -> None:
    """Any bytes are a known format or a clear refusal."""
    path = tmp_path_factory.mktemp("s") / "x"
    path.write_bytes(data)
    try:
        found = sniff(path)
    except SourceError as error:
        found = error.message
    assert found in get_args(Format) or str(path) in found
