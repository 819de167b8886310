"""What an opened estimator says of itself: task, columns, categories, classes. Runs in the worker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import numpy as np

from cannery.conversions.nouns import Column, Description, Task
from cannery.errors import ConversionError
from cannery.isolation.walking import Met, met, spans, texts
from cannery.serving.boosters import Library, library_of
from cannery.serving.estimators import is_text

_LIBRARIES = (
    *("scikit-learn", "numpy", "scipy", "pandas", "joblib", "skops", "onnx"),
    *("catboost", "lightgbm", "xgboost", "xgboost-cpu"),
)
Value = str | int | float | bool


def describe(model: Any) -> Description:
    """Return the description of a fitted model.

    Raises ConversionError for what is no model, is not fitted, or has classes that are no list.
    """
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    _check_able(model, kind)
    _check_fitted(model, kind)
    if (taker := _first_step(model)) in ("DictVectorizer", "FeatureHasher"):
        raise ConversionError(
            f"its first step, a {taker}, takes dictionaries or lists, and no columns",
            hint="encode columns instead: a ColumnTransformer with OneHotEncoder, refitted on a data frame",
        )
    task = task_of(model)
    names = _names_in(model)
    framed = dict(_framed(model, names))
    steps = tuple(met(model, names))
    known = _together(_categories(steps)) | framed
    span, words = dict(spans(steps)), texts(steps) | _words(model, names)
    return Description(
        type=kind,
        steps=tuple(_steps(model)),
        path=tuple(name for name, _ in steps_of(model)),
        task=task,
        columns=tuple(
            Column(
                name=str(name),
                categories=known.get(name, _UNKNOWN).categories,
                unseen=known.get(name, _UNKNOWN).unseen,
                none=known.get(name, _UNKNOWN).none,
                categorical=name in framed,
                text=name in words,
                span=span.get(name),
            )
            for name in names
        ),
        named=_fitted_names(model) is not None,
        classes=_classes(model) if task == "classifier" or _is_mixture(model) else None,
        labels=_labels(model) if task == "classifier" else (),
        probabilities=task in ("classifier", "cluster") and _has_probabilities(model),
        outputs=_outputs(model),
        output_names=_output_names(model) if task == "transformer" else (),
        library=_library(model),
        versions=dict(_versions()),
    )


def steps_of(model: Any) -> list[tuple[str, Any]]:
    """Return the named steps of a pipeline, that of a search's best too; none where there is no pipeline."""
    model = getattr(model, "best_estimator_", model)
    return [(str(name), step) for name, step in getattr(model, "steps", ())]


def transformers_of(model: Any) -> tuple[Any, ...]:
    """Return what a row passes through in a pipeline before its last step, without samplers of training."""
    return tuple(step for _, step in model.steps[:-1] if hasattr(step, "transform"))


def final(model: Any) -> Any:
    """Return the estimator that answers in the end: the last step, the best of a search."""
    for name in ("best_estimator_", "_final_estimator"):
        inner = getattr(model, name, None)
        if inner is not None and not isinstance(inner, str):
            return final(inner)
    return model


def _check_able(model: Any, kind: str) -> None:
    """Raise for what answers no rows: a table (which transforms itself), a clusterer of its own rows."""
    able = hasattr(model, "predict") or (hasattr(model, "transform") and hasattr(model, "fit"))
    if able and not isinstance(model, type):
        return
    if hasattr(model, "fit_predict"):
        raise ConversionError(
            f"a '{kind}' labels only the rows it was fitted on: it has no 'predict'",
            hint="take one that predicts, or fit a classifier to its labels and save that",
        )
    raise ConversionError(
        f"the file holds a '{kind.removeprefix('builtins.')}', which is no model: "
        "it can neither predict nor transform rows",
        hint=f"save the fitted estimator or pipeline itself{_within(model)}",
    )


