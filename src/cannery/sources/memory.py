"""A fitted estimator in this process, made a source: written as a pickle, and audited like any other."""

from __future__ import annotations

import pickle
import platform
from importlib import metadata
from pathlib import Path

from cannery.errors import SourceError
from cannery.sources.holding import hold
from cannery.sources.source import Origin, Source

_LIBRARIES = (
    "scikit-learn",
    "numpy",
    "scipy",
    "pandas",
    "joblib",
    "xgboost",
    "lightgbm",
    "catboost",
)
_FILE = "model.pkl"


def of_object(model: object, name: str, *, staging: Path) -> Source:
    """Write `model` into `staging` as a pickle of protocol 5 and return it as a source.

    Raises SourceError when it can't be pickled (a lambda, an open file, a lock inside it).
    """
    kind = type(model).__name__
    path = staging / _FILE
    try:
        data = pickle.dumps(model, protocol=5)
        path.write_bytes(data)
    except OSError as error:
        raise SourceError(f"can't write '{path}': {error.strerror}") from error
    except Exception as error:  # an object's own __reduce__ and __getstate__ may raise anything
        raise SourceError(
            f"the {kind} can't be pickled: {error}",
            hint="lambdas and functions defined in a function can't be: move them to a module",
        ) from error
    uri = f"python:{kind}"
    return Source(
        origin=Origin(given=uri, resolved=uri, name=name),
        format="pickle",
        main=_FILE,
        files={_FILE: hold(path)},
        requirements=_installed(),
        python=platform.python_version(),
    )


def _installed() -> tuple[str, ...]:
    found = []
    for name in _LIBRARIES:
        try:
            found.append(f"{name}=={metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return tuple(found)
