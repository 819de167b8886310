"""The runtimes below ONNX: a booster's own file, the estimator as a skops file, the pickle itself."""

from __future__ import annotations

from cannery.cans.manifest import Runtime
from cannery.conversions.nouns import Artifact
from cannery.errors import ConversionError
from cannery.isolation.worker import Original
from cannery.serving.boosters import LIBRARIES
from cannery.sources.source import Source

_FILES: dict[Runtime, str] = {
    "catboost": "model.cbm",
    "lightgbm": "model.txt",
    "pickle": "model.pkl",
    "skops": "model.skops",
    "xgboost": "model.ubj",
}
_BOOSTERS = ("catboost", "lightgbm", "xgboost", "xgboost-cpu")
_ESTIMATORS = ("scikit-learn", "numpy", "scipy", "joblib", *_BOOSTERS)
_OTHERS = frozenset({*_ESTIMATORS, "skops", "pandas", "onnx"})


def to_artifact(original: Original, runtime: Runtime, source: Source) -> Artifact:
    """Return the original as the file of a runtime; raises ConversionError when that can't hold it."""
    description = original.description
    if runtime in LIBRARIES and runtime != description.library:
        raise ConversionError(f"only a booster of {runtime} alone can be kept in its file")
    data, trusted = (source.blob.read(), ()) if runtime == "pickle" else original.write(runtime)
    # The files of these two take columns by their place, which spares the image pandas.
    placed = runtime in ("lightgbm", "xgboost") and not any(
        column.categorical for column in description.columns
    )
    named = description.named and not placed
    return Artifact(
        runtime=runtime,
        name=_FILES[runtime],
        data=data,
        requirements=_requirements(description.versions, runtime, named=named),
        trusted=trusted,
        named=named,
    )


def _requirements(versions: dict[str, str], runtime: Runtime, *, named: bool) -> tuple[str, ...]:
    """Return `name==version` of what opens the file again: the versions in the worker."""
    names: tuple[str, ...] = (runtime, f"{runtime}-cpu", "numpy")
    if runtime in ("skops", "pickle"):
        reviewed = [name for name in versions if name not in _OTHERS]  # packages of trusted classes
        names = (runtime, *_ESTIMATORS, *reviewed)
    wanted = (*names, "pandas") if named else names
    return tuple(sorted(f"{name}=={versions[name]}" for name in wanted if name in versions))
