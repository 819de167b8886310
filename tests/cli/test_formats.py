"""Every form in which a scikit-learn model is kept becomes a can that answers alike."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import pytest
import skops.io

from cannery.cans.open import open_can

WRITERS = {
    "protocol 0": lambda model, path: path.write_bytes(pickle.dumps(model, 0)),
    "cloudpickle": lambda model, path: path.write_bytes(cloudpickle.dumps(model)),
    "joblib": lambda model, path: joblib.dump(model, path),
    "joblib with lz4": lambda model, path: joblib.dump(model, path, compress=("lz4", 3)),
    "joblib with xz": lambda model, path: joblib.dump(model, path, compress=("xz", 3)),
    "skops": lambda model, path: skops.io.dump(model, path),
}


@pytest.mark.parametrize("form", sorted(WRITERS))
def test_a_model_is_packed_from_any_form(
    cannery: Any, project: Path, classifier: Any, can: Path, form: str
) -> None:
    """The graph has the very bytes that the plain pickle led to, but for its name."""
    WRITERS[form](classifier, project / "model.bin")
    done = cannery("pack", "model.bin", "--sample", "sample.parquet", "-o", "model.can")
    assert done.ok, done.complaint
    made, known = open_can(project / "model.can"), open_can(can)
    assert made.manifest.signature == known.manifest.signature
    assert made.canary() == known.canary()
    assert len(made.model()) == len(known.model())
