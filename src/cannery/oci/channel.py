"""Requests to one registry: who we are, patience, and what a refusal means."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx

from cannery.blobs import CHUNK
from cannery.errors import CanneryError, RegistryError, UnreachableError, said
from cannery.oci.answers import BUSY, TransientError, read_body, reason_of, retry_after
from cannery.oci.auth import Credentials
from cannery.oci.contents import Span
from cannery.oci.documents import LIMIT
from cannery.oci.tokens import Authorizer, is_loopback, login_hint

_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
Result = TypeVar("Result")
Body = bytes | Span | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryOptions:
    """How patient the client is, and whether it may speak without encryption."""

    plain: bool | None = None
    """Plain HTTP. None: only to this machine's own loopback address."""
    attempts: int = 4
    reconnects: int = 7
    """Attempts where a registry that has answered before does not: it may be starting again."""
    pause: float = 0.25
    """Seconds before the second attempt; doubled before each further one."""
    longest_pause: float = 30.0
    """Seconds that a registry's `Retry-After` is honoured at most."""
    connect: float = 10.0
    """Seconds to wait for a connection."""
    answer: float = 120.0
    """Seconds to wait for the next bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, as often as it has to be sent."""

    method: str
    address: str | httpx.URL
    """Relative to `/v2/`, or absolute."""
    repository: str
    accepted: tuple[int, ...]
    """The statuses that mean success."""
    headers: Mapping[str, str] = field(default_factory=dict)
    content: Body = None
    """Bytes, or a part of some content that is streamed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the registry said, its body read and bounded."""

    status: int
    headers: httpx.Headers
    body: bytes
    url: httpx.URL


