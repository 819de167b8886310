"""Parquet bodies on `/invocations`: as data frames write them, and as nobody should."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from typing import Any

import httpx
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from churn_cans import RECORDS, Caller, MakeCan, errors_of
from hypothesis import given, settings
from hypothesis import strategies as st

from cannery.errors import MalformedError
from cannery.serving import parquets
from cannery.serving.http import Application
from cannery.serving.server import application
from cannery.serving.service import open_service
from cannery.serving.settings import Settings

FRAME = pd.DataFrame(list(RECORDS) * 3)


def parquet_of(table: pa.Table, **options: Any) -> bytes:
    """Return a Parquet file."""
    sink = io.BytesIO()
    pa.parquet.write_table(table, sink, **options)
    return sink.getvalue()


def ask(call: Caller, body: bytes, kind: str = parquets.PARQUET[0]) -> httpx.Response:
    """Ask with a Parquet body."""
    return call("POST", "/invocations", content=body, headers={"content-type": kind})


@pytest.mark.parametrize("kind", parquets.PARQUET)
def test_a_frame_is_answered_as_its_records_are(call: Caller, kind: str) -> None:
    """Under each name that the format goes by; categories of pandas are texts."""
    same = call("POST", "/invocations", json={"dataframe_records": FRAME.to_dict("records")})
    frame = FRAME.astype({"contract": "category", "tenure": "int8"})
    response = ask(call, frame.to_parquet(), kind)
    assert response.status_code == 200, response.text
    assert response.json() == same.json()


def test_an_index_is_no_column(call: Caller) -> None:
    """Its column beside those of the frame is left aside."""
    shuffled = FRAME.sample(frac=1, random_state=0)
    shuffled.index = shuffled.index * 10
    response = ask(call, shuffled.to_parquet())
    assert len(response.json()["predictions"]) == len(FRAME)


def test_what_does_not_fit_is_named(call: Caller) -> None:
    """A null, a text, a column too many, a date: with row and field, as in JSON."""
    frame = pd.DataFrame(
        {
            "tenure": [1.0, None],
            "contract": pd.to_datetime(["2026-01-01"] * 2),
            "monthly charges": ["much", "more"],
            "region": ["north", "south"],
        }
    )
    response = ask(call, frame.to_parquet())
    assert response.status_code == 400
    found = {path: got for path, _, got in errors_of(response)}
    assert found["[1].tenure"] == "null"
    assert found['[0]["monthly charges"]'] == '"much"'
    assert found["[0].contract"] == "datetime"
    assert found["[0].region"] == "an unknown field"


def test_no_rows_give_no_answers(call: Caller) -> None:
    """As in the other forms."""
    assert ask(call, FRAME.iloc[:0].to_parquet()).json() == {"predictions": []}


NESTED = pa.table({"tenure": [[1, 2]], "contract": ["month"]})
RECORDED = pa.table({"tenure": [{"years": 1}]})
TWICE = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["tenure", "tenure"])
WORDS = pa.DictionaryArray.from_arrays(pa.array([0] * 500_000, pa.int32()), ["x" * 100_000])
MANY = pa.array([1] * (1 << 20))
ZEROS = pa.table({"tenure": [b"\0" * (80 << 20)]})
BOMB = parquet_of(ZEROS, compression="zstd")
DELTAS = parquet_of(
    pa.table({"contract": ["p" * 10_000 + str(i) for i in range(10)]}),
    use_dictionary=False,
    column_encoding={"contract": "DELTA_BYTE_ARRAY"},
)


def varint(number: int, length: int = 0) -> bytes:
    """Return a number as Thrift writes it, in more bytes than it needs where `length` says so."""
    parts = [
        number >> shift & 127 for shift in range(0, max(number.bit_length(), 7 * length, 1), 7)
    ]
    return bytes([*(part | 128 for part in parts[:-1]), parts[-1]])


def lying(body: bytes) -> bytes:
    """Return a file whose footer says that its pages unpack to 100 bytes."""
    group = pa.parquet.ParquetFile(io.BytesIO(body)).metadata.row_group(0)
    said = varint(group.total_byte_size << 1)
    start = len(body) - 8 - int.from_bytes(body[-8:-4], "little")
    footer = body[start:].replace(said, varint(200, len(said)))
    return body[:start] + footer


def cells_of(body: bytes, rows: int) -> bytes:
    """Return a file whose footer says that its one column of ten rows has other ones."""
    start = len(body) - 8 - int.from_bytes(body[-8:-4], "little")
    return body[:start] + body[start:].replace(b"\x16" + varint(20), b"\x16" + varint(2 * rows))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "is not Parquet"),
        (b"PAR1" + b"\xff" * 64 + b"PAR1", "is not Parquet"),
        (FRAME.to_parquet()[:-20] + b"\0" * 16 + b"PAR1", "is not Parquet"),
        (FRAME.to_parquet(compression=None).replace(b"month", b"m\xffnth"), "is not Parquet"),
        (parquet_of(NESTED), "'tenure.list.element' is nested"),
        (parquet_of(RECORDED), "'tenure.years' is nested"),
        (parquet_of(TWICE), "'tenure' appears twice"),
        (parquet_of(pa.table({"tenure": MANY, "contract": MANY})), "2097152 cells"),
        (BOMB, "unpacks to"),
        (lying(BOMB), "unpacks to 83886"),
        (DELTAS, "a page holds other values"),
        (cells_of(DELTAS, 7), "is not Parquet"),
        (b"PAR1" + b"\x15" * 100 + (2 << 20).to_bytes(4, "little") + b"PAR1", "its footer has"),
    ],
    ids=[
        *("empty", "noise", "torn", "characters", "list", "struct", "twice", "cells", "bomb"),
        *("lying bomb", "deltas", "fewer rows", "footer"),
    ],
)
def test_what_no_request_should_hold_is_refused(call: Caller, body: bytes, said: str) -> None:
    """Before it is read; a kilobyte of Parquet can hold a million rows."""
    response = ask(call, body)
    assert (response.status_code, said in response.text) == (400, True), response.text


def test_a_text_that_repeats_is_one_object(call: Caller) -> None:
    """Half a million rows of a text of 100 kB take its size once: the file is small, its words would not be."""
    body = parquet_of(pa.table({"contract": WORDS}), compression="zstd")
    assert len(body) < 100_000
    column = parquets.table_of(body)["contract"]
    assert len(column) == 500_000
    assert len(set(map(id, column))) == 1


def test_without_arrow_it_is_415_with_the_remedy(
    make_can: MakeCan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image has its reader only where it was asked for."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pyarrow" else found(name)
    )
    bare: Application = application(open_service(make_can().folder), Settings(max_body=1 << 20))
    response = ask(Caller(bare), FRAME.to_parquet())
    assert response.status_code == 415
    assert "extras" in response.text


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT", ""])
def test_pages_of_every_kind_are_read(encoding: str, version: str) -> None:
    """Small ones, with nulls, checksums and statistics, in several groups, with and without dictionary."""
    column = pa.array([None, *range(999)])
    body = parquet_of(
        pa.table({"tenure": column, "contract": column.cast(pa.string())}),
        use_dictionary=not encoding,
        column_encoding={"tenure": encoding} if encoding else None,
        row_group_size=300,
        data_page_size=64,
        data_page_version=version,
        write_page_checksum=True,
        write_page_index=True,
    )
    assert parquets.table_of(body)["tenure"] == column.to_pylist()


@given(data=st.data())
@settings(max_examples=150)
def test_a_page_that_lies_is_refused_or_read(data: st.DataObject) -> None:
    """Whatever a byte of a header is changed to: a refusal of ours or a table, and no other error."""
    body = bytearray(PAGES)
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(4, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MalformedError):
        parquets.table_of(bytes(body))


PAGES = FRAME.to_parquet(compression=None)
