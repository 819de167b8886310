"""The runtime below ONNX: the estimator itself, as a skops file that is read by listed types alone."""

from __future__ import annotations

from cannery.conversions.nouns import Artifact, Description
from cannery.isolation.worker import Original

_NEEDED = (
    *("scikit-learn", "numpy", "scipy", "joblib", "skops"),
    *("catboost", "lightgbm", "xgboost", "xgboost-cpu"),
)


def to_skops(original: Original) -> Artifact:
    """Return the original as a skops artifact; raises ConversionError when skops can't hold it."""
    data, trusted = original.to_skops()
    return Artifact(
        runtime="skops",
        name="model.skops",
        data=data,
        requirements=requirements_of(original.description),
        trusted=trusted,
        named=original.description.named,
    )


def requirements_of(description: Description) -> tuple[str, ...]:
    """Return `name==version` of what opens the file again: the versions in the worker."""
    names = (*_NEEDED, "pandas") if description.named else _NEEDED
    versions = description.versions
    return tuple(sorted(f"{name}=={versions[name]}" for name in names if name in versions))