def _within(model: Any) -> str:
    """Tell of the estimators that stand in a dictionary, a list or a tuple, with what each is to be reached."""
    parts = (
        model.items()
        if isinstance(model, dict)
        else enumerate(model)
        if isinstance(model, list | tuple)
        else ()
    )
    found = [
        f"[{key!r}] is a {type(part).__name__}"
        for key, part in parts
        if not isinstance(part, type) and (hasattr(part, "predict") or hasattr(part, "fit"))
    ]
    if not found:
        return ""
    many = "; several that follow each other belong in one Pipeline" if len(found) > 1 else ""
    return f" ({', '.join(found[:5])}){many}"


def _check_fitted(model: Any, kind: str) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(model)
    except NotFittedError as error:
        raise ConversionError(
            f"the '{kind}' in the file is not fitted", hint="fit it before saving it"
        ) from error
    except TypeError:
        return  # an estimator of a library that does not follow scikit-learn's conventions


def task_of(model: Any) -> Task:
    """Return what the model is for."""
    from sklearn import base

    if _is_catboost(model) and type(model).__name__ == "CatBoost":
        return "regressor"  # it calls itself a classifier by its loss, and answers sums
    kinds: tuple[tuple[Task, str], ...] = (
        *(("classifier", "is_classifier"), ("regressor", "is_regressor")),
        *(("outlier", "is_outlier_detector"), ("cluster", "is_clusterer")),
    )
    for task, test in kinds:
        own = getattr(model, "_estimator_type", None)
        found = getattr(base, test, None) if own is None and hasattr(model, "get_params") else None
        if own in {task, f"{task}er", f"{task}_detector"} or (found is not None and found(model)):
            if hasattr(model, "predict"):
                return task
            return "transformer"
    if _is_mixture(model):
        return "cluster"
    return "transformer" if hasattr(model, "transform") else "regressor"


def _has_probabilities(model: Any) -> bool:
    """Whether it can tell the probability of each class; Gaussian processes one against one say only when asked."""
    last = final(model)
    pairwise = getattr(last, "multi_class", "") == "one_vs_one" and len(last.classes_) > 2
    return hasattr(model, "predict_proba") and not pairwise


def _is_mixture(model: Any) -> bool:
    """Whether it tells the component from which a row comes, and the probability of each."""
    from sklearn import base

    return isinstance(final(model), base.DensityMixin) and hasattr(model, "predict_proba")


def _fitted_names(model: Any) -> list[Any] | None:
    """Return the names of the columns in the data frame of fitting; None where it was no frame."""
    names = getattr(model, "feature_names_in_", None)
    if names is None and _is_catboost(model):
        own = list(model.feature_names_)
        return own if own != [str(i) for i in range(len(own))] else None
    if names is None and type(model).__module__ == "lightgbm.sklearn":  # before LightGBM 4.5
        own = list(model.feature_name_)
        return own if own != [f"Column_{i}" for i in range(len(own))] else None
    if names is None and getattr(model, "steps", None):
        return _fitted_names(model.steps[0][1])
    return None if names is None else list(names)


def _words(model: Any, names: Sequence[Any]) -> set[Any]:
    """Return the columns that hold texts, as a model says of itself; CatBoost takes any category as one."""
    if is_text(model):
        return {"text"}
    if not _is_catboost(model):
        return set()
    places = (*model.get_cat_feature_indices(), *model.get_text_feature_indices())
    return {names[i] for i in places}


def _library(model: Any) -> Library | None:
    """Return the library of a booster that answers by itself, without steps before it."""
    return None if hasattr(model, "steps") else library_of(model)


def _is_catboost(model: Any) -> bool:
    return type(model).__module__ == "catboost.core"


def _first_step(model: Any) -> str:
    """Return the name of the class that is given the rows first."""
    model = getattr(model, "best_estimator_", model)
    return _first_step(model.steps[0][1]) if getattr(model, "steps", None) else type(model).__name__


def _names_in(model: Any) -> list[Any]:
    names = _fitted_names(model)
    if names is not None:
        return names
    if is_text(model):
        return ["text"]
    count = getattr(model, "n_features_in_", None)
    if _is_catboost(model):  # an opened one has forgotten that number
        count = len(model.feature_names_)
    return [f"x{i}" for i in range(int(count))] if count is not None else []


