"""Ask a running service: rows in, answers out, by `/predict`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import httpx
import msgspec

from cannery.errors import Issue, ProofError, SchemaError, UnreachableError, UsageError, said

CHUNK = 5000
"""Rows of one request; more are sent in several."""
SIZE = 4 << 20
"""Bytes of one request, about: a quarter of what a service takes unless it is told otherwise."""
TIMEOUT = 60.0
"""Seconds for one request."""

Record = Mapping[str, Any]
Rows = Any
"""A record, a sequence of records, or a data frame of pandas or polars."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asking:
    """What is sent, and how what comes back is put together."""

    chunks: list[bytes]
    single: bool
    parameters: dict[str, str]

    def joined(self, parts: list[Any]) -> Any:
        """Return the answer to all chunks."""
        return parts[0] if self.single else [answer for part in parts for answer in part]


class Client:
    """A service, asked over kept connections; close it, or use it in a `with` block."""

    def __init__(self, url: str, *, token: str | None = None, timeout: float = TIMEOUT) -> None:
        """Take the service's address, and the bearer token where it wants one."""
        self._client = httpx.Client(**_settings(url, token, timeout))

    def predict(
        self, rows: Rows, *, outputs: Sequence[str] | None = None, threshold: float | None = None
    ) -> Any:
        """Return an answer for a record, a list of answers for rows.

        Raises SchemaError with every issue for rows that don't fit, UnreachableError when nobody
        answers, ProofError when the service fails.
        """
        asking = _asking(rows, outputs, threshold)
        return asking.joined([self._ask(body, asking.parameters) for body in asking.chunks])

    def version(self) -> dict[str, Any]:
        """Return which model exactly is served."""
        with _told(self._client.base_url):
            return dict(_answer(self._client.get("version")))

    def healthy(self) -> bool:
        """Whether the service says that its canary comes out right."""
        with _told(self._client.base_url):
            return self._client.get("health").status_code == httpx.codes.OK

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, body: bytes, parameters: dict[str, str]) -> Any:
        with _told(self._client.base_url):
            return _answer(self._client.post("predict", content=body, params=parameters))


class AsyncClient:
    """The same for a program with an event loop."""

    def __init__(self, url: str, *, token: str | None = None, timeout: float = TIMEOUT) -> None:
        """Take the service's address, and the bearer token where it wants one."""
        self._client = httpx.AsyncClient(**_settings(url, token, timeout))

    async def predict(
        self, rows: Rows, *, outputs: Sequence[str] | None = None, threshold: float | None = None
    ) -> Any:
        """Return an answer for a record, a list of answers for rows; raises as `Client.predict` does."""
        asking = _asking(rows, outputs, threshold)
        return asking.joined([await self._ask(body, asking.parameters) for body in asking.chunks])

    async def version(self) -> dict[str, Any]:
        """Return which model exactly is served."""
        with _told(self._client.base_url):
            return dict(_answer(await self._client.get("version")))

    async def healthy(self) -> bool:
        """Whether the service says that its canary comes out right."""
        with _told(self._client.base_url):
            return (await self._client.get("health")).status_code == httpx.codes.OK

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _ask(self, body: bytes, parameters: dict[str, str]) -> Any:
        with _told(self._client.base_url):
            return _answer(await self._client.post("predict", content=body, params=parameters))


@contextmanager
def _told(url: httpx.URL) -> Iterator[None]:
    """Turn what httpx raises into what a caller of ours handles."""
    try:
        yield
    except httpx.TransportError as error:
        raise UnreachableError(
            f"no answer from '{url}': {said(error)}", hint="is it running?"
        ) from error


def _settings(url: str, token: str | None, timeout: float) -> dict[str, Any]:
    address = url if "://" in url else f"http://{url}"
    try:
        base = httpx.URL(address.rstrip("/") + "/")
    except httpx.InvalidURL as error:
        raise UsageError(f"'{url}' is no address: {error}") from error
    if base.scheme not in ("http", "https") or not base.host:
        raise UsageError(f"'{url}' is no address of a service", hint="http://host:8080")
    headers = {"content-type": "application/json"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    return {"base_url": base, "headers": headers, "timeout": timeout}


def _asking(rows: Rows, outputs: Sequence[str] | None, threshold: float | None) -> _Asking:
    parameters: dict[str, str] = {}
    if outputs is not None:
        parameters["outputs"] = outputs if isinstance(outputs, str) else ",".join(outputs)
    if threshold is not None:
        parameters["threshold"] = repr(float(threshold))
    if isinstance(rows, Mapping):
        return _Asking(chunks=[_encoded(rows)], single=True, parameters=parameters)
    chunks = [_encoded(records) for records in _chunks(rows)]
    return _Asking(chunks=chunks, single=False, parameters=parameters)


def _chunks(rows: Rows) -> Iterator[list[Any]]:
    """Return lists of records; at least one, so that also no rows are asked for."""
    if hasattr(rows, "to_dicts"):  # polars

        def take(start: int, stop: int) -> list[Any]:
            return list(rows[start:stop].to_dicts())

    elif hasattr(rows, "iloc"):  # pandas

        def take(start: int, stop: int) -> list[Any]:
            return _of_pandas(rows.iloc[start:stop])

    elif isinstance(rows, str | bytes) or not hasattr(rows, "__iter__"):
        raise UsageError(
            f"rows are {type(rows).__name__}, not records",
            hint="a dict, a list of dicts, or a data frame of pandas or polars",
        )
    else:
        rows = list(rows)

        def take(start: int, stop: int) -> list[Any]:
            return list(rows[start:stop])

    size = len(_encoded(take(0, 1)))
    step = max(1, min(CHUNK, SIZE // size))
    for start in range(0, max(len(rows), 1), step):
        yield take(start, start + step)


def _of_pandas(frame: Any) -> list[dict[str, Any]]:
    """Return the records of a data frame, null where a value is missing."""
    names = [str(name) for name in frame.columns]
    columns = [
        [
            None if missing else value
            for value, missing in zip(column.tolist(), column.isna(), strict=True)
        ]
        for _, column in frame.items()
    ]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _encoded(value: Any) -> bytes:
    """Return records as JSON; numbers of numpy are plain numbers, NaN is refused as the service would."""
    try:
        text = json.dumps(value, default=_plain, ensure_ascii=False, allow_nan=False)
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise SchemaError(
            f"the rows are no JSON: {str(error)[:200].lower()}",
            hint="a missing value is None; dates and the like are sent as the model takes them",
        ) from error


def _plain(value: Any) -> Any:
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        return value.item()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a value is a {type(value).__name__}")


class _Error(msgspec.Struct):
    message: str
    issues: list[Issue] = []


class _Refusal(msgspec.Struct):
    error: _Error


def _answer(response: httpx.Response) -> Any:
    """Return what a good response says; raises what another means."""
    if response.status_code == httpx.codes.OK:
        return msgspec.json.decode(response.content)
    try:
        error = msgspec.json.decode(response.content, type=_Refusal).error
    except msgspec.MsgspecError:
        error = _Error(message="")
    said = error.message or response.reason_phrase.lower()
    if response.status_code in (400, 413, 415, 422):
        raise SchemaError(said, issues=tuple(error.issues))
    if response.status_code == httpx.codes.UNAUTHORIZED:
        raise UsageError(said, hint="Client(url, token=…)")
    raise ProofError(f"'{response.url}' answers {response.status_code}: {said}")
