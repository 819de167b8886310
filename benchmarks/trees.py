"""Ensembles of trees, one thread: our graph beside the common converter's and the library itself.

One row, a thousand and ten thousand; seconds of processor, medians of turns that are taken one after the
other. Every answer of ours is checked before it is timed.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
from conversion_peer import converted, register
from lightgbm import LGBMClassifier
from measuring import Figure, main
from sklearn import ensemble, tree
from sklearn.datasets import make_classification
from xgboost import XGBClassifier

from cannery.conversions.onnx.convert import convert
from cannery.serving.scorer import onnx_scorer
from cannery.signatures import Batch, Feature, Output, Signature

COLUMNS = 12
TRAINED, ASKED = 6000, 10_000
SIZES = (1, 1000, ASKED)
ONCE = 1 << 22
"""Bytes of a graph that the scorer opens once, and not again for single rows."""

Call = Callable[[], Any]


def kinds() -> dict[str, tuple[Any, int]]:
    """Return ensembles by name, each with the number of classes that it is fitted on (0: regression)."""
    return {
        "decision tree, 2 classes": (tree.DecisionTreeClassifier(random_state=0), 2),
        "random forest, 2 classes": (ensemble.RandomForestClassifier(random_state=0), 2),
        "random forest, 2 classes, depth 6": (
            ensemble.RandomForestClassifier(max_depth=6, random_state=0),
            2,
        ),
        "random forest, 3 classes, depth 10": (
            ensemble.RandomForestClassifier(max_depth=10, random_state=0),
            3,
        ),
        "random forest, regression": (ensemble.RandomForestRegressor(random_state=0), 0),
        "extra trees, 3 classes": (ensemble.ExtraTreesClassifier(random_state=0), 3),
        "gradient boosting, 2 classes": (ensemble.GradientBoostingClassifier(random_state=0), 2),
        "gradient boosting, 3 classes": (ensemble.GradientBoostingClassifier(random_state=0), 3),
        "gradient boosting, regression": (ensemble.GradientBoostingRegressor(random_state=0), 0),
        "HistGradientBoosting, 2 classes": (
            ensemble.HistGradientBoostingClassifier(random_state=0),
            2,
        ),
        "XGBoost, 2 classes": (XGBClassifier(n_jobs=1, random_state=0), 2),
        "LightGBM, 2 classes": (LGBMClassifier(n_jobs=1, random_state=0, verbose=-1), 2),
        "LightGBM, 3 classes": (LGBMClassifier(n_jobs=1, random_state=0, verbose=-1), 3),
        "AdaBoost, 2 classes": (ensemble.AdaBoostClassifier(random_state=0), 2),
        "isolation forest": (ensemble.IsolationForest(random_state=0), 2),
    }


def fitted(model: Any, classes: int) -> tuple[Any, np.ndarray]:
    """Return the fitted model and the rows that it has not seen."""
    x, y = make_classification(
        TRAINED + ASKED,
        COLUMNS,
        n_informative=8,
        n_classes=max(classes, 2),
        flip_y=0.1,
        random_state=0,
    )
    x = x.astype(np.float32).astype(np.float64)  # the common converter's graph takes float32
    target = x[:, 0] * x[:, 1] + x[:, 2] if not classes else y
    return model.fit(x[:TRAINED], target[:TRAINED]), x[TRAINED:]


def medians(calls: list[Call], seconds: float = 1.0) -> list[float]:
    """Return the median seconds of processor of each, taking turns; at least five of them."""
    taken: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + seconds
    for call in calls:
        call()
    while time.perf_counter() < end or len(taken[0]) < 5:
        for call, times in zip(calls, taken, strict=True):
            started = time.process_time()
            call()
            times.append(time.process_time() - started)
    return [statistics.median(times) for times in taken]


def rotated(call: Callable[[Any], Any], rows: np.ndarray, size: int) -> tuple[Call, int]:
    """Return the call on so many rows, other ones each time where they are few; and how many times it asks."""
    if size > 1:
        return lambda: call(rows[:size]), 1
    parts = [rows[i : i + 1] for i in range(200)]
    return lambda: [call(part) for part in parts], len(parts)


def opened(data: bytes, **sizes: int) -> onnxruntime.InferenceSession:
    """Open a graph for one thread, as the scorer does: once more for a single row."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    for name, size in sizes.items():
        options.add_free_dimension_override_by_name(name, size)
    return onnxruntime.InferenceSession(data, options)


def questions(
    model: Any, classes: int
) -> tuple[Callable[[Any], Any], dict[str, Callable[[Any], Any]]]:
    """Return what the library answers, and how the graphs are asked: ours alone, ours by the scorer, theirs."""
    features = tuple(Feature(name=f"f{i}", type="double") for i in range(COLUMNS))
    data, feeds = convert(model, features, "model")
    ours = opened(data, N=1) if len(data) < ONCE else opened(data)
    names = [output.name for output in ours.get_outputs()]
    name = next((name for name in names if name != "label"), "label")
    output = Output(name="answer", tensor=name, type="double")
    scorer = onnx_scorer(data, Signature(features=features, outputs=(output,)), feeds)
    texts = np.empty((0, 0), dtype=object)
    asked: dict[str, Callable[[Any], Any]] = {
        "graph": lambda x: ours.run([name], {"numbers": x})[0],
        "scorer": lambda x: scorer.score(Batch(numbers=x, strings=texts))[name],
    }
    try:
        theirs = opened(
            converted({"model": model, "features": [(f.name, "double") for f in features]})
        )
        last = [theirs.get_outputs()[-1].name]
        asked["theirs"] = lambda x: theirs.run(last, {"X": x})[0]
    except Exception as error:  # converters raise anything
        sys.stderr.write(f"the common converter fails: {str(error)[:100]}\n")
    answer = {"probabilities": "predict_proba", "scores": "decision_function"}.get(name, "predict")
    return getattr(model, answer), asked


def measure() -> list[Figure]:
    """Fit, check and time every kind."""
    warnings.simplefilter("ignore")
    register()
    figures = []
    for kind, (model, classes) in kinds().items():
        model, rows = fitted(model, classes)
        library, asked = questions(model, classes)
        difference = np.abs(np.squeeze(asked["scorer"](rows)) - library(rows)).max()
        assert difference <= 1e-6, f"{kind} differs by {difference}"
        singles = rows.astype(np.float32)
        for size in SIZES:
            ours, count = rotated(asked["graph" if size == 1 else "scorer"], rows, size)
            calls = [ours, rotated(library, rows, size)[0]]
            if "theirs" in asked:
                calls.append(rotated(asked["theirs"], singles, size)[0])
            mine, *others = (s / count * 1e6 for s in medians(calls, 0.3))
            for peer, beside in zip(others, ("the library", "the common converter"), strict=False):
                what = f"{kind}: {size:,} row{'s' if size > 1 else ''}"
                figures.append(Figure(what=what, unit="µs", ours=mine, peer=peer, beside=beside))
                sys.stderr.write(
                    f"{figures[-1].what:55} {mine:9.1f} {peer:9.1f} {peer / mine:6.2f} {beside}\n"
                )
    return figures


if __name__ == "__main__":
    main(__doc__, measure)