def _classes(model: Any) -> tuple[Value, ...] | None:
    if _is_mixture(model):
        return tuple(range(len(final(model).weights_)))
    classes = getattr(model, "classes_", None)
    if isinstance(classes, list):
        return None
    if classes is None or np.ndim(classes) != 1:
        raise ConversionError(f"the classes of '{type(model).__name__}' are no plain list")
    return tuple(_value(c) for c in np.asarray(classes).tolist())


def _labels(model: Any) -> tuple[tuple[Value, ...], ...]:
    """Return the classes of each label where several are answered at once."""
    classes = getattr(model, "classes_", None)
    if not isinstance(classes, list):
        return ()
    return tuple(tuple(_value(c) for c in np.asarray(one).tolist()) for one in classes)


def _value(value: Any) -> Value:
    return value if isinstance(value, str | bool | int | float) else str(value)


def _outputs(model: Any) -> int:
    last = final(model)
    count = getattr(last, "n_outputs_", None)
    if isinstance(count, int):
        return count
    shape = np.shape(getattr(last, "coef_", ()))
    return int(shape[0]) if len(shape) == 2 and getattr(last, "classes_", None) is None else 1


def _output_names(model: Any) -> tuple[str, ...]:
    """Return the names of a transformer's columns, where it knows them."""
    try:
        return tuple(str(name) for name in model.get_feature_names_out())
    except Exception:  # a step without names raises what it likes
        return ()


def _versions() -> Iterator[tuple[str, str]]:
    for name in _LIBRARIES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _steps(model: Any) -> Iterator[str]:
    inner = getattr(model, "best_estimator_", None)
    if inner is not None:
        yield type(model).__name__
        yield from _steps(inner)
    elif getattr(model, "steps", None):
        for _, step in model.steps:
            yield from _steps(step)
    elif model is not None and not isinstance(model, str):
        yield type(model).__name__


class Known(NamedTuple):
    """What an encoder knows of a column."""

    categories: tuple[Value, ...] | None = None
    unseen: bool = True
    none: bool = False
    """Whether None was its missing value in training, and not NaN."""


_UNKNOWN = Known()


def _categories(steps: Sequence[Met]) -> Iterator[tuple[Any, Known]]:
    """Yield the columns that meet an encoder: name, categories, unseen."""
    for one in steps:
        if hasattr(one.step, "categories_"):
            unseen = getattr(one.step, "handle_unknown", "") != "error"
            for name, values in zip(one.names, one.step.categories_, strict=False):
                none = one.none or any(v is None for v in values)
                yield name, Known(_listed(values), unseen, none)


def _together(found: Iterable[tuple[Any, Known]]) -> dict[Any, Known]:
    """Return what is known of each column; where several encoders meet it, one that refuses others decides."""
    known: dict[Any, Known] = {}
    for name, one in found:
        if one.unseen and not known.get(name, one).unseen:
            continue
        known[name] = one
    return known


def _framed(model: Any, names: Sequence[Any]) -> Iterator[tuple[Any, Known]]:
    """Yield the columns that a booster saw as pandas' dtype `category`: name, categories, unseen."""
    while getattr(model, "steps", None) and len(model.steps) == 1:
        model = model.steps[0][1]
    from cannery.conversions.onnx import lightgbm, xgboost  # they read what only the worker opens

    library = library_of(model)
    if library is None or library == "catboost":
        return
    reader = lightgbm if library == "lightgbm" else xgboost
    try:
        found = reader.frame_categories(model)
    except ConversionError:
        return  # emission says it again, where another runtime is tried
    for place, values in found.items():
        yield names[place], Known(_listed(values), library == "lightgbm")


def _listed(values: Any) -> tuple[Value, ...]:
    """Return the categories without the missing one, which `nullable` speaks of."""
    kept = (v for v in np.asarray(values).tolist() if v is not None and v == v)
    return tuple(_value(v) for v in kept)
