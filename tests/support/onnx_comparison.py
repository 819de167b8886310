"""A runtime for converted models, and the comparison with the original."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
from sklearn.base import ClusterMixin

from cannery.conversions.onnx.convert import convert
from cannery.signatures import NULL_STRING, Feature


def features_of(frame: pd.DataFrame) -> tuple[Feature, ...]:
    """Return the features of a frame's columns."""
    kinds = {"i": "long", "u": "long", "b": "boolean", "f": "double"}
    return tuple(
        Feature(name=str(name), type=kinds.get(dtype.kind, "string"))
        for name, dtype in frame.dtypes.items()
    )


def as_frame(x: Any) -> pd.DataFrame:
    """Return an array as a frame with columns x0, x1 and so on."""
    if isinstance(x, pd.DataFrame):
        return x
    return pd.DataFrame(x, columns=[f"x{i}" for i in range(np.shape(x)[1])])


@dataclass(frozen=True)
class Converted:
    """A converted model in a session."""

    session: onnxruntime.InferenceSession
    feeds: tuple[Any, ...]
    data: bytes

    def __call__(self, frame: pd.DataFrame) -> dict[str, np.ndarray]:
        """Score a frame."""
        inputs = {}
        for feed in self.feeds:
            block = frame[list(feed.features)]
            if feed.dtype == "string":
                inputs[feed.input] = block.astype(object).fillna(NULL_STRING).to_numpy(object)
            else:
                inputs[feed.input] = np.ascontiguousarray(block.to_numpy(np.float64))
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, inputs), strict=True))


def load(estimator: Any, frame: pd.DataFrame) -> Converted:
    """Convert a fitted estimator and open it as the service would."""
    data, feeds = convert(estimator, features_of(frame), "model")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return Converted(session, feeds, data)


def expected(estimator: Any, x: Any) -> dict[str, np.ndarray]:
    """Return what the original answers, by the names of the graph's outputs."""
    if len(getattr(estimator, "classes_", ())) and hasattr(estimator, "predict"):
        labels = np.asarray(estimator.predict(x))
        answers = {"label": labels[:, 0] if labels.shape[1:] == (1,) else labels}
        if hasattr(estimator, "predict_proba"):
            made = estimator.predict_proba(x)
            answers["probabilities"] = np.hstack(made) if isinstance(made, list) else made
        elif hasattr(estimator, "decision_function") and np.ndim(answers["label"]) == 1:
            scores = estimator.decision_function(x)
            answers["scores"] = scores.reshape(len(scores), -1)
        return answers
    if hasattr(estimator, "predict_proba"):  # a mixture
        return {"label": estimator.predict(x), "probabilities": estimator.predict_proba(x)}
    if hasattr(estimator, "decision_function"):  # a detector of outliers
        return {"label": estimator.predict(x), "scores": estimator.decision_function(x)}
    if hasattr(estimator, "predict"):
        name = "label" if isinstance(estimator, ClusterMixin) else "prediction"
        return {name: estimator.predict(x)}
    columns = estimator.transform(x)
    return {"columns": columns.toarray() if hasattr(columns, "toarray") else np.asarray(columns)}


def assert_same(estimator: Any, x: Any, *, tolerance: float = 1e-12) -> Converted:
    """Convert, score the rows both ways, and compare: labels equal, numbers within tolerance."""
    frame = as_frame(x)
    converted = load(estimator, frame)
    compare(converted(frame), expected(estimator, x), tolerance)
    return converted


def compare(got: dict[str, np.ndarray], want: dict[str, np.ndarray], tolerance: float) -> None:
    """Compare two answers; numbers are compared relative to max(1, |expected|)."""
    assert sorted(got) == sorted(want)
    for name, theirs in want.items():
        ours = got[name]
        assert ours.shape == np.shape(theirs), name
        if name == "label":
            assert (ours == theirs).all()
            continue
        theirs = np.asarray(theirs, dtype=float)
        assert (np.isnan(ours) == np.isnan(theirs)).all()
        with np.errstate(invalid="ignore"):
            away = np.where(ours == theirs, 0.0, np.abs(ours - theirs))
        away /= np.maximum(1.0, np.abs(theirs))
        assert np.nanmax(away, initial=0.0) <= tolerance


def tree_thresholds(estimator: Any) -> list[tuple[int, float]]:
    """Return (feature, threshold) of every split of scikit-learn's trees."""
    members = np.ravel(getattr(estimator, "estimators_", [estimator]))
    found = []
    for member in members:
        tree = member.tree_
        inner = tree.children_left >= 0
        found += zip(tree.feature[inner].tolist(), tree.threshold[inner].tolist(), strict=True)
    return sorted(set(found))


def neighbours(value: float) -> list[float]:
    """Return a number, the doubles beside it, and the floats beside it and their midpoints."""
    single = np.float32(value)
    below, above = (
        np.nextafter(single, np.float32(-np.inf)),
        np.nextafter(single, np.float32(np.inf)),
    )
    middles = [(float(single) + float(below)) / 2, (float(single) + float(above)) / 2]
    points = [value, float(single), float(below), float(above), *middles]
    return [p for x in points for p in (np.nextafter(x, -np.inf), x, np.nextafter(x, np.inf))]


def hugging(x: np.ndarray, splits: list[tuple[int, float]], limit: int = 150) -> np.ndarray:
    """Return rows of `x` whose split feature lies on a threshold, or a hair beside it."""
    rng = np.random.default_rng(0)
    chosen = [splits[i] for i in rng.permutation(len(splits))[:limit]]
    rows = []
    for feature, threshold in chosen:
        for value in neighbours(threshold):
            row = x[rng.integers(len(x))].copy()
            row[feature] = value
            rows.append(row)
    return np.array(rows)
