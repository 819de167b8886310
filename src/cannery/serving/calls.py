"""The Open Inference Protocol and the health protocol as remote calls: bytes in, a response out; knows no socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from cannery.errors import MalformedError
from cannery.serving.choices import Answer
from cannery.serving.http import Application
from cannery.serving.messages import Request, Response, error_response
from cannery.serving.open_inference import EXTENSION, model_metadata, read_question
from cannery.serving.operations import Operation, Question
from cannery.serving.protobufs import HEALTH, INFERENCE, MESSAGES, read, values_of, write
from cannery.serving.service import Service
from cannery.serving.tensors import DATATYPES, Tensor, read_tensor, write_bytes

SERVICE = f"{INFERENCE}.GRPCInferenceService"
HEALTH_SERVICE = f"{HEALTH}.Health"
SERVING, NOT_SERVING = 1, 2
_KNOWN = ("", SERVICE, HEALTH_SERVICE)
_CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Datatype → where its values are; FP16 are raw bytes alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One method of a service."""

    act: Callable[[Application, bytes], Awaitable[Response]]
    """Raises MalformedError for what is no message."""
    open: bool = False
    """Whether it needs no token."""


async def _live(_app: Application, _data: bytes) -> Response:
    return _reply("ServerLiveResponse", live=True)


async def _server_ready(app: Application, _data: bytes) -> Response:
    return _reply("ServerReadyResponse", ready=await is_ready(app))


async def _model_ready(app: Application, data: bytes) -> Response:
    asked = read("ModelRequest", data)
    if missing := _missing(app, asked.name, asked.version):
        return missing
    return _reply("ModelReadyResponse", ready=await is_ready(app))


async def _server_metadata(app: Application, _data: bytes) -> Response:
    version = app.desk.service.manifest.version
    return _reply("ServerMetadataResponse", name="cannery", version=version, extensions=[EXTENSION])


async def _model_metadata(app: Application, data: bytes) -> Response:
    asked = read("ModelRequest", data)
    if missing := _missing(app, asked.name, asked.version):
        return missing
    return _reply("ModelMetadataResponse", **model_metadata(app.desk.service))


async def _infer(app: Application, data: bytes) -> Response:
    asked = read("ModelInferRequest", data)
    if missing := _missing(app, asked.model_name, asked.model_version):
        return missing
    scoring = app.scoring
    operation = Operation(read=partial(_question, scoring.service, asked), takes=())
    request = Request(content_type="", charset="", body=data)
    return await scoring.respond(operation, request)


async def _health(app: Application, data: bytes) -> Response:
    name = read("HealthCheckRequest", data).service
    if name not in _KNOWN:
        return error_response(404, f"no service '{name[:60]}' here")
    return _reply("HealthCheckResponse", status=SERVING if await is_ready(app) else NOT_SERVING)


CALLS: Mapping[str, Mapping[str, Call]] = {
    SERVICE: {
        "ServerLive": Call(act=_live, open=True),
        "ServerReady": Call(act=_server_ready, open=True),
        "ModelReady": Call(act=_model_ready),
        "ServerMetadata": Call(act=_server_metadata),
        "ModelMetadata": Call(act=_model_metadata),
        "ModelInfer": Call(act=_infer),
    },
    HEALTH_SERVICE: {"Check": Call(act=_health, open=True)},
}
"""Service → method → what it does."""


async def is_ready(app: Application) -> bool:
    """Whether requests should be sent here; beside the loop, where the model is slow."""
    ready = app.desk.ready_now
    at_once = app.scoring.quick or app.scoring.hindrance
    return (ready() if at_once else await app.scoring.aside(ready)).healthy


def _reply(message: str, /, **fields: Any) -> Response:
    return Response(body=write(message, **fields))


def _missing(app: Application, name: str, version: str) -> Response | None:
    """Return the refusal of a model that is not the one that is served."""
    manifest = app.desk.service.manifest
    if name == manifest.name and version in ("", manifest.version):
        return None
    other = f"'{name[:60]}'" + (f" version '{version[:60]}'" if version else "")
    return error_response(404, f"no model {other} here, but '{manifest.name}'")


def _question(service: Service, asked: Any, request: Request) -> Question:
    """Return the question in a ModelInferRequest; raises MalformedError or SchemaError."""
    outputs = [{"name": o.name, "parameters": values_of(o.parameters)} for o in asked.outputs]
    parameters = values_of(asked.parameters)
    batch, choice, _ = read_question(service, request, _tensors(asked), parameters, outputs)
    raw = bool(asked.raw_input_contents)
    return Question(batch=batch, choice=choice, write=partial(_write, service, asked.id, raw))


def _tensors(asked: Any) -> list[Tensor]:
    """Return the inputs; either all of their values are raw bytes or none."""
    blobs = asked.raw_input_contents
    if not asked.inputs:
        raise MalformedError("'inputs' must be an array of tensors")
    if blobs and len(blobs) != len(asked.inputs):
        raise MalformedError(f"{len(blobs)} raw contents for {len(asked.inputs)} inputs")
    found = []
    for index, tensor in enumerate(asked.inputs):
        place = f"inputs[{index}]"
        document = {"name": tensor.name, "datatype": tensor.datatype, "shape": [*tensor.shape]}
        raw = None
        if blobs:
            raw = memoryview(blobs[index])
            document["parameters"] = {"binary_data_size": len(raw)}
        else:
            document["data"] = _values(tensor, place)
        found.append(read_tensor(document, place, raw)[0])
    return found


def _values(tensor: Any, place: str) -> list[Any]:
    """Return the values of a typed tensor."""
    field = _CONTENTS.get(tensor.datatype)
    filled = [declared.name for declared, _ in tensor.contents.ListFields()]
    if field is None or filled not in ([], [field]):
        wanted = field or "raw bytes"
        raise MalformedError(f"'{place}' has {', '.join(filled)[:60]}, not {wanted}")
    values = list(getattr(tensor.contents, field))
    if field != "bytes_contents":
        return values
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError as error:
        raise MalformedError(f"'{place}' has a text that is not UTF-8") from error


def _write(service: Service, identity: str, raw: bool, answer: Answer) -> Response:
    """Return the answer: raw bytes where the question was."""
    manifest = service.manifest
    types = {o.name: DATATYPES[o.type] for o in manifest.signature.outputs}
    reply = MESSAGES["ModelInferResponse"](
        model_name=manifest.name, model_version=manifest.version, id=identity
    )
    rows = 0
    for name, values in answer.items():
        rows = len(values)
        tensor = reply.outputs.add(name=name, datatype=types[name], shape=[rows])
        if raw:
            reply.raw_output_contents.append(write_bytes(values, types[name]))
        else:
            plain = values.tolist()
            if types[name] == "BYTES":
                plain = [str(value).encode() for value in plain]
            getattr(tensor.contents, _CONTENTS[types[name]]).extend(plain)
    return Response(body=reply.SerializeToString(), rows=rows)
