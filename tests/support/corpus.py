"""Save honest models in every form, in the environment that runs this: `python corpus.py FOLDER [NAME ...]`.

Runs by itself in environments of other generations, where Cannery is not installed.
"""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
from carried import VALUES
from estimators import fitted
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

LIBRARIES = (
    "catboost", "imbalanced-learn", "lightgbm", "numpy", "pandas", "scikit-learn", "scipy", "xgboost",
    "xgboost-cpu",
)  # fmt: skip


def boosters() -> Iterator[Any]:
    """Yield an unfitted estimator of every boosting library that is here, of each of its kinds."""
    with contextlib.suppress(ImportError):
        import xgboost as xgb

        yield from (
            xgb.XGBClassifier(n_estimators=3), xgb.XGBRegressor(n_estimators=3),
            xgb.XGBRFClassifier(n_estimators=3), xgb.XGBRFRegressor(n_estimators=3),
            xgb.XGBClassifier(n_estimators=3, booster="dart"),
            xgb.XGBRegressor(n_estimators=3, booster="gblinear"),
        )  # fmt: skip
    with contextlib.suppress(ImportError):
        import lightgbm as lgb

        yield from (
            lgb.LGBMClassifier(n_estimators=3, verbose=-1), lgb.LGBMRegressor(n_estimators=3, verbose=-1),
            lgb.LGBMClassifier(n_estimators=3, boosting_type="dart", verbose=-1),
        )  # fmt: skip
    with contextlib.suppress(ImportError):
        import catboost as cat

        yield from (
            cat.CatBoostClassifier(iterations=3, verbose=0, allow_writing_files=False),
            cat.CatBoostRegressor(iterations=3, verbose=0, allow_writing_files=False),
        )


def samplers() -> Iterator[tuple[str, Any]]:
    """Yield every estimator of imbalanced-learn that fits, where it is here."""
    try:
        from imblearn import combine, ensemble, over_sampling, under_sampling
        from imblearn.pipeline import Pipeline as SamplingPipeline
    except ImportError:
        return
    x, y = make_classification(60, 6, n_informative=4, weights=[0.7], random_state=0)
    homes = (combine, ensemble, over_sampling, under_sampling)
    for name, cls in ((name, getattr(home, name)) for home in homes for name in home.__all__):
        with contextlib.suppress(Exception):
            estimator = cls()
            (getattr(estimator, "fit_resample", None) or estimator.fit)(x, y)
            yield f"imblearn-{name}", estimator
            if hasattr(estimator, "fit_resample"):
                yield f"imblearn-in-{name}", SamplingPipeline([("sampler", estimator)])


def composed() -> Iterator[tuple[str, Any]]:
    """Yield pipelines: over frames, with functions, and with boosters behind them."""
    import pandas as pd

    x, y = make_classification(40, 6, n_informative=4, random_state=0)
    frame = pd.DataFrame(x, columns=list("abcdef"))
    columns = ColumnTransformer([("s", StandardScaler(), ["a", "b"])], remainder="passthrough")
    yield "columns", columns.fit(frame)
    with contextlib.suppress(Exception):
        yield "columns-to-pandas", columns.set_output(transform="pandas").fit(frame)
    for number, booster in enumerate(boosters()):
        kind = f"{type(booster).__module__.partition('.')[0]}-{type(booster).__name__}-{number}"
        with contextlib.suppress(Exception):
            model = make_pipeline(StandardScaler(), booster).fit(x, y)
            yield kind, model
            yield f"{kind}-alone", model[-1]
            yield f"{kind}-frame", type(booster)(**booster.get_params()).fit(frame, y)
    functions = (np.log1p, np.clip, np.sqrt, np.nan_to_num)
    for function in functions:
        yield f"function-{function.__name__}", Pipeline([("f", FunctionTransformer(function))])


def models(*wanted: str) -> Iterator[tuple[str, Any]]:
    """Yield everything that is saved, by name; of scikit-learn's own estimators those that are named."""
    yield from fitted(*wanted).items()
    yield from composed()
    yield from samplers()
    for kind, values in VALUES.items():
        for number, value in enumerate(values):
            yield f"value-{kind}-{number}", [value, value]


def forms(model: Any) -> Iterator[tuple[str, bytes]]:
    """Yield a model in each form in which it can be saved: the ending, and the bytes."""
    for protocol in range(2, 6):
        yield f"{protocol}.pickle", pickle.dumps(model, protocol)
    yield "cloud.pickle", cloudpickle.dumps(model)
    for compress in (0, ("zlib", 3), ("xz", 3)):
        stream = io.BytesIO()
        joblib.dump(model, stream, compress=compress)
        yield f"{compress and compress[0]}.joblib", stream.getvalue()
    if not hasattr(model, "get_params"):
        return
    with contextlib.suppress(Exception):  # what skops can't write
        import skops.io

        yield "0.skops", skops.io.dumps(model)


def main(folder: str, *wanted: str) -> None:
    """Write `NAME.FORM` files and `versions.json`; with names, only these models."""
    warnings.simplefilter("ignore")
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for name, model in models(*wanted):
        if wanted and name not in wanted:
            continue
        with contextlib.suppress(pickle.PicklingError):
            for form, data in forms(model):
                target.joinpath(f"{name}.{form}").write_bytes(data)
    found = {}
    for library in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[library] = version(library)
    target.joinpath("versions.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