class Channel:
    """The connections to one registry."""

    def __init__(
        self, host: str, credentials: Credentials | None, options: RegistryOptions
    ) -> None:
        self.host = host
        self.options = options
        bare = httpx.URL(f"http://{host}").host
        plain = is_loopback(bare) if options.plain is None else options.plain
        self.base = httpx.URL(f"{'http' if plain else 'https'}://{host}/v2/")
        self._met = False
        """Whether it has ever answered."""
        self._authorizer = Authorizer(registry=host, credentials=credentials)
        self._client = httpx.Client(
            timeout=httpx.Timeout(options.answer, connect=options.connect),
            verify=False if plain else _trust(host),
            trust_env=not is_loopback(bare),  # no proxy stands before this machine itself
            # Blobs travel as they are: nothing is to be compressed on the way, and unpacked here.
            headers={"User-Agent": "cannery", "Accept-Encoding": "identity"},
        )

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def ask(self, request: Request) -> Answer:
        """Send a request, several times if need be; raises RegistryError or UnreachableError."""
        return self.retrying(lambda: self.once(request))

    def retrying(self, action: Callable[[], Result]) -> Result:
        """Do something that may raise TransientError until it goes well or patience ends."""
        attempt = 0
        while True:
            try:
                return action()
            except TransientError as trouble:
                attempt += 1
                if attempt >= self._most(trouble):
                    raise trouble.error from trouble
                time.sleep(self.pause(attempt, trouble))

    def _most(self, trouble: TransientError) -> int:
        gone = self._met and isinstance(trouble.error, UnreachableError)
        return max(self.options.attempts, self.options.reconnects if gone else 0)

    def pause(self, attempt: int, trouble: TransientError) -> float:
        """Return the seconds to wait after a failed attempt (from 1): what the registry asks for, else ever longer."""
        own = self.options.pause * 2 ** (attempt - 1)
        wanted = own if trouble.pause is None else trouble.pause
        return min(wanted, self.options.longest_pause)

    def once(self, request: Request) -> Answer:
        """Send a request once; raises TransientError when it may be sent again."""
        try:
            return self._accepted(self._send(request), request)
        except httpx.HTTPError as error:
            raise self._trouble(error) from error
        except OSError as error:
            raise RegistryError(f"can't read '{error.filename}': {error.strerror}") from error

    def stream(self, request: Request) -> Iterator[bytes]:
        """Yield the body in pieces; raises TransientError when it may be asked for again."""
        try:
            response = self._send(request)
            try:
                if response.status_code not in request.accepted:
                    self._accepted(response, request)
                yield from response.iter_bytes(CHUNK)
            finally:
                response.close()
        except httpx.HTTPError as error:
            raise self._trouble(error) from error

    def _send(self, request: Request) -> httpx.Response:
        """Send one request, and once more when the registry asks who we are."""
        url = self.base.join(request.address)
        # Our name is told to the registry alone, not to where it may send uploads or redirect us.
        own = self._is_own(url)
        self._check_encrypted(url)
        reading = request.method in ("GET", "HEAD")
        scope = f"repository:{request.repository}:{'pull' if reading else 'pull,push'}"

        def send(login: dict[str, str]) -> httpx.Response:
            built = self._client.build_request(
                request.method,
                url,
                headers={**request.headers, **login},
                content=request.content.pieces()
                if isinstance(request.content, Span)
                else request.content,
            )
            return self._client.send(built, stream=True, follow_redirects=reading)

        login = self._authorizer.header(scope) if own else {}
        response = send(login)
        self._met = True
        self._check_encrypted(response.url)
        if response.status_code == 401 and own and self._is_own(response.url):
            challenge = response.headers.get("WWW-Authenticate", "")
            if self._authorizer.answer(self._client, challenge, scope, login):
                response.close()
                response = send(self._authorizer.header(scope))
        return response

    def _check_encrypted(self, url: httpx.URL) -> None:
        """Raise RegistryError where a registry that is spoken to with encryption sends us on without."""
        if self.base.scheme == "https" and url.scheme == "http":
            raise RegistryError(
                f"registry '{self.host}' sends us to 'http://{url.netloc.decode()}', which is not encrypted"
            )

    def _is_own(self, url: httpx.URL) -> bool:
        return (url.scheme, url.host, url.port) == (
            self.base.scheme,
            self.base.host,
            self.base.port,
        )

    def _accepted(self, response: httpx.Response, request: Request) -> Answer:
        answer = Answer(
            status=response.status_code,
            headers=response.headers,
            body=read_body(response),
            url=response.url,
        )
        if answer.status in request.accepted:
            if len(answer.body) > LIMIT:
                raise RegistryError(
                    f"registry '{self.host}' answers '{answer.url.path}' with more than {LIMIT} bytes"
                )
            return answer
        refusal = self.refusal(answer, request.repository)
        if answer.status in BUSY:
            raise TransientError(refusal, retry_after(answer.headers))
        raise refusal

    def _trouble(self, error: httpx.HTTPError) -> Exception:
        """Return what a failed connection means; a certificate that is not trusted won't be the next time either."""
        told = self._unreachable(error)
        return told if _UNTRUSTED in str(error) else TransientError(told)

    def _unreachable(self, error: httpx.HTTPError) -> CanneryError:
        text, place = said(error), f"registry '{self.host}'"
        hint = "check its address, and that it runs"
        url = error.request.url if isinstance(error, httpx.RequestError) else self.base
        if not self._is_own(url):
            place = f"'{url.scheme}://{url.host}', where {place} sends us,"
            hint = "ask whoever runs the registry"
        if "wrong version number" in text.lower().replace("_", " "):
            hint = "it seems to speak plain HTTP: allow that only if you trust the way to it"
        elif _UNTRUSTED in text:
            hint = "name the authority that signed its certificate in SSL_CERT_FILE"
        return UnreachableError(f"{place} does not answer: {text}", hint=hint)

    def refusal(self, answer: Answer, repository: str) -> RegistryError:
        """Return the error that an answer means."""
        place, reason = f"'{self.host}/{repository}'", reason_of(answer.body)
        if answer.status in (401, 403):
            return RegistryError(
                f"registry refused access to {place}{reason}",
                hint=login_hint(self.host, self._authorizer.credentials),
            )
        if answer.status == 404:
            return RegistryError(
                f"{place} does not hold what was asked for{reason}",
                hint="check the name and the tag or digest",
            )
        if answer.status == 429:
            return RegistryError(
                f"registry '{self.host}' limits the rate of requests{reason}",
                hint="try again later",
            )
        return RegistryError(f"registry '{self.host}' answered {answer.status} for {place}{reason}")


def _trust(host: str) -> ssl.SSLContext:
    """Trust the system's authorities, and those that Docker was told to trust for this registry."""
    context = ssl.create_default_context()
    for folder in (Path("/etc/docker/certs.d"), Path("/etc/containers/certs.d")):
        for file in sorted((folder / host).glob("*.crt")):
            context.load_verify_locations(cafile=file)
    return context
