"""What the service says of itself: JSON Schema and OpenAPI, made from the signature."""

from __future__ import annotations

import json
import math
from typing import Any

from cannery.serving.choices import takes_threshold
from cannery.serving.issues import WHOLE
from cannery.serving.service import Service
from cannery.signatures import LARGEST, NULL_STRING, Feature, Output, Signature, beyond

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REACHES = {"double": LARGEST, "long": WHOLE}
"""Magnitude of the largest number that is taken."""
_TYPES = {"double": "number", "long": "integer", "boolean": "boolean", "string": "string"}


def record_schema(signature: Signature) -> dict[str, Any]:
    """Return the JSON Schema of one record."""
    return {
        "type": "object",
        "properties": {f.name: _feature(f) for f in signature.features},
        "required": [f.name for f in signature.features],
        "additionalProperties": False,
    }


def answer_schema(signature: Signature) -> dict[str, Any]:
    """Return the JSON Schema of one answer."""
    return {
        "type": "object",
        "properties": {o.name: _output(o) for o in signature.outputs},
        "required": [o.name for o in signature.outputs],
        "additionalProperties": False,
    }


def json_schema(signature: Signature, title: str = "model") -> dict[str, Any]:
    """Return the JSON Schema of a request: a record or an array of records (`$defs/answer` for the rest)."""
    record = {"$ref": "#/$defs/record"}
    return {
        "$schema": DIALECT,
        "title": title,
        "oneOf": [record, {"type": "array", "items": record}],
        "$defs": {"record": record_schema(signature), "answer": answer_schema(signature)},
    }


