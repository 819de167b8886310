"""Our own protocol: a record or an array of records, answered by the same."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from cannery.errors import Issue, SchemaError
from cannery.serving.choices import ALL, NAMES, Answer, Choice, choose
from cannery.serving.issues import show
from cannery.serving.messages import JSON, Request, Response, json_response
from cannery.serving.operations import Operation, Question
from cannery.serving.schema import rows_of
from cannery.serving.service import Service
from cannery.signatures import Batch


def predict_operation(service: Service) -> Operation:
    """Return what `POST /predict` does; `?outputs=` and `?threshold=` choose."""

    def read(request: Request) -> Question:
        return question(request, *service.decode(request.body))

    def glance(request: Request) -> Question | None:
        plain = service.schema.plain(request.body)
        return None if plain is None else question(request, *plain)

    def question(request: Request, batch: Batch, single: bool) -> Question:
        choice = _choice(request.query, service) if request.query else ALL
        return Question(batch=batch, choice=choice, write=partial(_write, single))

    return Operation(read=read, glance=glance, takes=(JSON,), unfit=422)


def _write(single: bool, answer: Answer) -> Response:
    records = rows_of(answer)
    return json_response(records[0] if single else records, rows=len(records))


def _choice(query: str, service: Service) -> Choice:
    """Return what the query chooses; raises SchemaError."""
    chosen: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name in chosen:
            issue = Issue(path=f"?{name[:60]}", expected="one value", got="another one")
            raise SchemaError(str(issue), issues=(issue,))
        chosen[name] = _value(name, text)
    return choose(chosen, service.manifest.signature, "?")


def _value(name: str, text: str) -> Any:
    if name == NAMES[0]:
        return text.split(",")
    try:
        return float(text)
    except ValueError:
        return show(text)
