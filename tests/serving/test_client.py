"""The client, against a real service."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import polars
import pytest
from churn_cans import RECORD, RECORDS, MakeCan, Running, expected, running

import cannery
from cannery.client import CHUNK, AsyncClient, Client
from cannery.engines.asking import free_port
from cannery.errors import SchemaError, UnreachableError, UsageError

WANTED = [expected(record) for record in RECORDS]


@pytest.fixture
def service(make_can: MakeCan) -> Iterator[Running]:
    """Return a healthy service in a process of its own."""
    with running(make_can().folder) as running_service:
        yield running_service


@pytest.fixture
def client(service: Running) -> Iterator[Client]:
    """Return a client of that service."""
    with Client(service.url) as opened:
        yield opened


def test_a_record_is_answered_by_a_record_and_rows_by_rows(client: Client) -> None:
    """As the service does; none give none."""
    assert client.predict(RECORD) == pytest.approx(WANTED[0])
    assert client.predict(list(RECORDS)) == [pytest.approx(w) for w in WANTED]
    assert client.predict(iter(RECORDS)) == [pytest.approx(w) for w in WANTED]
    assert client.predict([]) == []


@pytest.mark.parametrize("frame", [pd.DataFrame, polars.DataFrame])
def test_data_frames_are_rows(client: Client, frame: Any) -> None:
    """Of pandas and of polars, with their own numbers; an empty one gives no answers."""
    assert client.predict(frame(list(RECORDS))) == [pytest.approx(w) for w in WANTED]
    assert client.predict(frame(list(RECORDS))[:0]) == []


def test_numbers_of_numpy_are_numbers(client: Client) -> None:
    """Rows are often taken from arrays."""
    record = {**RECORD, "tenure": np.int64(2), "monthly charges": np.float64(89.1)}
    assert client.predict(record) == pytest.approx(WANTED[0])


def test_many_rows_are_sent_in_several_requests(client: Client) -> None:
    """The answers are put together in order."""
    rows = [{**RECORD, "tenure": n % 70} for n in range(CHUNK + 3)]
    answers = client.predict(rows)
    assert len(answers) == len(rows)
    assert answers[-1] == pytest.approx(expected(rows[-1]))


def test_long_rows_are_sent_in_more_requests(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No request is far longer than a service takes; the answers are put together."""
    monkeypatch.setattr("cannery.client.SIZE", 200)
    monkeypatch.setattr("cannery.client.CHUNK", 100)
    rows = [{**RECORD, "tenure": n} for n in range(20)]
    assert client.predict(rows) == [pytest.approx(expected(row)) for row in rows]
    for frame in (pd.DataFrame(rows), polars.DataFrame(rows)):
        assert client.predict(frame) == [pytest.approx(expected(row)) for row in rows]


def test_fields_and_threshold_may_be_chosen(client: Client) -> None:
    """As the service offers."""
    assert client.predict(RECORD, outputs=["label"], threshold=0.99) == {"label": "No"}


def test_what_does_not_fit_is_told_with_every_issue(client: Client) -> None:
    """The issues of the service; a missing value of a frame is null, NaN in a record is refused."""
    with pytest.raises(SchemaError) as caught:
        client.predict([{"tenure": "2"}])
    assert [issue.path for issue in caught.value.issues] == [
        "[0].tenure",
        "[0].contract",
        '[0]["monthly charges"]',
    ]
    with pytest.raises(SchemaError, match=r"\[0\]\.contract: expected text, got null"):
        client.predict(pd.DataFrame([{**RECORD, "contract": None}]))
    with pytest.raises(SchemaError, match="no JSON"):
        client.predict({**RECORD, "tenure": float("nan")})


@pytest.mark.parametrize("rows", ["text", 7, None])
def test_what_are_no_rows_is_said_before_anything_is_sent(client: Client, rows: Any) -> None:
    """With what would be."""
    with pytest.raises(UsageError) as caught:
        client.predict(rows)
    assert "data frame" in str(caught.value.hint)


def test_the_same_for_an_event_loop(service: Running) -> None:
    """Several at once over one client."""

    async def ask() -> list[Any]:
        async with AsyncClient(service.url) as client:
            assert await client.healthy()
            assert (await client.version())["name"] == "churn"
            return await asyncio.gather(*(client.predict(record) for record in RECORDS))

    assert asyncio.run(ask()) == [pytest.approx(w) for w in WANTED]


def test_health_and_version_are_asked(client: Client) -> None:
    """Which model, and whether it is well."""
    assert client.healthy()
    assert client.version()["version"] == "3"


def test_nobody_there_is_an_error_of_ours() -> None:
    """With a hint, whatever the transport raised; an address that is none is told at once."""
    with Client(f"127.0.0.1:{free_port()}") as client, pytest.raises(UnreachableError):
        client.predict(RECORD)
    for url in ("ftp://here", "http://", "http://[::1"):
        with pytest.raises(UsageError):
            Client(url)


def test_it_is_part_of_the_package() -> None:
    """`cannery.Client` is what the page shows."""
    assert cannery.Client is Client
    assert cannery.AsyncClient is AsyncClient
