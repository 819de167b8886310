"""Bounded downloads over HTTP with the standard library alone: it travels into the image."""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO

import msgspec

from cannery.addresses import bare, parts_of
from cannery.blobs import CHUNK
from cannery.errors import CanError, OutputError, SourceError, UnreachableError

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
DOCUMENT_LIMIT = 16 << 20
"""Bytes of the longest answer that is held in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom to believe, and how to name ourselves to them."""

    authority: str | None = None
    """File with certificates to trust, besides none other."""
    identity: str | None = None
    """File with a client certificate and its key."""
    verify: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A refused request: what the server said."""

    url: str
    """Who said it, after any redirects."""
    status: int
    headers: Mapping[str, str]
    body: bytes


class Refused(Exception):  # noqa: N818 - a word between modules, turned into ours by each of them
    """The server answered, but not with what was asked for."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"status {answer.status}")
        self.answer = answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """A client with one set of manners; it keeps no connection."""

    trust: Trust = Trust()
    opener: urllib.request.OpenerDirector = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "opener", _opener(self.trust))

    def document(self, url: str, headers: Mapping[str, str]) -> bytes:
        """Return an answer of at most DOCUMENT_LIMIT bytes.

        Raises Refused for any status but 200, UnreachableError where nobody answers in time.
        """
        with self._open(url, headers) as stream:
            data = stream.read(DOCUMENT_LIMIT + 1)
            _whole(stream, url, len(data) <= DOCUMENT_LIMIT)
        if len(data) > DOCUMENT_LIMIT:
            raise SourceError(f"'{bare(url)}' answers with more than {DOCUMENT_LIMIT} bytes")
        return bytes(data)

    def json(self, url: str, headers: Mapping[str, str]) -> Any:
        """Return a JSON answer; raises as `document` does, and SourceError for what is no JSON."""
        data = self.document(url, headers)
        try:
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise SourceError(
                f"'{bare(url)}' does not answer with JSON: {error}", hint="is the address right?"
            ) from error

    def save(
        self, url: str, headers: Mapping[str, str], path: Path, size: int, digest: str
    ) -> None:
        """Stream an answer into the new file `path`.

        Raises CanError when it has not this size and digest; otherwise as `document` does.
        """
        seen, taken = hashlib.sha256(), 0
        with self._open(url, headers) as stream, _new(path) as out:
            while taken <= size and (piece := stream.read(CHUNK)):
                taken += len(piece)
                seen.update(piece)
                _write(out, piece)
            _whole(stream, url, taken <= size)
        found = "sha256:" + seen.hexdigest()
        if taken != size or found != digest:
            more = "more than " if taken > size else ""
            raise CanError(
                f"'{bare(url)}' is not the file that was published: expected {digest} ({size} bytes),"
                f" got {found} ({more}{min(taken, size)} bytes)",
                hint="publish the can again; nothing of it was used",
            )

    def post(self, url: str, headers: Mapping[str, str], data: bytes) -> None:
        """Send a document.

        Raises SourceError for a refusal, UnreachableError where nobody answers in time.
        """
        try:
            with self._open(url, headers, data) as stream:
                stream.read(DOCUMENT_LIMIT)
        except Refused as refused:
            status = refused.answer.status
            raise SourceError(f"'{bare(url)}' refuses it with status {status}") from refused

    @contextmanager
    def _open(
        self, url: str, headers: Mapping[str, str], data: bytes | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        if parts_of(url).scheme not in ("http", "https"):
            raise SourceError(f"'{bare(url)}' is not an address on the web")
        request = urllib.request.Request(url, data=data)
        for name, value in headers.items():
            request.add_unredirected_header(name, value)
        try:
            with self.opener.open(request, timeout=CONNECT_SECONDS) as response:
                yield response
        except urllib.error.HTTPError as error:
            answer = _answer(error)
            if error.code >= 500:
                raise UnreachableError(f"'{bare(url)}' fails with status {error.code}") from error
            raise Refused(answer) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise UnreachableError(
                f"'{bare(url)}' does not answer: {_reason(error)}",
                hint="is the address right, and can this machine reach it?",
            ) from error


def _answer(error: urllib.error.HTTPError) -> Answer:
    try:
        body = b"" if error.fp is None or error.fp.closed else error.read(65_536)
    except (OSError, http.client.HTTPException):
        body = b""  # the status says enough
    finally:
        error.close()
    return Answer(url=error.url, status=error.code, headers=dict(error.headers.items()), body=body)


@contextmanager
def _new(path: Path) -> Iterator[BinaryIO]:
    """Open a new file; raises OutputError, lest a full disk look like a silent server."""
    try:
        stream = path.open("xb")
    except OSError as error:
        raise OutputError(f"can't write '{path}': {error.strerror}") from error
    with stream:
        yield stream


def _write(stream: BinaryIO, piece: bytes) -> None:
    try:
        stream.write(piece)
    except OSError as error:
        raise OutputError(f"can't write '{stream.name}': {error.strerror}") from error


def _whole(response: http.client.HTTPResponse, url: str, read_to_end: bool) -> None:
    """Raise UnreachableError when the server hung up before it had sent what it announced."""
    if read_to_end and response.length:
        raise UnreachableError(f"'{bare(url)}' broke off {response.length} bytes before the end")


def is_loopback(host: str) -> bool:
    """Tell whether a host (without port) is this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", error)
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({inner.verify_message})"
    if isinstance(inner, TimeoutError):
        return "it took too long"
    return str(getattr(inner, "strerror", None) or inner or type(inner).__name__)


class _Patient:
    """Connects within CONNECT_SECONDS and then waits up to READ_SECONDS for each piece."""

    sock: Any

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        self.sock.settimeout(READ_SECONDS)


class _Connection(_Patient, http.client.HTTPConnection):
    pass


class _SecureConnection(_Patient, http.client.HTTPSConnection):
    pass


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._tls = context

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req, context=self._tls)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from TLS to plain; who we are is told to the same host alone."""

    max_redirections = 5

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Any,
        newurl: str,
    ) -> urllib.request.Request | None:
        old, new = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        if new.scheme not in ("http", "https") or (old.scheme, new.scheme) == ("https", "http"):
            raise UnreachableError(
                f"'{bare(req.full_url)}' leads to '{bare(newurl)}', where we do not follow"
            )
        follow = super().redirect_request(req, fp, code, msg, headers, newurl)
        for name, value in req.unredirected_hdrs.items():
            same = (old.scheme, old.netloc) == (new.scheme, new.netloc)
            if follow is not None and (same or name.lower() != "authorization") and name != "Host":
                follow.add_unredirected_header(name, value)
        return follow


def _opener(trust: Trust) -> urllib.request.OpenerDirector:
    try:
        context = ssl.create_default_context(cafile=trust.authority)
        if trust.identity:
            context.load_cert_chain(trust.identity)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        file = trust.identity or trust.authority
        raise SourceError(f"the certificates in '{file}' can't be read: {error}") from error
    if not trust.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),  # HTTPS_PROXY and NO_PROXY, as everywhere
        _Http(),
        _Https(context),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    return opener
