"""The worker's own loop: one request, one reply, until the channel closes. Runs behind the fences."""

from __future__ import annotations

import functools
import io
import os
import sys
import tempfile
import warnings
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from cannery.blobs import digest_bytes
from cannery.cans.manifest import Runtime
from cannery.conversions.natives import serialised
from cannery.conversions.nouns import Description
from cannery.errors import CanneryError, ConversionError, IsolationError, UnsafeError
from cannery.isolation import messages as m
from cannery.isolation.chances import TIED, Chance, chances_of, hit
from cannery.isolation.describing import describe, steps_of
from cannery.isolation.handing import taken
from cannery.isolation.hugging import hug
from cannery.isolation.opening import open_bytes, untrusted_types
from cannery.serving.boosters import as_estimator
from cannery.serving.estimators import (
    EstimatorScorer,
    answer_of,
    estimator_scorer,
    is_text,
    table_of,
)
from cannery.signatures import Batch, Feature, Output, Raw, Signature

_TIE_BREAKER = (
    "its answer is no function of the row: give it a column that tells these points apart"
)


class Model:
    """An opened original and how it is asked."""

    def __init__(self, estimator: Any, description: Description) -> None:
        self.estimator = estimator
        self.description = description
        self._text = is_text(estimator)
        self._chances = tuple(chances_of(estimator))
        self._graph: bool | None = None

    def table(self, batch: Batch, features: tuple[Feature, ...]) -> Any:
        """Return the rows in the form in which the estimator was fitted."""
        known = self.description.columns
        if known and len(features) != len(known):
            raise ConversionError(f"the model takes {len(known)} columns, not {len(features)}")
        signature = Signature(features=features, outputs=())
        named = self.description.named or not (known or self._text)
        return table_of(batch, signature, named=named, text=self._text)

    def answer(self, batch: Batch, features: tuple[Feature, ...]) -> Raw:
        """Return the raw outputs of these rows; raises ConversionError when the model refuses them."""
        table = self.table(batch, features)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if reason := hit(self._left_to_chance(features), table):
                    hint = _TIE_BREAKER if reason == TIED else None
                    raise ConversionError(reason, hint=hint)
                return _one_each(self._asked(table), len(batch))
        except (CanneryError, MemoryError):
            raise
        except Exception as error:  # whatever an estimator raises
            if len(batch) == 1 and "1D array" in str(
                error
            ):  # its step forgets that a row is a table
                twice = self.answer(batch.take(np.zeros(2, dtype=np.intp)), features)
                return {name: values[:1] for name, values in twice.items()}
            told = (str(error).splitlines() or [""])[0]  # scikit-learn advises for paragraphs
            raise ConversionError(f"the model refuses: {type(error).__name__}: {told}") from error

    def _left_to_chance(self, features: tuple[Feature, ...]) -> tuple[Chance, ...]:
        """Return the parts to look at: where no graph is made of it, a steady one always answers the same."""
        if self._graph is None and any(c.steady for c in self._chances):
            self._graph = _becomes_graph(self.estimator, features)
        return tuple(c for c in self._chances if self._graph or not c.steady)

    def _asked(self, table: Any) -> Raw:
        match self.description.task:
            case "classifier" | "cluster" if self.description.probabilities:
                return {
                    "label": answer_of(self.estimator.predict(table), "label"),
                    "probabilities": _floats(self.estimator.predict_proba(table)),
                }
            case "outlier" if hasattr(self.estimator, "decision_function"):
                return {
                    "label": answer_of(self.estimator.predict(table), "label"),
                    "scores": _floats(self.estimator.decision_function(table)).reshape(-1),
                }
            case "classifier" | "outlier" | "cluster":
                return {"label": answer_of(self.estimator.predict(table), "label")}
            case "transformer":
                return {"columns": _floats(self.estimator.transform(table))}
            case _:
                return {"prediction": _floats(self.estimator.predict(table))}


def _one_each(raw: Raw, rows: int) -> Raw:
    """Return an answer for each row; some transformers forget that a single one is a table, too."""
    if rows == 1:
        raw = {name: v if len(v) == 1 else v.reshape(1, -1) for name, v in raw.items()}
    for values in raw.values():
        if len(values) != rows:
            raise ConversionError(f"the model answers {len(values)} rows where it is given {rows}")
    return raw


