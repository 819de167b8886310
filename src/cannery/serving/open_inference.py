"""The Open Inference Protocol (v2) over REST: a tensor for each feature in, one for each field out.

https://kserve.github.io/open-inference-protocol/ with the extension for binary tensor data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from cannery.errors import Issue, MalformedError, SchemaError
from cannery.serving.choices import Answer, Choice, choose
from cannery.serving.issues import show
from cannery.serving.messages import JSON, Request, Response
from cannery.serving.operations import Operation, Question
from cannery.serving.schema import check_rows, parse
from cannery.serving.service import Service
from cannery.serving.tensors import DATATYPES, Tensor, read_tensor, write_bytes
from cannery.signatures import Batch, Feature, Signature

BINARY = "application/octet-stream"
HEADER_LENGTH = "inference-header-content-length"
EXTENSION = "binary_tensor_data"
_REQUEST = frozenset({"id", "parameters", "inputs", "outputs"})
_NAMED = 60


def infer_operation(service: Service) -> Operation:
    """Return what `POST /v2/models/NAME/infer` does."""
    return Operation(read=partial(_read, service), takes=(JSON, BINARY), plain=True)


def model_metadata(service: Service) -> dict[str, Any]:
    """Return the model's metadata: a tensor of [rows] for each feature and each answered field."""
    manifest = service.manifest
    signature = manifest.signature

    def tensors(columns: Any) -> list[dict[str, Any]]:
        return [{"name": c.name, "datatype": DATATYPES[c.type], "shape": [-1]} for c in columns]

    return {
        "name": manifest.name,
        "versions": [manifest.version],
        "platform": f"cannery_{manifest.runtime}",
        "inputs": tensors(signature.features),
        "outputs": tensors(signature.outputs),
    }


def _read(service: Service, request: Request) -> Question:
    """Return the question in a request; raises MalformedError, or SchemaError with every issue."""
    head, raw = _parted(request)
    document = parse(head)
    if not isinstance(document, dict):
        raise MalformedError("the body must be an object with 'inputs'")
    if unknown := document.keys() - _REQUEST:
        raise MalformedError(f"the body has an unknown key '{min(unknown)[:_NAMED]}'")
    identity = document.get("id")
    if identity is not None and not isinstance(identity, str):
        raise MalformedError(f"'id' must be text, not {show(identity)}")
    parameters = _object(document.get("parameters"), "parameters")
    tensors = _tensors(document.get("inputs"), raw)
    outputs = document.get("outputs")
    batch, choice, binary = read_question(service, request, tensors, parameters, outputs)
    write = partial(_write, service, identity, binary)
    return Question(batch=batch, choice=choice, write=write)


def read_question(
    service: Service,
    request: Request,
    tensors: list[Tensor],
    parameters: Mapping[str, Any],
    outputs: Any,
) -> tuple[Batch, Choice, frozenset[str]]:
    """Return the rows, what is chosen of their answer, and the fields that are to come as raw bytes.

    Raises MalformedError, or SchemaError with every issue.
    """
    signature = service.manifest.signature
    check_rows(_rows(tensors), len(request.body))
    records = _records(tensors, signature)
    names, binary = _outputs(outputs, signature, parameters)
    chosen = {"outputs": names, "threshold": parameters.get("threshold")}
    choice = choose(chosen, signature, "parameters.")
    return service.encode(records), choice, binary


def _parted(request: Request) -> tuple[bytes, memoryview | None]:
    """Return the JSON and the raw bytes behind it, where the header says that there are any."""
    given = request.headers.get(HEADER_LENGTH.encode())
    if given is None:
        return request.body, None
    if not (given.isdigit() and len(given) < 12 and int(given) <= len(request.body)):
        raise MalformedError(f"the header {HEADER_LENGTH} is no length within the body")
    length = int(given)
    return request.body[:length], memoryview(request.body)[length:]


def _tensors(inputs: Any, raw: memoryview | None) -> list[Tensor]:
    if not isinstance(inputs, list) or not inputs:
        raise MalformedError("'inputs' must be an array of tensors")
    found = []
    for index, document in enumerate(inputs):
        tensor, taken = read_tensor(document, f"inputs[{index}]", raw)
        raw = raw[taken:] if raw is not None else None
        found.append(tensor)
    if raw:
        raise MalformedError(f"the body has {len(raw)} raw bytes that belong to no tensor")
    return found


