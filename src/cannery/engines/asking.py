"""Ask a container over HTTP: one request, one connection, no patience."""

from __future__ import annotations

import http.client
import socket
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from cannery.errors import ProofError

JSON = "application/json"
POLL = 0.01
"""Seconds between two looks at a container that is starting."""
_LOOK = 0.6
"""Seconds between two questions to the engine whether it still runs."""
_LIMIT = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON; None when it is none."""
        try:
            return msgspec.json.decode(self.body)
        except msgspec.MsgspecError:
            return None


def ask(
    url: str,
    path: str,
    *,
    document: Any = None,
    kind: str = JSON,
    method: str = "GET",
    timeout: float = 10.0,
) -> Answer:
    """Send one request; raises OSError without an answer.

    `document`: a value that is sent as JSON, or bytes of another `kind`.
    """
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port or 80, timeout=timeout)
    body = document if document is None or kind != JSON else msgspec.json.encode(document)
    headers = {} if body is None else {"Content-Type": kind}
    try:
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        return Answer(
            status=response.status,
            headers={name.lower(): value for name, value in response.getheaders()},
            body=response.read(_LIMIT),
        )
    except http.client.HTTPException as error:
        raise ConnectionError(f"no HTTP answer: {error!r}") from error
    finally:
        connection.close()


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_healthy(
    url: str, began: float, timeout: float, ended: Callable[[], int | None], logs: Callable[[], str]
) -> float:
    """Poll `GET /health` until it answers 200; return the seconds since `began` (on the monotonic clock).

    `ended` tells the exit status once there is one. Raises ProofError, with the end of the log.
    """
    looked = last = time.monotonic()
    said = "nothing"
    while True:
        try:
            answer = ask(url, "/health", timeout=5.0)
            if answer.status == 200:
                return time.monotonic() - began
            said = f"{answer.status} {answer.body[:300].decode(errors='replace').strip()}"
        except OSError as error:
            said = str(error) if said == "nothing" else said
        last = time.monotonic()
        if last - looked > _LOOK:
            status = ended()
            looked = time.monotonic()
            if status is not None:
                raise ProofError(f"the container ended with status {status}{_tail(logs())}")
        if last - began > timeout:
            raise ProofError(
                f"not healthy after {timeout:g} s: /health answered {said}{_tail(logs())}"
            )
        time.sleep(POLL)


def _tail(log: str) -> str:
    lines = log.strip().splitlines()[-8:]
    return ": " + "\n".join(lines) if lines else " and wrote nothing"
