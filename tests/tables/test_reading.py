"""Rows from CSV, JSON Lines and Parquet: typed by the signature, bounded, and precise about what is wrong."""

import io
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cannery.errors import SchemaError, UsageError
from cannery.signatures import LARGEST, NULL_STRING, Feature, Signature
from cannery.tables import format_of, read_batches, read_table, to_batch, writer

SIGNATURE = Signature(
    features=(
        Feature(name="tenure", type="long"),
        Feature(name="charges", type="double", nullable=True),
        Feature(name="paperless", type="boolean"),
        Feature(name="zip", type="string", nullable=True),
    ),
    outputs=(),
)
CSV = "id,zip,tenure,charges,paperless\n7,007,2,89.1,true\n8,,3,,FALSE\n"


def _file(folder: Path, text: str | bytes, name: str = "rows.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def _wrong(path: Path) -> str:
    with pytest.raises(SchemaError) as caught:
        _ = [to_batch(batch, SIGNATURE) for batch in read_batches(path, signature=SIGNATURE)]
    return caught.value.message


def test_csv_takes_the_types_of_the_signature(tmp_path: Path) -> None:
    """A text that looks like a number stays a text, an empty cell is a null."""
    (batch,) = read_batches(_file(tmp_path, CSV), signature=SIGNATURE)
    rows = to_batch(batch, SIGNATURE)
    np.testing.assert_array_equal(rows.numbers, [[2, 89.1, 1], [3, np.nan, 0]])
    assert rows.strings.tolist() == [["007"], [NULL_STRING]]
    assert batch.column("id").to_pylist() == ["7", "8"]


def test_csv_without_a_signature_takes_the_types_it_looks_like(tmp_path: Path) -> None:
    """A sample's columns are whole numbers, numbers, booleans or text, over all of its rows."""
    text = "a,b,c,d,e\n1,2,true,x,\n2,2.5,False,3,\n"
    schema = read_table(_file(tmp_path, text)).schema
    assert [str(t) for t in schema.types] == ["int64", "double", "bool", "string", "double"]


def test_dates_stay_text(tmp_path: Path) -> None:
    """A day that looks like a date is what the file says, not a timestamp."""
    table = read_table(_file(tmp_path, "day\n2026-11-20\n"))
    assert table.column("day").to_pylist() == ["2026-11-20"]


@pytest.mark.parametrize(
    ("row", "part"),
    [
        ("abc,1.5,true", "row 3, column 'tenure': expected a whole number, got 'abc'"),
        ("2.5,1.5,true", "row 3, column 'tenure': expected a whole number, got 2.5"),
        ("9007199254740994,1.5,true", "row 3, column 'tenure': expected a whole number between"),
        (",1.5,true", "row 3, column 'tenure': expected a whole number, got nothing"),
        ("2,1e999,true", "row 3, column 'charges': expected a finite number"),
        ("2,-1e305,true", "row 3, column 'charges': expected a number from -1e+300 to 1e+300"),
        ("2,1_000,true", "row 3, column 'charges': expected a number or nothing, got '1_000'"),
        ("2,1,maybe", "row 3, column 'paperless': expected true or false, got 'maybe'"),
        ("2,1", "row 3: expected 4 columns, got 3"),
    ],
)
def test_a_bad_cell_names_row_and_column(tmp_path: Path, row: str, part: str) -> None:
    """Whoever reads the message can go straight to the cell."""
    text = f"tenure,charges,paperless,zip\n1,1.5,true,a\n1,1.5,true,a\n{row},z\n"
    assert part in _wrong(_file(tmp_path, text))


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "no header"),
        (b"a,a\n1,2\n", "'a' appears twice"),
        (b"\xff\xfe\n", "UTF-8"),
        (b"a\n\xff\n", "UTF8"),
        (b"a\n" + b"x" * (10 << 20) + b"\ny\n", "longer than 4 MiB"),
    ],
)
def test_what_is_no_csv_is_a_clear_error(tmp_path: Path, content: bytes, part: str) -> None:
    """Broken files are told apart, without a traceback."""
    with pytest.raises(SchemaError) as caught:
        list(read_batches(_file(tmp_path, content)))
    assert part in caught.value.message


def test_missing_columns_are_all_named(tmp_path: Path) -> None:
    """Every absent column is an issue, with the name that was probably meant."""
    (batch,) = read_batches(_file(tmp_path, "Tenure,charges\n1,2\n"), signature=SIGNATURE)
    with pytest.raises(SchemaError) as caught:
        to_batch(batch, SIGNATURE)
    places = [issue.path for issue in caught.value.issues]
    assert places == ["column 'tenure'", "column 'paperless'", "column 'zip'"]
    assert "'Tenure'" in caught.value.issues[0].got


def test_a_header_alone_is_no_rows(tmp_path: Path) -> None:
    """No rows are an answer, not an error."""
    (batch,) = read_batches(_file(tmp_path, "tenure,charges,paperless,zip\n"), signature=SIGNATURE)
    assert len(to_batch(batch, SIGNATURE)) == 0