def _rows(tensors: list[Tensor]) -> int:
    """Return their rows; raises MalformedError for an input that appears twice, or one of another length."""
    names: set[str] = set()
    for tensor in tensors:
        if tensor.name in names:
            raise MalformedError(f"the input '{tensor.name[:_NAMED]}' appears twice")
        names.add(tensor.name)
    rows = {tensor.shape[0] for tensor in tensors}
    if len(rows) > 1:
        raise MalformedError(f"the inputs have different numbers of rows: {sorted(rows)}")
    return rows.pop()


def _records(tensors: list[Tensor], signature: Signature) -> list[dict[str, Any]]:
    """Return the rows: from a tensor for each feature, or one of all features in their order."""
    first = tensors[0]
    names = [f.name for f in signature.features]
    if len(tensors) == 1 and first.name not in names and first.shape[1:] == (len(names),):
        _fitting(first, signature.features, 0)
        width = len(names)
        return [
            dict(zip(names, first.values[start : start + width], strict=True))
            for start in range(0, len(first.values), width)
        ]
    known = {f.name: f for f in signature.features}
    columns = {}
    for index, tensor in enumerate(tensors):
        if math.prod(tensor.shape[1:]) != 1:
            expected = "[rows] or [rows, 1]"
            _refuse(f"inputs[{index}].shape", expected, str(list(tensor.shape)))
        feature = known.get(tensor.name)
        _fitting(tensor, (feature,) if feature else (), index)
        void = feature is not None and feature.nullable and tensor.datatype.startswith("FP")
        columns[tensor.name] = [
            None if void and value != value else value for value in tensor.values
        ]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _fitting(tensor: Tensor, features: tuple[Feature, ...], index: int) -> None:
    """Raise SchemaError where the datatype can't hold what these features take."""
    for feature in features:
        wanted = DATATYPES[feature.type]
        numeric = wanted in ("FP64", "INT64")
        fits = tensor.datatype not in ("BOOL", "BYTES") if numeric else tensor.datatype == wanted
        if not fits:
            expected = f"{wanted} for '{feature.name[:_NAMED]}'"
            _refuse(f"inputs[{index}].datatype", expected, tensor.datatype)


def _refuse(path: str, expected: str, got: str) -> None:
    issue = Issue(path=path, expected=expected, got=got)
    raise SchemaError(str(issue), issues=(issue,))


def _outputs(
    outputs: Any, signature: Signature, parameters: Mapping[str, Any]
) -> tuple[list[str] | None, frozenset[str]]:
    """Return the chosen fields (None: all), and those whose values are to come as raw bytes."""
    everywhere = _flag(parameters.get("binary_data_output"), "parameters.binary_data_output")
    every = frozenset(o.name for o in signature.outputs)
    if not outputs:
        return None, every if everywhere else frozenset()
    if not isinstance(outputs, list):
        raise MalformedError(f"'outputs' must be an array, not {show(outputs)}")
    names: list[str] = []
    binary: set[str] = set()
    for index, document in enumerate(outputs):
        place = f"outputs[{index}]"
        name = str(_object(document, place).get("name"))
        if name not in every:
            _refuse(f"{place}.name", f"one of {', '.join(sorted(every)[:20])}", show(name))
        asked = _object(document.get("parameters"), f"{place}.parameters").get("binary_data")
        if everywhere if asked is None else _flag(asked, f"{place}.parameters.binary_data"):
            binary.add(name)
        names.append(name)
    return names, frozenset(binary)


def _flag(value: Any, place: str) -> bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    raise MalformedError(f"'{place}' must be true or false, not {show(value)}")


def _object(value: Any, place: str) -> Mapping[str, Any]:
    if value is None or isinstance(value, dict):
        return value or {}
    raise MalformedError(f"'{place}' must be an object, not {show(value)}")


def _write(
    service: Service, identity: str | None, binary: frozenset[str], answer: Answer
) -> Response:
    types = {o.name: DATATYPES[o.type] for o in service.manifest.signature.outputs}
    outputs, blobs, rows = [], [], 0
    for name, values in answer.items():
        rows = len(values)
        tensor: dict[str, Any] = {"name": name, "datatype": types[name], "shape": [rows]}
        if name in binary:
            blobs.append(write_bytes(values, types[name]))
            tensor["parameters"] = {"binary_data_size": len(blobs[-1])}
        else:
            tensor["data"] = values.tolist()
        outputs.append(tensor)
    manifest = service.manifest
    document = {"model_name": manifest.name, "model_version": manifest.version}
    head = msgspec.json.encode(
        {**document, **({"id": identity} if identity is not None else {}), "outputs": outputs}
    )
    if not blobs:
        return Response(body=head, rows=rows)
    length = ((HEADER_LENGTH, str(len(head))),)
    body = b"".join([head, *blobs])
    return Response(body=body, content_type=BINARY, headers=length, rows=rows)
