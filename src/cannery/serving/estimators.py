"""Estimators behind the scorer's protocol: opened by skops, from types that the can lists, or boosters."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cannery.errors import CanError, ProofError, SchemaError
from cannery.serving.boosters import open_booster
from cannery.serving.natives import native_problem
from cannery.serving.pickles import open_pickle
from cannery.signatures import NULL_STRING, Batch, Feature, Raw, Signature

METHODS = {
    "label": "predict",
    "prediction": "predict",
    "probabilities": "predict_proba",
    "scores": "decision_function",
    "columns": "transform",
}
"""Which method answers which raw output."""


_HAND_ON = ("Voting", "Stacking", "OneVsRest", "MultiOutput")
"""Beginnings of the names of ensembles whose members take the rows as they come."""


class EstimatorScorer:
    """A fitted estimator."""

    __slots__ = ("_before", "_calls", "_last", "_named", "_signature", "_text")

    def __init__(
        self, estimator: Any, signature: Signature, *, task: str = "classifier", named: bool = False
    ) -> None:
        """Choose the methods to call; raises CanError when the estimator lacks one."""
        self._signature = signature
        self._named = named
        self._text = is_text(estimator)
        self._calls = {o.tensor: _method(o.tensor, task) for o in signature.outputs}
        for tensor, method in self._calls.items():
            if not hasattr(estimator, method):
                kind = type(estimator).__name__
                raise CanError(f"the output '{tensor}' needs '{method}', which {kind} has not")
        several = len(set(self._calls.values())) > 1
        self._before, self._last = _apart(estimator) if several else ((), estimator)

    def score(self, batch: Batch) -> Raw:
        """Return one array for each raw output, [rows] or [rows, columns]."""
        table = table_of(batch, self._signature, named=self._named, text=self._text)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # unseen categories and the like, once per request
                for step in self._before:
                    table = step.transform(table)
                return {
                    tensor: answer_of(getattr(self._last, method)(table), tensor)
                    for tensor, method in self._calls.items()
                }
        except Exception as error:  # whatever an estimator raises
            place = type(error).__name__
            raise ProofError(f"the estimator failed on {len(batch)} rows: {place}") from error


def _apart(estimator: Any) -> tuple[tuple[Any, ...], Any]:
    """Return what a pipeline does first, whatever it is asked, and its last step: several answers share the former."""
    kind = type(estimator)
    if (kind.__module__, kind.__name__) != ("sklearn.pipeline", "Pipeline"):
        return (), estimator
    *first, last = (step for _, step in estimator.steps)
    more, last = _apart(last)
    return (*(step for step in first if step not in (None, "passthrough")), *more), last


def estimator_scorer(
    data: bytes,
    signature: Signature,
    *,
    runtime: str = "skops",
    task: str,
    trusted: tuple[str, ...] = (),
    pickles: frozenset[str] = frozenset(),
    named: bool = False,
) -> EstimatorScorer:
    """Open the file of a runtime; raises CanError when it can't be opened.

    skops makes the types that are listed as `trusted`, and no other that it does not know itself;
    a pickle is opened if its digest is among `pickles`.
    """
    if runtime == "skops":
        estimator = _of_skops(data, trusted)
    elif runtime == "pickle":
        estimator = open_pickle(data, pickles)
    else:
        classes = next(
            (o.given or o.classes for o in signature.outputs if o.tensor == "label"), None
        )
        estimator = open_booster(data, runtime, classes)
    return EstimatorScorer(estimator, signature, task=task, named=named)


def _of_skops(data: bytes, trusted: tuple[str, ...]) -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise CanError(
            "a can with the skops runtime needs skops and scikit-learn here",
            hint="install what its can.json lists under 'requirements'",
        ) from error
    try:
        estimator = skops.io.loads(data, trusted=list(trusted))
    except (
        Exception
    ) as error:  # UntrustedTypesFoundException, BadZipFile, and what constructors raise
        brief = str(error).partition("\n")[0][:300]
        raise CanError(f"skops can't open the model: {brief}") from error
    if problem := native_problem(estimator):
        raise CanError(f"the model would read memory that is not its own: {problem}")
    return estimator


def table_of(batch: Batch, signature: Signature, *, named: bool, text: bool = False) -> Any:
    """Return the rows as the estimator saw them in training.

    A data frame where it was fitted with names, a sequence of texts where it reads `text`, else an
    array of [rows, features]. A missing string is NaN, as pandas hands it to scikit-learn, or None where it was in training.
    """
    if named:
        import pandas as pd  # only where the estimator asks for names

        columns = _columns(batch, signature)
        nones = {
            f.name: pd.Series(columns[f.name], dtype=object) for f in signature.features if f.none
        }
        return pd.DataFrame(columns | nones, index=range(len(batch)), columns=list(columns))
    if text:
        return np.where(batch.strings[:, 0] == NULL_STRING, np.nan, batch.strings[:, 0])
    if not signature.strings:
        return batch.numbers
    values = np.empty((len(batch), len(signature.features)), dtype=object)
    for index, column in enumerate(_columns(batch, signature).values()):
        values[:, index] = column
    return values


def is_text(model: Any) -> bool:
    """Whether the model takes a plain sequence of texts instead of a table."""
    names = {cls.__name__ for cls in type(model).__mro__}
    return bool(names & {"CountVectorizer", "HashingVectorizer"}) or any(
        map(is_text, _first(model))
    )


def _first(model: Any) -> list[Any]:
    """Return the estimators that a pipeline, a union, a search or an ensemble hands its rows to as they come."""
    if getattr(model, "steps", None):
        return [model.steps[0][1]]
    if getattr(model, "transformer_list", None):
        return [part for _, part in model.transformer_list]
    members = [*members_of(model), getattr(model, "estimator_", None)]
    if type(model).__name__.startswith("OneVsOne"):
        members += model.estimators_
    return [part for part in members if hasattr(part, "get_params")]


def members_of(model: Any) -> list[Any]:
    """Return those to whom a search of parameters, a calibration, a vote or a stack hands its rows as they come."""
    best = getattr(model, "best_estimator_", None)
    calibrated = [one.estimator for one in getattr(model, "calibrated_classifiers_", ())]
    members = model.estimators_ if type(model).__name__.startswith(_HAND_ON) else ()
    return [*([] if best is None else [best]), *calibrated, *members]


def _columns(batch: Batch, signature: Signature) -> dict[str, NDArray[Any]]:
    """Return each feature's column in its own dtype, in the signature's order."""
    numbers = {f.name: batch.numbers[:, i] for i, f in enumerate(signature.numbers)}
    strings = {f.name: batch.strings[:, i] for i, f in enumerate(signature.strings)}
    columns: dict[str, NDArray[Any]] = {}
    for feature in signature.features:
        if feature.categorical:
            block = strings if feature.type == "string" else numbers
            columns[feature.name] = _categorical(block[feature.name], feature)
            continue
        if feature.type == "string":
            column = strings[feature.name]
            null = column == NULL_STRING
            missing: Any = None if feature.none else np.nan
            columns[feature.name] = np.where(null, missing, column) if null.any() else column
            continue
        values = numbers[feature.name]
        if feature.type == "double" or np.isnan(values).any():
            columns[feature.name] = values
        else:
            columns[feature.name] = values.astype(bool if feature.type == "boolean" else np.int64)
    return columns


def _categorical(values: NDArray[Any], feature: Feature) -> Any:
    """Return a column of pandas' dtype `category` with the categories of fitting; others are missing."""
    import pandas as pd  # such a model was fitted on a frame

    categories = list(feature.categories or ())
    if not feature.unseen:
        null = values == NULL_STRING if feature.type == "string" else np.isnan(values)
        outside = ~(null | pd.Series(values).isin(categories).to_numpy())
        if outside.any():
            raise SchemaError(f"a value of '{feature.name}' is none of its categories")
    return pd.Categorical(values, categories=categories)


def _method(tensor: str, task: str) -> str:
    if tensor not in METHODS:
        raise CanError(f"no estimator answers the raw output '{tensor}'")
    return "transform" if task == "transformer" else METHODS[tensor]


def answer_of(value: Any, tensor: str) -> NDArray[Any]:
    """Return an answer as an array, also of the sparse matrices and frames that transformers answer.

    Labels are [rows]: CatBoost answers a column of them where there are several classes. The
    probabilities of several labels at once, a list, stand side by side.
    """
    if isinstance(value, list):
        value = np.concatenate(value, axis=1)
    array = np.asarray(value.toarray() if hasattr(value, "toarray") else value)
    return array[:, 0] if tensor == "label" and array.shape[1:] == (1,) else array