def _floats(value: Any) -> NDArray[np.float64]:
    try:
        return answer_of(value, "").astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ConversionError("the model answers columns that are not numbers") from error


class Worker:
    """Answers requests, one after the other; the first must be Open."""

    def __init__(self) -> None:
        self._model: Model | None = None
        self._names: frozenset[str] = frozenset()

    def reply(self, request: m.Request) -> m.Reply:
        """Return what a request gets; raises CanneryError."""
        if isinstance(request, m.Open):
            return self._open(request)
        if self._model is None:
            raise IsolationError("the worker was asked before it was given a model")
        model = self._model
        match request:
            case m.Predict():
                return m.pack_raw(model.answer(m.unpack_rows(request.rows), request.features))
            case m.ToOnnx():
                return _to_onnx(model.estimator, request)
            case m.Explain():
                return _explained(model, request.features)
            case m.Prefix():
                return _prefixed(model, request)
            case m.Write(runtime="skops"):
                return self._to_skops(model)
            case m.Write():
                return m.Written(data=serialised(model.estimator))
            case m.Hug():
                return _hug(model, request)
            case m.Score():
                scorer = self._reopened(
                    request.runtime,
                    request.data,
                    request.named,
                    request.features,
                    request.tensors,
                )
                return m.pack_raw(_scored(scorer, m.unpack_rows(request.rows)))

    def _open(self, request: m.Open) -> m.Opened:
        self._names = frozenset(request.names)
        data = taken(request.descriptor)
        estimator = open_bytes(
            data, format=request.format, digest=request.digest, names=self._names
        )
        estimator = as_estimator(estimator)
        self._model = Model(estimator, describe(estimator))
        return m.Opened(description=self._model.description)

    def _to_skops(self, model: Model) -> m.Written:
        import skops.io

        if not hasattr(model.estimator, "__sklearn_tags__") and model.description.library:
            raise ConversionError("skops holds estimators, and this is a plain booster")
        stream = io.BytesIO()
        try:
            skops.io.dump(model.estimator, stream)
        except Exception as error:  # what skops can't represent, it says in many classes
            raise ConversionError(f"skops can't hold the model: {error}") from error
        data = stream.getvalue()
        trusted = untrusted_types(data)
        missing = [name for name in trusted if name not in self._names]
        if missing:
            raise ConversionError(f"as skops it would need '{missing[0]}', which was not cleared")
        return m.Written(data=data, trusted=trusted)

    @functools.lru_cache(maxsize=1)  # noqa: B019 - the worker lives as long as its process
    def _reopened(
        self,
        runtime: Runtime,
        data: bytes,
        named: bool,
        features: tuple[Feature, ...],
        tensors: tuple[str, ...],
    ) -> EstimatorScorer:
        """Return the scorer that would serve this file; raises CanError when it can't."""
        if self._model is None:
            raise IsolationError("the worker was asked before it was given a model")
        told = self._model.description
        signature = Signature(
            features=features,
            outputs=tuple(
                Output(
                    name=tensor,
                    type="double",
                    tensor=tensor,
                    classes=told.classes if tensor == "label" else None,
                )
                for tensor in tensors
            ),
        )
        return estimator_scorer(
            data,
            signature,
            runtime=runtime,
            task=told.task,
            trusted=tuple(n for n in untrusted_types(data) if n in self._names)
            if runtime == "skops"
            else (),
            pickles=frozenset({digest_bytes(data)}),  # the sandbox is its boundary
            named=named,
        )


def _scored(scorer: EstimatorScorer, batch: Batch) -> Raw:
    """Return what the service would answer, in the types in which the original answers."""
    return {
        name: values if name == "label" else _floats(values)
        for name, values in scorer.score(batch).items()
    }


def _to_onnx(estimator: Any, request: m.ToOnnx) -> m.Graph:
    from cannery.conversions.onnx.convert import convert

    data, feeds = convert(estimator, request.features, request.name)
    return m.Graph(data=data, feeds=feeds)


