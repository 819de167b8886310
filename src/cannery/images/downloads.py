"""Fetch over HTTP with patience: timeouts, a few tries, a bound on size, and clear words when nobody answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import httpx

from cannery.errors import ImageError, UnreachableError

_log = logging.getLogger(__name__)

_LIMIT = 256 << 20
_PAUSES = (0.2, 0.8, 2.0)
"""Seconds before each further try."""


class NotFoundError(ImageError):
    """The server answers, and does not have it."""


def client_of(proxies: Mapping[str, str | None] = MappingProxyType({})) -> httpx.Client:
    """Return a client that asks through these proxies, otherwise through those of the environment; raises ImageError."""
    transports = {}
    for pattern, proxy in proxies.items():
        try:
            transports[pattern] = None if proxy is None else httpx.HTTPTransport(proxy=proxy)
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            raise ImageError(
                f"apt's proxy '{proxy}' can't be used: {error}",
                hint="name a mirror as `mirror` under [image] in cannery.toml: it is asked without apt's settings",
            ) from error
    return httpx.Client(
        timeout=httpx.Timeout(30.0, connect=10.0), follow_redirects=True, mounts=transports
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloads:
    """A pool of connections; `pauses` has one number of seconds for each further try."""

    pauses: tuple[float, ...] = _PAUSES
    client: httpx.Client = field(default_factory=client_of)

    def __enter__(self) -> Downloads:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def get(self, url: str, *, limit: int = _LIMIT) -> bytes:
        """Return the body at `url`, at most `limit` bytes.

        Raises NotFoundError where it is missing, UnreachableError when no try succeeds.
        """
        for pause in (*self.pauses, None):
            try:
                return self._once(url, limit)
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                if pause is None or not _passing(error):
                    raise UnreachableError(
                        f"can't fetch '{url}': {str(error).splitlines()[0] if str(error) else type(error).__name__}",
                        hint="check the network and the mirror's address; what is cached already needs neither",
                    ) from error
                _log.info("'%s' did not answer; trying again in %g s", url, pause)
                time.sleep(pause)
            except httpx.InvalidURL as error:
                raise ImageError(f"'{url}' is not an address: {error}") from error
        raise AssertionError("the last try returns or raises")

    def _once(self, url: str, limit: int) -> bytes:
        with self.client.stream("GET", url) as response:
            if response.status_code in (404, 410):
                raise NotFoundError(f"'{url}' is not there (status {response.status_code})")
            response.raise_for_status()
            body = bytearray()
            for piece in response.iter_bytes():
                body += piece
                if len(body) > limit:
                    raise ImageError(f"'{url}' has more than the {limit} bytes that are expected")
            return bytes(body)


def _passing(error: httpx.HTTPError) -> bool:
    """Whether another try may succeed."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= 500 or error.response.status_code == 429
    return not isinstance(error, httpx.UnsupportedProtocol)
