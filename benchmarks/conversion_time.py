"""How long a conversion takes, from audited bytes to the parity certificate, by the line's own worker.

`benchmarks/conversion_time.py`. The environment of the worker is made before the clock starts. Wall time
and processor time are told, the worker's included: on a machine that others use, only the second is ours.
"""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import numpy as np
import pandas as pd
import pyarrow as pa
from measuring import cpu_of
from originals import churn_frame, churn_pipeline
from sklearn.datasets import make_classification
from sklearn.ensemble import GradientBoostingClassifier
from suite import cleared_file

from cannery.conversions.choose import ConvertOptions, convert_opened, opened
from cannery.isolation.environments import environment_for

ROUNDS = 3


def churn() -> tuple[Any, pd.DataFrame]:
    """Return the churn pipeline as the demo trains it: scaler, one-hot, gradient boosting."""
    frame = churn_frame()
    pipeline = churn_pipeline(frame, GradientBoostingClassifier(random_state=0))
    return pipeline, frame.drop(columns="churn")


def trees() -> tuple[Any, pd.DataFrame]:
    """Return 500 trees of depth 8."""
    x, y = make_classification(2000, 12, n_informative=8, random_state=0)
    frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(x.shape[1])])
    model = GradientBoostingClassifier(n_estimators=500, max_depth=8, subsample=0.2, random_state=0)
    return model.fit(frame, y), frame


MODELS: dict[str, tuple[Callable[[], tuple[Any, pd.DataFrame]], float]] = {
    "churn pipeline": (churn, 3.0),
    "500 trees of depth 8": (trees, 15.0),
}


def timed(path: Path, sample: pa.Table) -> tuple[float, float]:
    """Convert once; return wall time and processor time, each from before the worker's start."""
    cleared, options = cleared_file(path), ConvertOptions()
    environment_for(cleared.source, cleared.audit)
    began, used = time.perf_counter(), cpu_of(os.getpid())
    with opened(cleared, options) as original:
        found = convert_opened(original, cleared.source, sample=sample, options=options)
        taken = cpu_of(os.getpid()) - used  # while the worker lives to be asked
    assert found.artifact.runtime == "onnx"
    return time.perf_counter() - began, taken


def main() -> None:
    """Convert each model a few times and print a table."""
    warnings.simplefilter("ignore")
    lines = ["| | seconds | of processor | allowed |", "|---|--:|--:|--:|"]
    for name, (make, allowed) in MODELS.items():
        model, frame = make()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.pkl"
            path.write_bytes(pickle.dumps(model))
            sample = pa.Table.from_pandas(frame, preserve_index=False)
            taken = np.array([timed(path, sample) for _ in range(ROUNDS)])
        wall, cpu = np.median(taken, axis=0)
        lines.append(f"| {name} | {wall:.1f} | {cpu:.1f} | {allowed:.0f} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
