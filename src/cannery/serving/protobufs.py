"""The messages of gRPC's two protocols, declared as data: no code has to be generated.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/open_inference_grpc.proto
https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from cannery.errors import MalformedError

INFERENCE = "inference"
HEALTH = "grpc.health.v1"

_DECLARED: Mapping[str, Mapping[str, str]] = {
    INFERENCE: {
        # A field after `or` is one of which at most one is set. A map is a list of its entries.
        "Value": "or bool bool_param = 1; or int64 int64_param = 2; or string string_param = 3; "
        "or double double_param = 4; or uint64 uint64_param = 5",
        "Parameter": "string key = 1; Value value = 2",
        "Contents": "many bool bool_contents = 1; many int32 int_contents = 2; "
        "many int64 int64_contents = 3; many uint32 uint_contents = 4; "
        "many uint64 uint64_contents = 5; many float fp32_contents = 6; "
        "many double fp64_contents = 7; many bytes bytes_contents = 8",
        "Tensor": "string name = 1; string datatype = 2; many int64 shape = 3; "
        "many Parameter parameters = 4; Contents contents = 5",
        "Wanted": "string name = 1; many Parameter parameters = 2",
        "About": "string name = 1; string datatype = 2; many int64 shape = 3",
        "ServerLiveResponse": "bool live = 1",
        "ServerReadyResponse": "bool ready = 1",
        "ServerMetadataResponse": "string name = 1; string version = 2; many string extensions = 3",
        "ModelRequest": "string name = 1; string version = 2",
        "ModelReadyResponse": "bool ready = 1",
        "ModelMetadataResponse": "string name = 1; many string versions = 2; string platform = 3; "
        "many About inputs = 4; many About outputs = 5",
        "ModelInferRequest": "string model_name = 1; string model_version = 2; string id = 3; "
        "many Parameter parameters = 4; many Tensor inputs = 5; many Wanted outputs = 6; "
        "many bytes raw_input_contents = 7",
        "ModelInferResponse": "string model_name = 1; string model_version = 2; string id = 3; "
        "many Parameter parameters = 4; many Tensor outputs = 5; many bytes raw_output_contents = 6",
    },
    HEALTH: {
        "HealthCheckRequest": "string service = 1",
        "HealthCheckResponse": "int32 status = 1",
    },
}
"""Package → message → its fields."""

_SCALARS = ("bool", "bytes", "double", "float", "int32", "int64", "string", "uint32", "uint64")


def _made(package: str) -> dict[str, Any]:
    """Return the classes of a package's messages, in a pool of its own: others may know them too."""
    file = FileDescriptorProto(name=package, package=package, syntax="proto3")
    for name, fields in _DECLARED[package].items():
        message = file.message_type.add(name=name)
        for words in map(str.split, fields.split(";")):
            *marks, kind, field, _, number = words
            declared = message.field.add(name=field, number=int(number))
            declared.label = FieldDescriptorProto.LABEL_OPTIONAL
            if "many" in marks:
                declared.label = FieldDescriptorProto.LABEL_REPEATED
            if "or" in marks:
                if not message.oneof_decl:
                    message.oneof_decl.add(name="of")
                declared.oneof_index = 0
            if kind in _SCALARS:
                declared.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
            else:
                declared.type = FieldDescriptorProto.TYPE_MESSAGE
                declared.type_name = f".{package}.{kind}"
    pool = DescriptorPool()
    pool.Add(file)
    names = _DECLARED[package]
    return {n: GetMessageClass(pool.FindMessageTypeByName(f"{package}.{n}")) for n in names}


MESSAGES: Mapping[str, Any] = {**_made(INFERENCE), **_made(HEALTH)}
"""Name → class."""


def read(name: str, data: bytes) -> Any:
    """Return the message in these bytes; raises MalformedError."""
    try:
        return MESSAGES[name].FromString(data)
    except DecodeError as error:
        raise MalformedError(f"the message is no {name}") from error


def write(name: str, /, **fields: Any) -> bytes:
    """Return a message as bytes."""
    return MESSAGES[name](**fields).SerializeToString()  # type: ignore[no-any-return]


def values_of(parameters: Any) -> dict[str, Any]:
    """Return parameters as plain values."""
    found = {}
    for parameter in parameters:
        kind = parameter.value.WhichOneof("of")
        found[parameter.key] = getattr(parameter.value, kind) if kind else None
    return found
