"""What stands before the routes: who may ask (a bearer token), and from which pages (CORS)."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from cannery.serving.messages import Headers, Response, error_response
from cannery.serving.pages import ASSETS

OPEN = frozenset(
    ("/livez", "/readyz", "/health", "/healthz", "/ping", "/v2/health/live", "/v2/health/ready")
)
"""Paths that need no token: orchestrators send none."""
PAGES = frozenset(("/", "/docs", *ASSETS))
"""Pages that hold nothing of the model and ask for the token themselves."""
_EXPOSED = "x-request-id, x-model-version, x-model-digest, retry-after"
_DAY = "86400"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Who may ask; by default everybody, and no foreign page."""

    token: str | None = None
    origins: frozenset[str] = frozenset()
    """Origins whose pages may read answers; `*` is every one."""
    open: frozenset[str] = OPEN

    def refuse(self, path: str, method: str, headers: Mapping[bytes, bytes]) -> Response | None:
        """Return what is answered before any route is asked: a preflight, or a 401."""
        if method == "OPTIONS" and b"access-control-request-method" in headers:
            return self._preflight(headers)
        if self.token is None or path in self.open:
            return None
        if path in PAGES and (path in ASSETS or b"text/html" in headers.get(b"accept", b"")):
            return None
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        if kind.lower() == b"bearer" and hmac.compare_digest(given.strip(), self.token.encode()):
            return None
        challenge = (("www-authenticate", 'Bearer realm="cannery"'),)
        return error_response(401, "a bearer token is needed here", headers=challenge)

    def shared(self, headers: Mapping[bytes, bytes]) -> Headers:
        """Return the headers that let the caller's page read the answer."""
        if not self.origins:
            return ()
        origin = headers.get(b"origin", b"").decode("latin-1")
        if "*" in self.origins:
            return (
                ("access-control-allow-origin", "*"),
                ("access-control-expose-headers", _EXPOSED),
            )
        if origin not in self.origins:
            return (("vary", "origin"),)
        return (
            ("access-control-allow-origin", origin),
            ("access-control-expose-headers", _EXPOSED),
            ("vary", "origin"),
        )

    def _preflight(self, headers: Mapping[bytes, bytes]) -> Response:
        origin = headers.get(b"origin", b"").decode("latin-1")
        if not self.origins or ("*" not in self.origins and origin not in self.origins):
            return error_response(403, "pages of other origins may not ask here")
        allowed = (
            ("access-control-allow-methods", "GET, HEAD, POST"),
            ("access-control-allow-headers", "authorization, content-type, x-request-id"),
            ("access-control-max-age", _DAY),
        )
        return Response(status=204, body=b"", headers=allowed)
