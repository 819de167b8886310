"""Requests and responses as plain nouns, between the socket and the handlers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from cannery.errors import Issue

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
"""What curl says of a body unless it is told otherwise."""

Headers = tuple[tuple[str, str], ...]

CLOSE: Headers = (("connection", "close"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request whose body has arrived."""

    content_type: str
    """Lower case, without parameters; '' where there is none."""
    charset: str
    """Lower case; '' where none is named."""
    encoding: str = ""
    """Content coding, lower case; '' where there is none."""
    body: bytes
    query: str = ""
    """What follows the question mark, as it was sent."""
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    """By lower-case name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer."""

    status: int = 200
    body: bytes
    content_type: str = JSON
    headers: Headers = ()
    rows: int = 0
    """Rows that were scored."""


def json_response(value: Any, status: int = 200, *, rows: int = 0) -> Response:
    """Return a value as JSON."""
    return Response(status=status, body=msgspec.json.encode(value), rows=rows)


def error_response(
    status: int,
    message: str,
    *,
    issues: tuple[Issue, ...] = (),
    headers: Headers = (),
    plain: bool = False,
) -> Response:
    """Return an error in the form that all errors have, or as the text that KServe's protocols know (`plain`)."""
    listed = [{"path": i.path, "expected": i.expected, "got": i.got} for i in issues]
    error = {"message": message, "issues": listed}
    document = {"error": message, "issues": listed} if plain else {"error": error}
    return Response(status=status, body=msgspec.json.encode(document), headers=headers)
