"""Requests and responses as plain nouns, between the socket and the handlers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from cannery.errors import Issue

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
"""What curl says of a body unless it is told otherwise."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer."""

    status: int = 200
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    rows: int = 0
    """Rows that were scored."""


def json_response(value: Any, status: int = 200) -> Response:
    """Return a value as JSON."""
    return Response(status=status, body=msgspec.json.encode(value))


def error_response(
    status: int,
    message: str,
    *,
    issues: tuple[Issue, ...] = (),
    headers: tuple[tuple[str, str], ...] = (),
) -> Response:
    """Return an error in the one form that all errors have."""
    listed = [{"path": i.path, "expected": i.expected, "got": i.got} for i in issues]
    body = msgspec.json.encode({"error": {"message": message, "issues": listed}})
    return Response(status=status, body=body, headers=headers)
