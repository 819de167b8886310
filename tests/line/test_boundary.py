"""The pickle itself as the runtime: only where a policy lists its digest, and only where that is declared."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from cannery.audits.policy import Policy
from cannery.blobs import digest_bytes
from cannery.errors import CanError, ConversionError
from cannery.line import pack
from cannery.packs import PackOptions
from cannery.serving.pickles import VARIABLE, open_pickle
from cannery.serving.service import open_service

ROWS = np.arange(20.0).reshape(10, 2)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a small model in a pickle."""
    path = tmp_path / "line.pkl"
    path.write_bytes(pickle.dumps(LinearRegression().fit(ROWS, ROWS[:, 0])))
    return path


def test_a_pickle_runs_within_its_boundary(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The can holds the very bytes that were listed, compared with the original like any other runtime."""
    digest = digest_bytes(model.read_bytes())
    policy = Policy(pickle="boundary", digests=(digest,))
    can = pack(model, output=tmp_path / "can", options=PackOptions(runtime="pickle", policy=policy))
    manifest = can.manifest
    assert (manifest.runtime, manifest.files["model.pkl"].digest) == ("pickle", digest)
    assert manifest.parity is not None
    assert manifest.parity.maximum == 0.0
    assert any(r.startswith("scikit-learn==") for r in manifest.requirements)
    assert not any(r.startswith("skops") for r in manifest.requirements)
    with pytest.raises(CanError, match="no boundary lists") as caught:
        open_service(can.folder)
    assert str(caught.value.hint).endswith(f"{VARIABLE}={digest}")
    monkeypatch.setenv(VARIABLE, f"sha256:other {digest}")
    service = open_service(can.folder)
    assert service.predict_one({"x0": 4.0, "x1": 5.0}) == {"prediction": pytest.approx(4.0)}


def test_without_a_boundary_no_pickle_is_a_runtime(model: Path, tmp_path: Path) -> None:
    """The error shows what would have to be written, and by whom it is read."""
    other = Policy(pickle="boundary", digests=("sha256:" + 64 * "0",))
    for policy in (Policy(digests=(digest_bytes(model.read_bytes()),)), other):
        options = PackOptions(runtime="pickle", policy=policy)
        with pytest.raises(ConversionError, match="may run as it is") as caught:
            pack(model, output=tmp_path / "can", options=options)
        assert digest_bytes(model.read_bytes()) in str(caught.value.hint)


def test_a_safer_runtime_is_taken_where_there_is_one(model: Path, tmp_path: Path) -> None:
    """A boundary allows, and does not prefer."""
    policy = Policy(pickle="boundary", digests=(digest_bytes(model.read_bytes()),))
    can = pack(model, output=tmp_path / "can", options=PackOptions(policy=policy))
    assert can.manifest.runtime == "onnx"


def test_a_damaged_pickle_is_told(tmp_path: Path) -> None:
    """Whatever the program raises becomes one error."""
    with pytest.raises(CanError, match="can't be opened: "):
        open_pickle(b"\x80\x05K", frozenset({digest_bytes(b"\x80\x05K")}))