def test_json_lines_give_the_same_batch(tmp_path: Path) -> None:
    """Keys may stand in any order, and a null may be left out."""
    lines = (
        '{"tenure": 2, "zip": "007", "charges": 89.1, "paperless": true}\n\n'
        '{"paperless": false, "tenure": 3.0}\n'
    )
    (batch,) = read_batches(_file(tmp_path, lines, "rows.jsonl"))
    rows = to_batch(batch, SIGNATURE)
    np.testing.assert_array_equal(rows.numbers, [[2, 89.1, 1], [3, np.nan, 0]])
    assert rows.strings.tolist() == [["007"], [NULL_STRING]]


def test_a_text_that_stands_for_a_missing_one_is_refused(tmp_path: Path) -> None:
    """Beside missing texts too, where it would pass for one of them."""
    line = '{"tenure": 2, "zip": %s, "charges": 89.1, "paperless": true}\n'
    for others in ('"007"', "null"):
        text = line % others + line % '"\\u0000null"'
        (batch,) = read_batches(_file(tmp_path, text, "rows.jsonl"))
        with pytest.raises(SchemaError, match="control character"):
            to_batch(batch, SIGNATURE)


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("[1]", "row 2 is not a JSON object"),
        ('{"tenure": ', "row 2 is not a JSON object"),
        (
            '{"tenure": "3"}',
            "row 2, column 'tenure': expected a number, as in the rows above, got a text",
        ),
    ],
)
def test_a_bad_json_line_names_its_row(tmp_path: Path, line: str, part: str) -> None:
    """What is no object, or changes its type, is found by its row."""
    assert part in _wrong(_file(tmp_path, '{"tenure": 1}\n' + line + "\n", "rows.jsonl"))


def test_numbers_that_are_text_are_not_numbers(tmp_path: Path) -> None:
    """Where a file has types, a text is never read as a number."""
    path = tmp_path / "rows.parquet"
    pq.write_table(
        pa.table({"tenure": ["2"], "charges": [1.0], "paperless": [True], "zip": ["a"]}), path
    )
    assert "column 'tenure': expected a whole number, got '2'" in _wrong(path)


def test_a_closed_set_of_categories_names_the_stranger() -> None:
    """A value outside the categories is refused where the original refuses it."""
    feature = Feature(name="plan", type="string", categories=("a", "b"), unseen=False)
    signature = Signature(features=(feature,), outputs=())
    with pytest.raises(
        SchemaError, match="row 2, column 'plan': expected one of 'a', 'b', got 'c'"
    ):
        to_batch(pa.table({"plan": ["a", "c"]}), signature)


def test_parquet_is_read_in_batches_of_the_asked_size(tmp_path: Path) -> None:
    """No batch is larger than asked."""
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": range(10), "b": ["x"] * 10}), path)
    batches = list(read_batches(path, size=4))
    assert [len(b) for b in batches] == [4, 4, 2]


def test_a_file_that_is_no_parquet_is_a_clear_error(tmp_path: Path) -> None:
    """The suffix promises what the bytes don't hold."""
    assert "can't be read as parquet" in _wrong(_file(tmp_path, b"PAR1 not really", "x.parquet"))


def test_a_stream_needs_a_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input has no suffix; told what it is, it is read like a file."""
    with pytest.raises(UsageError, match="no suffix"):
        format_of("-")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CSV.encode())))
    (batch,) = read_batches("-", format="csv", signature=SIGNATURE)
    assert len(batch) == 2


def test_a_missing_file_and_a_foreign_suffix_are_usage_errors(tmp_path: Path) -> None:
    """Both are told before anything is read."""
    with pytest.raises(UsageError, match="can't read"):
        read_table(tmp_path / "gone.csv")
    with pytest.raises(UsageError, match="no format of rows"):
        read_table(tmp_path / "rows.xlsx")


CELLS = st.fixed_dictionaries(
    {
        "tenure": st.integers(-(2**53), 2**53),
        "charges": st.one_of(st.none(), st.floats(-LARGEST, LARGEST)),
        "paperless": st.booleans(),
        "zip": st.one_of(
            st.none(), st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)
        ),
    }
)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@given(rows=st.lists(CELLS, min_size=1, max_size=8))
def test_what_is_written_is_read_back(tmp_path_factory, suffix: str, rows: list[dict]) -> None:
    """Every number to the last bit, every text to the last blank, in each format."""
    path = tmp_path_factory.mktemp("t") / f"rows.{suffix}"
    types = {
        "tenure": pa.int64(),
        "charges": pa.float64(),
        "paperless": pa.bool_(),
        "zip": pa.string(),
    }
    table = pa.Table.from_pylist(rows, schema=pa.schema(types.items()))
    with writer(path) as out:
        out.write(table.combine_chunks().to_batches()[0])
    (batch,) = read_batches(path, signature=SIGNATURE)
    expected = to_batch(table, SIGNATURE)
    found = to_batch(batch, SIGNATURE)
    np.testing.assert_array_equal(found.numbers, expected.numbers)
    assert found.strings.tolist() == expected.strings.tolist()
