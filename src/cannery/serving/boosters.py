"""Boosters from the files of their own libraries, asked as estimators are; no scikit-learn is needed.

A booster whose objective tells classes apart answers labels and probabilities, as the library's own
classifier would: a file holds no more than the numbers of the classes, so their names are handed in.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cannery.errors import CanError

Library = Literal["catboost", "lightgbm", "xgboost"]
LIBRARIES: tuple[Library, ...] = get_args(Library)


def library_of(model: Any) -> Library | None:
    """Return the library that a booster, or an estimator of such a library, is of; None for all else."""
    if isinstance(model, _Booster):
        return model.library
    name = type(model).__module__.partition(".")[0]
    return next((known for known in LIBRARIES if known == name), None)


def open_booster(data: bytes, library: str, classes: Sequence[Any] | None = None) -> Any:
    """Return the booster in `data`, to be asked by `predict` and, where it tells classes, `predict_proba`.

    `classes` are the labels, in the order of their numbers. Raises CanError when the library is not
    here or refuses the bytes.
    """
    openers = {"catboost": _catboost, "lightgbm": _lightgbm, "xgboost": _xgboost}
    if library not in openers:
        raise CanError(f"'{library}' is no runtime of a booster")
    try:
        return openers[library](data, classes)
    except ImportError as error:
        raise CanError(
            f"a can with the {library} runtime needs {library} here",
            hint="install what its can.json lists under 'requirements'",
        ) from error
    except Exception as error:  # each library raises what it likes
        brief = str(error).strip().rpartition("\n")[2][:300]
        raise CanError(f"{library} can't open the model: {brief}") from error


def as_estimator(model: Any) -> Any:
    """Return a plain booster, as some pickles hold it, as it is asked here; all else as it is."""
    if type(model).__name__ != "Booster":
        return model
    match library_of(model):
        case "xgboost":
            return XgboostBooster(model, stops=False)
        case "lightgbm":
            return LightgbmBooster(model)
        case _:
            return model


class _Booster:
    """What the boosters of the libraries have in common."""

    library: Library
    missing = np.nan

    def __init__(self, names: Sequence[str] | None, width: int) -> None:
        if names is not None:
            self.feature_names_in_ = np.array(names, dtype=object)
        self.n_features_in_ = width

    def _classify(self, count: int, classes: Sequence[Any] | None) -> None:
        """Take this for a classifier of `count` classes."""
        given = np.array(classes if classes is not None else range(count))
        if len(given) != count:
            raise ValueError(f"it tells {count} classes apart, and {len(given)} are named")
        self.classes_ = given.astype(object) if given.dtype.kind == "U" else given

    @property
    def _estimator_type(self) -> str:
        return "classifier" if hasattr(self, "classes_") else "regressor"


class XgboostBooster(_Booster):
    """A booster of XGBoost."""

    library: Library = "xgboost"

    def __init__(self, booster: Any, classes: Sequence[Any] | None = None, *, stops: bool) -> None:
        """Wrap a booster; `stops`: later rounds than the best are left out, as estimators do."""
        learner = json.loads(booster.save_config())["learner"]
        self._booster = booster
        self.stops = stops
        self.objective = str(learner["objective"]["name"])
        self._linear = learner["gradient_booster"]["name"] == "gblinear"
        super().__init__(booster.feature_names, int(booster.num_features()))
        if self.objective in ("binary:logistic", "binary:hinge"):
            if int(learner["learner_model_param"].get("num_target", 1)) == 1:
                self._classify(2, classes)
        elif self.objective in ("multi:softprob", "multi:softmax"):
            self._classify(int(learner["learner_model_param"]["num_class"]), classes)
        if hasattr(self, "classes_"):
            self.predict_proba = self._probabilities

    def get_booster(self) -> Any:
        """Return the booster of the library, as its estimators call it."""
        return self._booster

    def predict(self, table: Any) -> NDArray[Any]:
        """Return labels, or what the objective answers."""
        if not hasattr(self, "classes_"):
            return self._asked(table)
        if self.objective == "multi:softmax":
            return np.asarray(self.classes_[self._asked(table).astype(np.int64)])
        shares = self._asked(table)
        index = (shares > 0.5).astype(np.int64) if shares.ndim == 1 else shares.argmax(axis=1)
        return np.asarray(self.classes_[index])

    def _probabilities(self, table: Any) -> NDArray[Any]:
        if self.objective == "multi:softmax":
            from scipy.special import softmax  # as XGBoost's own estimator does

            return np.asarray(softmax(self._asked(table, margin=True), axis=1))
        shares = self._asked(table)
        return shares if shares.ndim == 2 else np.stack([1 - shares, shares], axis=1)

    def _asked(self, table: Any, *, margin: bool = False) -> NDArray[Any]:
        import xgboost

        names = None if hasattr(table, "columns") else self._booster.feature_names
        kinds = None if hasattr(table, "columns") else self._booster.feature_types
        matrix = xgboost.DMatrix(
            table, feature_names=names, feature_types=kinds, nthread=1, enable_categorical=True
        )
        best = self._booster.attr("best_iteration") if self.stops else None
        options = {} if self._linear else {"iteration_range": (0, int(best) + 1 if best else 0)}
        return np.asarray(self._booster.predict(matrix, output_margin=margin, **options))


def _xgboost(data: bytes, classes: Sequence[Any] | None) -> XgboostBooster:
    import xgboost

    booster = xgboost.Booster({"nthread": 1}, model_file=bytearray(data))
    # What an estimator wrote says so, and an estimator stops at the best round.
    return XgboostBooster(booster, classes, stops=booster.attr("scikit_learn") is not None)


class LightgbmBooster(_Booster):
    """A booster of LightGBM."""

    library: Library = "lightgbm"

    def __init__(self, booster: Any, classes: Sequence[Any] | None = None) -> None:
        """Wrap a booster."""
        names = booster.feature_name()
        plain = names == [f"Column_{i}" for i in range(len(names))]
        self.booster_ = booster
        lines = booster.model_to_string(num_iteration=1).partition("\nTree=")[0].split("\n")
        objective = next((x.partition("=")[2] for x in lines if x.startswith("objective=")), "")
        self.objective = objective.partition(" ")[0]
        super().__init__(None if plain else names, len(names))
        if self.objective == "binary":
            self._classify(2, classes)
        elif self.objective in ("multiclass", "multiclassova"):
            self._classify(int(booster.num_model_per_iteration()), classes)
        if hasattr(self, "classes_"):
            self.predict_proba = self._probabilities

    def get_params(self) -> dict[str, Any]:
        """Return the parameters that change what is answered: none."""
        return {}

    def predict(self, table: Any) -> NDArray[Any]:
        """Return labels, or what the objective answers."""
        if hasattr(self, "classes_"):
            return np.asarray(self.classes_[self._probabilities(table).argmax(axis=1)])
        return self._asked(table)

    def _probabilities(self, table: Any) -> NDArray[Any]:
        shares = self._asked(table)
        return shares if shares.ndim == 2 else np.stack([1.0 - shares, shares], axis=1)

    def _asked(self, table: Any) -> NDArray[Any]:
        return np.asarray(self.booster_.predict(table, num_threads=1))


def _lightgbm(data: bytes, classes: Sequence[Any] | None) -> LightgbmBooster:
    import lightgbm

    booster = lightgbm.Booster(model_str=data.decode())
    return LightgbmBooster(booster, classes)


_CLASSES = frozenset(
    {"Logloss", "CrossEntropy", "Focal", "MultiClass", "MultiClassOneVsAll"},
)
"""Losses of CatBoost that tell classes apart."""


def _catboost(data: bytes, _: Sequence[Any] | None) -> Any:
    """Return the library's own estimator: it needs nothing else, and its file names the classes."""
    import catboost

    model = catboost.CatBoost().load_model(blob=data)
    loss = str(model.get_all_params().get("loss_function", ""))
    kind = "CatBoostClassifier" if loss.partition(":")[0] in _CLASSES else "CatBoostRegressor"
    return getattr(catboost, kind)().load_model(blob=data)
