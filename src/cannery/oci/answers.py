"""What the answer of a registry says: its body within bounds, why it refuses, and how long to wait."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import httpx
import msgspec

from cannery.blobs import parse_json
from cannery.errors import CanneryError
from cannery.oci.documents import LIMIT

BUSY = frozenset({408, 416, 429, 500, 502, 503, 504})
"""Statuses that may be others the next time; 416 says that an upload is not where we took it to be."""


class TransientError(Exception):
    """Something that may go well the next time."""

    def __init__(self, error: CanneryError, pause: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.pause = pause
        """Seconds that the registry asked for."""


def read_body(response: httpx.Response) -> bytes:
    """Read a body that must be small, and close the response; one that is longer than LIMIT is cut off behind that."""
    body = bytearray()
    try:
        for chunk in response.iter_bytes(1 << 16):
            body += chunk
            if len(body) > LIMIT:
                break
    finally:
        response.close()
    return bytes(body)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the registry asks for, which it may also give as a date."""
    value = headers.get("Retry-After", "")
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def reason_of(body: bytes) -> str:
    """Return what the registry says is wrong, from the error document of the specification."""
    try:
        errors = parse_json(body, dict[str, object]).get("errors")
    except msgspec.MsgspecError:
        return ""
    first = errors[0] if isinstance(errors, list) and errors else None
    if not isinstance(first, dict):
        return ""
    words = [str(first.get(key))[:200] for key in ("code", "message") if first.get(key)]
    return f" ({': '.join(words)})" if words else ""
