"""The pages for people: static files, without a foreign asset, under a strict policy of content."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

from cannery.serving.messages import Headers, Request, Response

FOLDER = Path(__file__).with_name("page")
HTML = "text/html"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Headers = (
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-cache"),
    ("vary", "accept"),
)
ASSETS = {
    "/page.css": "text/css; charset=utf-8",
    "/page.js": "text/javascript; charset=utf-8",
    "/docs.js": "text/javascript; charset=utf-8",
    "/asking.js": "text/javascript; charset=utf-8",
}
"""Path → content type of what the pages load."""


def wants_page(request: Request) -> bool:
    """Whether the caller is a browser: programs ask for no HTML."""
    return HTML in request.headers.get(b"accept", b"").decode("latin-1")


@cache
def page(name: str, kind: str = f"{HTML}; charset=utf-8") -> Response:
    """Return a file of the folder; read when it is first asked for, so that no start waits for it."""
    body = (FOLDER / name).read_bytes()
    return Response(body=body, content_type=kind, headers=HEADERS)


def assets() -> dict[str, partial[Response]]:
    """Return path → handler for what the pages load."""
    return {path: partial(_asset, path[1:], kind) for path, kind in ASSETS.items()}


def _asset(name: str, kind: str, _request: Request) -> Response:
    return page(name, kind)
