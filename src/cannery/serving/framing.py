"""What a head must say so that whoever stands between reads the same requests as we do (RFC 9112)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cannery.serving.messages import CLOSE, Response, error_response

_HOST = re.compile(rb"[A-Za-z0-9!$%&'()*+,\-.:;=\[\]_~]*\Z")
"""A name or an address, and perhaps a port (RFC 3986, section 3.2)."""


def is_host(value: bytes | None) -> bool:
    """Whether a head's `Host` names one."""
    return value is not None and _HOST.match(value) is not None


def misframed(version: str, headers: Sequence[tuple[bytes, bytes]]) -> Response | None:
    """Return the refusal of a request that could be taken for another one; the connection ends with it."""
    hosts = [value for name, value in headers if name == b"host"]
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if not hosts and version == "1.1":
        return _refused(400, "the request has no 'Host' header")
    if len(hosts) > 1 or not all(map(is_host, hosts)):
        return _refused(400, "the request's 'Host' header is not one host")
    if codings and version == "1.0":
        return _refused(400, "a request of HTTP/1.0 has no 'Transfer-Encoding'")
    if codings not in ([], [b"chunked"]):
        return _refused(501, "no transfer coding but 'chunked' is taken")
    return None


def _refused(status: int, message: str) -> Response:
    return error_response(status, message, headers=CLOSE)
