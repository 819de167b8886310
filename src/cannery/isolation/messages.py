"""What host and worker say to each other: typed messages in msgpack, each behind its length.

The host decodes nothing but these types: no pickle, no object that could bring code.
"""

from __future__ import annotations

import math
import struct
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from cannery.cans.manifest import Feed, Runtime
from cannery.conversions.nouns import Description, Obstacle
from cannery.errors import ConversionError, IsolationError
from cannery.signatures import Batch, Feature, Raw

HEADER = struct.Struct(">Q")
"""Length of the message that follows, in bytes."""

_DTYPES = {"double": np.dtype("<f8"), "long": np.dtype("<i8"), "boolean": np.dtype("|b1")}


class Array(msgspec.Struct, frozen=True, kw_only=True):
    """An array as plain values: raw little-endian bytes, or texts."""

    kind: Literal["double", "long", "boolean", "string"]
    shape: tuple[int, ...]
    data: bytes = b""
    texts: tuple[str, ...] = ()


def pack_array(array: NDArray[Any]) -> Array:
    """Return `array` as a message; raises ConversionError for values that are no number or text."""
    if array.dtype.kind == "O":
        array = _plain(array)
    if array.dtype.kind in "US":
        return Array(
            kind="string", shape=array.shape, texts=tuple(map(str, array.ravel().tolist()))
        )
    kinds: dict[str, Literal["double", "long", "boolean"]] = {
        "b": "boolean",
        "i": "long",
        "u": "long",
    }
    kind = kinds.get(array.dtype.kind, "double")
    if kind == "double" and array.dtype.kind != "f":
        raise ConversionError(f"the model answers values of the type '{array.dtype}'")
    data = np.ascontiguousarray(array, dtype=_DTYPES[kind]).tobytes()
    return Array(kind=kind, shape=array.shape, data=data)


def _plain(array: NDArray[np.object_]) -> NDArray[Any]:
    """Return an array of objects as one of texts or numbers, where all are of one kind."""
    values = array.ravel().tolist()
    if all(isinstance(value, str) for value in values):
        return np.array(values, dtype=str).reshape(array.shape)
    tight = np.array(values)
    if tight.dtype.kind not in "fiub":
        raise ConversionError("the model answers objects that are neither numbers nor texts")
    return tight.reshape(array.shape)


def unpack_array(message: Array) -> NDArray[Any]:
    """Return the array in a message; raises IsolationError when shape and content don't agree."""
    count = math.prod(message.shape)
    if len(message.shape) > 2 or any(n < 0 for n in message.shape):
        raise IsolationError(f"the worker answered an array of the shape {message.shape}")
    if message.kind == "string":
        array: NDArray[Any] = np.empty(len(message.texts), dtype=object)
        array[:] = message.texts
    else:
        dtype = _DTYPES[message.kind]
        if len(message.data) != count * dtype.itemsize:
            raise IsolationError("the worker answered an array that is shorter than its shape")
        array = np.frombuffer(message.data, dtype=dtype)
    if len(array) != count:
        raise IsolationError("the worker answered an array that is shorter than its shape")
    return array.reshape(message.shape)


class Rows(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A batch."""

    numbers: Array
    strings: Array


def pack_rows(batch: Batch) -> Rows:
    """Return a batch as a message."""
    texts = tuple(batch.strings.ravel().tolist())
    strings = Array(kind="string", shape=batch.strings.shape, texts=texts)
    return Rows(numbers=pack_array(batch.numbers), strings=strings)


def unpack_rows(message: Rows) -> Batch:
    """Return the batch in a message; raises IsolationError when it does not fit together."""
    numbers, strings = unpack_array(message.numbers), unpack_array(message.strings)
    if (
        (message.numbers.kind, message.strings.kind) != ("double", "string")
        or (numbers.ndim, strings.ndim) != (2, 2)
        or len(numbers) != len(strings)
    ):
        raise IsolationError("the worker answered rows whose blocks don't fit together")
    return Batch(numbers=numbers, strings=strings)


class Open(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Open a model that was handed over; answered by Opened."""

    format: Literal["pickle", "joblib", "skops", "catboost", "lightgbm", "xgboost"]
    digest: str
    names: tuple[str, ...]
    """Every dotted name that may be resolved."""
    descriptor: int
    """Of the memory that holds it: the worker has inherited it under this number."""


class Predict(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Ask the original; answered by Answer."""

    rows: Rows
    features: tuple[Feature, ...]


class ToOnnx(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Convert the original to ONNX; answered by Graph."""

    features: tuple[Feature, ...]
    name: str


class Write(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Write the original as the file of a runtime; answered by Written."""

    runtime: Runtime


class Hug(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Find rows on both sides of split thresholds; answered by Rows."""

    rows: Rows
    features: tuple[Feature, ...]
    cap: int
    seed: int


class Score(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Open the file of a runtime anew, as the service will, and ask it; answered by Answer."""

    runtime: Runtime
    data: bytes
    named: bool
    rows: Rows
    features: tuple[Feature, ...]
    tensors: tuple[str, ...]
    """The raw outputs to ask for."""


class Explain(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Say what stands in the way of ONNX; answered by Explained."""

    features: tuple[Feature, ...]


class Prefix(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Ask, and convert, the first steps of a pipeline alone; answered by Prefixed."""

    rows: Rows
    features: tuple[Feature, ...]
    length: int


Request = Explain | Prefix | Open | Predict | ToOnnx | Write | Hug | Score


class Opened(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The original is open."""

    description: Description


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What a model answered, by the name of the raw output."""

    raw: dict[str, Array]


class Graph(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An ONNX model and how it is fed."""

    data: bytes
    feeds: tuple[Feed, ...]


class Written(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The file of a runtime, and the types in it that skops does not trust by itself."""

    data: bytes
    trusted: tuple[str, ...] = ()


class Explained(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Every part of the model that can't be converted."""

    obstacles: tuple[Obstacle, ...]


class Prefixed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What the first steps answer, and the same as a graph."""

    columns: Array
    data: bytes
    feeds: tuple[Feed, ...]
    parts: tuple[tuple[str, int, int], ...] = ()
    """Of a column transformer: the columns, from and up to, that each of its parts answers."""


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The request failed; the worker goes on."""

    kind: Literal["conversion", "unsafe", "isolation"]
    message: str
    hint: str | None = None


Reply = Explained | Prefixed | Opened | Answer | Graph | Written | Rows | Failed


def pack_raw(raw: Raw) -> Answer:
    """Return a raw answer as a message."""
    return Answer(raw={name: pack_array(array) for name, array in raw.items()})


def unpack_raw(message: Answer) -> Raw:
    """Return the raw answer in a message."""
    return {name: unpack_array(array) for name, array in message.raw.items()}