def _becomes_graph(estimator: Any, features: tuple[Feature, ...]) -> bool:
    from cannery.conversions.onnx.convert import convert

    try:
        convert(estimator, features, "tried")
    except ConversionError:
        return False
    return True


def _explained(model: Model, features: tuple[Feature, ...]) -> m.Explained:
    from cannery.conversions.onnx.obstacles import obstacles

    return m.Explained(obstacles=tuple(obstacles(model.estimator, features)))


def _prefixed(model: Model, request: m.Prefix) -> m.Prefixed:
    from sklearn.pipeline import Pipeline

    from cannery.conversions.onnx.convert import convert

    batch = m.unpack_rows(request.rows)
    head = Pipeline(steps_of(model.estimator)[: request.length])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        columns = _floats(head.transform(model.table(batch, request.features)))
    data, feeds = convert(head, request.features, "prefix")
    parts = getattr(head.steps[-1][1], "output_indices_", {})
    return m.Prefixed(
        columns=m.pack_array(columns),
        data=data,
        feeds=feeds,
        parts=tuple((name, at.start or 0, at.stop or 0) for name, at in parts.items()),
    )


def _hug(model: Model, request: m.Hug) -> m.Rows:
    batch = m.unpack_rows(request.rows)
    if is_text(model.estimator):
        return m.pack_rows(batch.take(slice(0, 0)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = hug(
            model.estimator,
            batch,
            request.features,
            lambda rows: model.table(rows, request.features),
            cap=request.cap,
            seed=request.seed,
        )
    return m.pack_rows(found)


def _failed(error: Exception) -> m.Failed:
    """Return what the host is told of an error."""
    if isinstance(error, UnsafeError):
        return m.Failed(kind="unsafe", message=error.message, hint=error.hint)
    if isinstance(error, IsolationError):
        return m.Failed(kind="isolation", message=error.message, hint=error.hint)
    if isinstance(error, CanneryError):
        return m.Failed(kind="conversion", message=error.message, hint=error.hint)
    if isinstance(error, MemoryError):
        return m.Failed(
            kind="isolation",
            message="the model needs more memory than the worker may have",
            hint="raise the worker's limit of memory",
        )
    if isinstance(error, ModuleNotFoundError):
        return m.Failed(
            kind="conversion",
            message=f"the model needs the module '{error.name}', which the worker doesn't have",
            hint="record its package as name==version in the model's requirements.txt; code of a"
            " notebook or script has to become such a package",
        )
    return m.Failed(kind="conversion", message=f"the model failed: {type(error).__name__}: {error}")


def _read(stream: io.BufferedReader) -> bytes | None:
    """Return the next message's bytes, or None when the host has closed the channel."""
    header = stream.read(m.HEADER.size)
    if len(header) < m.HEADER.size:
        return None
    (length,) = m.HEADER.unpack(header)
    return stream.read(length)


class _Sampler(ModuleType):
    """Stands for the compiled samplers of old scipy, which open a file for their messages on import."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def _need_no_files() -> None:
    """Let old libraries be imported where nothing can be written; no estimator asks what is stood for."""
    tempfile.tempdir = "/nonexistent"  # some look for a folder
    try:
        old = tuple(map(int, version("scipy").split(".")[:2])) < (1, 14)
    except (PackageNotFoundError, ValueError):
        return
    if old:
        name = "scipy.stats._unuran.unuran_wrapper"
        sys.modules[name] = _Sampler(name)


def serve(source: int, sink: int) -> None:
    """Answer the requests that arrive on the descriptor `source` until it ends."""
    _need_no_files()
    worker = Worker()
    decoder = msgspec.msgpack.Decoder(m.Request)
    with os.fdopen(source, "rb") as requests, os.fdopen(sink, "wb") as replies:
        while (data := _read(requests)) is not None:
            reply: m.Reply
            try:
                reply = worker.reply(decoder.decode(data))
            except Exception as error:  # a worker lives on, and the host judges
                reply = _failed(error)
            answer = msgspec.msgpack.encode(reply)
            replies.write(m.HEADER.pack(len(answer)))
            replies.write(answer)
            replies.flush()
