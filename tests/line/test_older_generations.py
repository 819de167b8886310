"""A model of an older generation goes through the line with the libraries that trained it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from generations import Generation, fitted

import cannery
from cannery.errors import SourceError
from cannery.serving.service import open_service

OLD = (
    {"scikit-learn": "1.2.2", "numpy": "1.24.4", "pandas": "1.5.3", "scipy": "1.10.1"}
    if sys.version_info < (3, 12)
    else {"scikit-learn": "1.6.1", "numpy": "2.1.3", "pandas": "2.2.3", "scipy": "1.15.3"}
)
"""The oldest generation of which this Python has wheels, or the one before the present."""


@pytest.mark.slow
@pytest.mark.network
def test_a_model_of_an_old_scikit_learn_becomes_a_can(tmp_path: Path) -> None:
    """It is opened by its own scikit-learn, and the can answers as it did; a drift of versions stops it."""
    generation = Generation(python=f"3.{sys.version_info.minor}", versions=OLD)
    folder, records, told = fitted(generation, tmp_path)
    can = cannery.pack(str(folder), output=tmp_path / "can")
    assert can.manifest.runtime == "onnx"
    assert not can.manifest.notes
    again = cannery.pack(str(folder), output=tmp_path / "again")  # by a worker of its own
    graphs = {(one.folder / "model.onnx").read_bytes() for one in (can, again)}
    assert len(graphs) == 1
    answers = open_service(can.folder).predict(records)
    assert [a["probability_Yes"] for a in answers] == pytest.approx(told, abs=1e-12)
    recorded = folder / "requirements.txt"
    recorded.write_text(recorded.read_text().replace(OLD["scikit-learn"], "1.7.2"))
    with pytest.raises(SourceError, match=rf"scikit-learn {OLD['scikit-learn']} wrote it"):
        cannery.pack(str(folder), output=tmp_path / "other")
    assert not (tmp_path / "other").exists()