def openapi(service: Service) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of this model, with its canary as the example."""
    manifest = service.manifest
    schemas = {
        "Record": record_schema(manifest.signature),
        "Answer": _chosen_answer(manifest.signature),
        "Error": _ERROR,
        "Health": _HEALTH,
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": manifest.name,
            "version": manifest.version,
            "description": f"A {manifest.task} served by Cannery: {service.digest}",
        },
        "paths": {
            "/predict": {"post": _predict(service)},
            "/invocations": {"post": _invocations()},
            "/score": {"post": _score()},
            **_kserve(manifest.name),
            **_open_inference(manifest.name, manifest.version),
            "/health": {"get": _health("The canary through the live predict path.")},
            "/readyz": {"get": _health("Whether requests should be sent here.")},
            "/livez": {"get": _get("Whether the process answers.")},
            "/ping": {"get": _health("The same as /health, for SageMaker.")},
            "/version": {"get": _get("Which model exactly.")},
            "/schema": {"get": _get("JSON Schema of a request.")},
            "/metrics": {"get": _get("Prometheus metrics.", "text/plain")},
        },
        "components": {"schemas": schemas},
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _one_or_many(name: str) -> dict[str, Any]:
    return {"oneOf": [_ref(name), {"type": "array", "items": _ref(name)}]}


def _json(schema: dict[str, Any], examples: dict[str, Any] | None = None) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": schema}
    if examples:
        content["examples"] = {name: {"value": value} for name, value in examples.items()}
    return {"application/json": content}


def _predict(service: Service) -> dict[str, Any]:
    signature = service.manifest.signature
    records, outputs = service.canary.records, service.canary.outputs
    asked = {"record": records[0], "records": list(records[:2])}
    answered = {"record": outputs[0], "records": list(outputs[:2])}
    return {
        "summary": "Score a record, or an array of records.",
        "operationId": "predict",
        "parameters": [
            _chosen("outputs", "Fields of the answer, with commas.", _fields(service)),
            *([_chosen("threshold", _THRESHOLD, _SHARE)] if takes_threshold(signature) else []),
        ],
        "requestBody": {"required": True, "content": _json(_one_or_many("Record"), asked)},
        "responses": {
            "200": {
                "description": "An answer for a record, an array of answers for an array.",
                "content": _json(_one_or_many("Answer"), answered),
            },
            **_errors(*_REFUSALS, "422"),
        },
    }


def _invocations() -> dict[str, Any]:
    form = _one_of("dataframe_records", "instances", "inputs")
    split = {
        "type": "object",
        "description": "`columns`, an array of names, and `data`, an array of rows.",
        "required": ["columns", "data"],
    }
    form["oneOf"].append(
        {"properties": {"dataframe_split": split}, "required": ["dataframe_split"]}
    )
    answers = {"type": "array", "items": _ref("Answer")}
    predictions = {"type": "object", "properties": {"predictions": answers}}
    asked = _asked(
        "Score by MLflow's protocol (also SageMaker's and Vertex AI's).", form, predictions
    )
    asked["requestBody"]["content"]["text/csv"] = {"schema": {"type": "string"}}
    return {"operationId": "invocations", **asked}


def _chosen(name: str, text: str, schema: dict[str, Any]) -> dict[str, Any]:
    form = {"style": "form", "explode": False} if schema["type"] == "array" else {}
    return {"name": name, "in": "query", "description": text, "schema": schema, **form}


def _chosen_answer(signature: Signature) -> dict[str, Any]:
    """Return the JSON Schema of one answer of which the caller may have chosen fields."""
    whole = answer_schema(signature)
    return {**{k: v for k, v in whole.items() if k != "required"}, "minProperties": 1}


def _fields(service: Service) -> dict[str, Any]:
    names = [o.name for o in service.manifest.signature.outputs]
    return {"type": "array", "minItems": 1, "uniqueItems": True, "items": {"enum": names}}


def _one_of(*names: str) -> dict[str, Any]:
    """Return the schema of an object with exactly one of these, an array of records."""
    rows = {"type": "array", "items": _ref("Record")}
    forms = [
        {"properties": {name: rows}, "required": [name], "additionalProperties": False}
        for name in names
    ]
    return {"type": "object", "oneOf": forms}


def _score() -> dict[str, Any]:
    form = _one_of("input_data", "data")
    return _asked(
        "Score as Azure Machine Learning does.",
        form,
        {"type": "array", "items": _ref("Answer")},
    )


def _kserve(name: str) -> dict[str, Any]:
    form = _one_of("instances", "inputs")
    answers = {"type": "array", "items": _ref("Answer")}
    predictions = {"type": "object", "properties": {"predictions": answers}}
    return {
        "/v1/models": {"get": _get("The one model.")},
        f"/v1/models/{name}": {"get": _state("Whether requests should be sent here.")},
        f"/v1/models/{name}:predict": {
            "post": _asked("Score by KServe's first protocol.", form, predictions)
        },
    }


def _open_inference(name: str, version: str) -> dict[str, Any]:
    tensors = {"type": "array", "items": {"type": "object"}}
    asked = {"type": "object", "properties": {"inputs": tensors}, "required": ["inputs"]}
    answered = {"type": "object", "properties": {"outputs": tensors}, "required": ["outputs"]}
    paths: dict[str, Any] = {
        "/v2": {"get": _get("The server.")},
        "/v2/health/live": {"get": _get("Whether the process answers.")},
        "/v2/health/ready": {"get": _state("Whether requests should be sent here.")},
    }
    model = f"/v2/models/{name}"
    for path in (model, f"{model}/versions/{version}"):
        paths[path] = {"get": _get("The model's tensors.")}
        paths[f"{path}/ready"] = {"get": _state("Whether requests should be sent here.")}
        summary = "Score by the Open Inference Protocol."
        paths[f"{path}/infer"] = {"post": _asked(summary, asked, answered)}
    return paths


def _asked(summary: str, form: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": _json(form)},
        "responses": {
            "200": {"description": "The answers, row by row.", "content": _json(answer)},
            **_errors(*_REFUSALS, form={}),
        },
    }


def _state(summary: str) -> dict[str, Any]:
    content = _json({"type": "object"})
    return {
        "summary": summary,
        "responses": {
            "200": {"description": "Yes.", "content": content},
            "503": {"description": "No.", "content": content},
        },
    }


def _health(summary: str) -> dict[str, Any]:
    content = _json(_ref("Health"))
    return {
        "summary": summary,
        "responses": {
            "200": {"description": "Yes.", "content": content},
            "503": {"description": "No, and why.", "content": content},
        },
    }


def _get(summary: str, kind: str = "application/json") -> dict[str, Any]:
    return {
        "summary": summary,
        "responses": {"200": {"description": "As asked.", "content": {kind: {"schema": {}}}}},
    }


_MEANINGS = {
    "400": "Not JSON, or a form that can't be read.",
    "408": "The body did not come in time.",
    "413": "The body is too large.",
    "415": "A content type that is not taken here.",
    "422": "Records that don't fit the schema: every issue with its path.",
    "500": "The model failed, or its answer can't be right.",
    "503": "Too many requests wait already; try again after the seconds that are named.",
    "504": "The model had no time for this request.",
}
_REFUSALS = ("400", "408", "413", "415", "500", "503", "504")
_THRESHOLD = "From which probability on the label is the second class."
_SHARE: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}


def _errors(*codes: str, form: dict[str, Any] | None = None) -> dict[str, Any]:
    content = _json(_ref("Error") if form is None else form)
    return {code: {"description": _MEANINGS[code], "content": content} for code in codes}


_ISSUE = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("path", "expected", "got")},
    "required": ["path", "expected", "got"],
}
_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "issues": {"type": "array", "items": _ISSUE},
            },
            "required": ["message", "issues"],
        }
    },
    "required": ["error"],
}
_HEALTH = {
    "type": "object",
    "properties": {"status": {"type": "string"}, "reason": {"type": "string"}},
    "required": ["status"],
}


def _feature(feature: Feature) -> dict[str, Any]:
    kind = _TYPES[feature.type]
    schema: dict[str, Any] = {"type": [kind, "null"] if feature.nullable else kind}
    if (reach := _REACHES.get(feature.type)) is not None:
        schema |= {"minimum": -reach, "maximum": reach}
    if feature.least is not None:
        edge = beyond(feature.least, -math.inf)
        schema |= {"minimum": feature.least} if edge is None else {"exclusiveMinimum": edge}
    if feature.most is not None:
        edge = beyond(feature.most, math.inf)
        schema |= {"maximum": feature.most} if edge is None else {"exclusiveMaximum": edge}
    if feature.type == "string":
        schema["not"] = {"const": NULL_STRING}
    if feature.categories is not None:
        if feature.unseen:
            schema["examples"] = list(feature.categories)
        else:
            schema["enum"] = [*feature.categories, *([None] if feature.nullable else [])]
    if feature.minimum is not None and feature.maximum is not None:
        schema["description"] = f"seen from {feature.minimum:g} to {feature.maximum:g}"
    return schema


def _output(output: Output) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": _TYPES[output.type]}
    if output.probability:
        schema |= {"minimum": 0, "maximum": 1}
        if output.classes:
            schema["description"] = f"probability of {output.classes[0]}"
    elif output.classes is not None:
        schema["enum"] = list(output.classes)
    if output.rank is not None:
        what = "its probability" if output.probability else "the class"
        schema["description"] = f"{what} in place {output.rank} of the most probable"
    if output.threshold is not None:
        of = "its value" if output.of is None else f"the probability of {output.of}"
        second = json.dumps((output.classes or (False, True))[1])
        schema["description"] = f"{second} where {of} is at least {output.threshold:g}"
    return schema
