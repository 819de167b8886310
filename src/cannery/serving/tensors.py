"""The tensors of the Open Inference Protocol: their values out of JSON or raw bytes, and back."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cannery.errors import MalformedError
from cannery.serving.issues import show
from cannery.signatures import Kind

DATATYPES: dict[Kind, str] = {
    "double": "FP64",
    "long": "INT64",
    "boolean": "BOOL",
    "string": "BYTES",
}
"""What is offered for each type of a column."""
_WIRE = {
    "BOOL": "?",
    **{f"INT{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"UINT{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
    **{f"FP{8 * size}": f"<f{size}" for size in (2, 4, 8)},
}
"""How a datatype lies in raw bytes; BYTES are each preceded by their length."""
_NARROW = {"FP16": np.float16, "FP32": np.float32}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One input as it was sent."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: list[Any]
    """Flat, row after row."""


def read_tensor(document: Any, place: str, raw: memoryview | None) -> tuple[Tensor, int]:
    """Return a tensor and how many of the raw bytes it took; raises MalformedError."""
    if not isinstance(document, dict):
        raise MalformedError(f"'{place}' must be an object, not {show(document)}")
    if unknown := document.keys() - {"name", "shape", "datatype", "parameters", "data"}:
        raise MalformedError(f"'{place}' has an unknown key '{min(unknown)[:60]}'")
    name, datatype = document.get("name"), document.get("datatype")
    if not isinstance(name, str):
        raise MalformedError(f"'{place}.name' must be text, not {show(name)}")
    if datatype not in _WIRE and datatype != "BYTES":
        known = ", ".join([*_WIRE, "BYTES"])
        raise MalformedError(f"'{place}.datatype' must be one of {known}, not {show(datatype)}")
    shape = _shape(document.get("shape"), place)
    size = binary_size(document, place)
    if (size is None) == ("data" not in document):
        raise MalformedError(f"'{place}' must have either 'data' or a 'binary_data_size'")
    if size is None:
        values = _flat(document["data"], place)
        taken = 0
    else:
        if raw is None or size > len(raw):
            raise MalformedError(f"'{place}' names {size} bytes that are not in the body")
        values = _of_bytes(raw[:size], datatype, place)
        taken = size
    if len(values) != math.prod(shape):
        raise MalformedError(f"'{place}' has {len(values)} values for the shape {list(shape)}")
    if datatype in _NARROW and size is None:
        values = _narrowed(values, _NARROW[datatype])
    return Tensor(name=name, datatype=datatype, shape=shape, values=values), taken


def binary_size(document: Mapping[str, Any], place: str) -> int | None:
    """Return the number of raw bytes that a tensor announces; None where its values are in the JSON."""
    parameters = document.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise MalformedError(f"'{place}.parameters' must be an object")
    size = parameters.get("binary_data_size")
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
        raise MalformedError(
            f"'{place}.parameters.binary_data_size' must be a number of bytes, not {show(size)}"
        )
    return size


def write_bytes(values: NDArray[Any], datatype: str) -> bytes:
    """Return values as raw bytes."""
    if datatype != "BYTES":
        return values.astype(_WIRE[datatype]).tobytes()
    encoded = [str(value).encode() for value in values]
    return b"".join(struct.pack("<I", len(text)) + text for text in encoded)


def _shape(value: Any, place: str) -> tuple[int, ...]:
    whole = isinstance(value, list) and all(
        isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in value
    )
    if not whole or len(value) not in (1, 2):
        raise MalformedError(
            f"'{place}.shape' must be [rows] or [rows, columns], not {_list(value)}"
        )
    return tuple(value)


def _list(value: Any) -> str:
    return str(value)[:40] if isinstance(value, list) else show(value)


def _flat(data: Any, place: str) -> list[Any]:
    """Return the values of a flat array, or of an array of rows."""
    if not isinstance(data, list):
        raise MalformedError(f"'{place}.data' must be an array, not {show(data)}")
    if not any(isinstance(value, list) for value in data):
        return data
    if not all(isinstance(value, list) for value in data) or len({len(row) for row in data}) > 1:
        raise MalformedError(f"'{place}.data' has rows of different lengths")
    return [value for row in data for value in row]


def _of_bytes(raw: memoryview, datatype: str, place: str) -> list[Any]:
    if datatype == "BYTES":
        return list(_texts(raw, place))
    dtype = np.dtype(_WIRE[datatype])
    if len(raw) % dtype.itemsize:
        raise MalformedError(f"'{place}' has {len(raw)} bytes, no multiple of {dtype.itemsize}")
    if datatype == "BOOL" and any(byte > 1 for byte in raw):
        raise MalformedError(f"'{place}' has a byte that is neither true nor false")
    values: list[Any] = np.frombuffer(raw, dtype).tolist()
    return values


def _texts(raw: memoryview, place: str) -> Sequence[str]:
    found = []
    start = 0
    while start < len(raw):
        end = start + 4
        if end > len(raw):
            raise MalformedError(f"'{place}' ends within the length of a text")
        start, end = end, end + int.from_bytes(raw[start:end], "little")
        if end > len(raw):
            raise MalformedError(f"'{place}' ends within a text")
        try:
            found.append(str(raw[start:end], "utf-8"))
        except UnicodeDecodeError as error:
            raise MalformedError(f"'{place}' has a text that is not UTF-8") from error
        start = end
    return found


def _narrowed(values: list[Any], dtype: Any) -> list[Any]:
    """Return the numbers as the declared type holds them, so that JSON and raw bytes say the same."""
    with np.errstate(over="ignore"):  # infinity is refused with its place
        return [float(dtype(value)) if type(value) in (int, float) else value for value in values]
