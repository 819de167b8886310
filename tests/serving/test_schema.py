"""Records in: typed, strict, and explained where they don't fit."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from churn_cans import RECORD, SIGNATURE
from hypothesis import given
from hypothesis import strategies as st

from cannery.errors import Issue, MalformedError, SchemaError
from cannery.serving.invocations import records_of_csv
from cannery.serving.issues import LISTED
from cannery.serving.schema import Schema, encode
from cannery.signatures import NULL_STRING, Feature, Signature

EVERYTHING = Signature(
    features=(
        Feature(name="age", type="long"),
        Feature(name="height in m", type="double", nullable=True),
        Feature(name="plan", type="string", categories=("a", "b"), unseen=False),
        Feature(name="city", type="string", nullable=True),
        Feature(name="member", type="boolean"),
        Feature(name="grade", type="long", categories=(1, 2, 3), unseen=False, nullable=True),
    ),
    outputs=SIGNATURE.outputs,
)
WHOLE = {"age": 3, "height in m": 1.5, "plan": "a", "city": "Bonn", "member": True, "grade": 2}


def issues(record: dict[str, Any], signature: Signature = EVERYTHING) -> list[Issue]:
    """Return what is wrong with a record, as the JSON decoder says it; none must be accepted."""
    with pytest.raises(SchemaError) as caught:
        Schema(signature).decode(msgspec.json.encode(record))
    return list(caught.value.issues)


def test_a_record_becomes_two_dense_blocks() -> None:
    """Numbers and texts stand in the signature's order, booleans as numbers."""
    batch, single = Schema(EVERYTHING).decode(msgspec.json.encode(WHOLE))
    assert single
    assert batch.numbers.tolist() == [[3.0, 1.5, 1.0, 2.0]]
    assert batch.strings.tolist() == [["a", "Bonn"]]


def test_the_order_of_keys_does_not_matter() -> None:
    """A record with its keys reversed makes the same batch."""
    reversed_record = dict(reversed(WHOLE.items()))
    one, _ = Schema(EVERYTHING).decode(msgspec.json.encode(WHOLE))
    two, _ = Schema(EVERYTHING).decode(msgspec.json.encode(reversed_record))
    assert one.numbers.tolist() == two.numbers.tolist()
    assert one.strings.tolist() == two.strings.tolist()


def test_an_array_is_a_batch_and_may_be_empty() -> None:
    """An array of records has as many rows, also none."""
    schema = Schema(EVERYTHING)
    batch, single = schema.decode(msgspec.json.encode([WHOLE, WHOLE]))
    assert (len(batch), single) == (2, False)
    batch, _ = schema.decode(b" [] ")
    assert batch.numbers.shape == (0, 4)


def test_a_nullable_field_must_still_be_there() -> None:
    """A field that is left out is an issue even where null would be taken."""
    record = {name: value for name, value in WHOLE.items() if name != "city"}
    assert [issue.path for issue in issues(record)] == ["city"]


def test_null_is_null_only_where_the_schema_says_so() -> None:
    """A nullable field may be null; the batch holds NaN or the null text."""
    record = {**WHOLE, "height in m": None, "city": None, "grade": None}
    batch, _ = Schema(EVERYTHING).decode(msgspec.json.encode(record))
    assert np.isnan(batch.numbers[0, [1, 3]]).all()
    assert batch.strings[0, 1] == NULL_STRING
    assert issues({**WHOLE, "age": None}) == [
        Issue(path="age", expected="a whole number", got="null")
    ]


def test_every_issue_is_reported_at_once_with_its_path() -> None:
    """Unknown, missing and mistyped fields of several records come in one error, by name."""
    bad = [RECORD, {"tenur": 2, "contract": 5, "monthly charges": "89"}, 7]
    with pytest.raises(SchemaError) as caught:
        Schema(SIGNATURE).decode(msgspec.json.encode(bad))
    assert [str(issue) for issue in caught.value.issues] == [
        "[1].tenur: expected a field of the model (did you mean 'tenure'?), got an unknown field",
        "[1].tenure: expected a whole number, got nothing",
        "[1].contract: expected text, got 5",
        '[1]["monthly charges"]: expected a number, got "89"',
        "[2]: expected an object, got 7",
    ]


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("age", 2.5, "a whole number"),
        ("age", True, "a whole number"),
        ("age", "3", "a whole number"),
        ("age", 2**53 + 1, "a whole number between -2^53 and 2^53"),
        ("age", 10**400, "a finite number"),
        ("height in m", True, "a number or null"),
        ("height in m", -1.1e300, "a number from -1e+300 to 1e+300"),
        ("height in m", [1], "a number or null"),
        ("plan", "c", 'one of "a", "b"'),
        ("plan", 1, "text"),
        ("city", NULL_STRING, "text in Unicode"),
        ("member", 1, "true or false"),
        ("member", "true", "true or false"),
        ("grade", 4, "one of 1, 2, 3"),
    ],
)
def test_no_type_is_silently_another(field: str, value: Any, expected: str) -> None:
    """Each wrong value is refused under its field's name."""
    with pytest.raises(SchemaError) as caught:
        Schema(EVERYTHING).decode(_json({**WHOLE, field: value}))
    (issue,) = caught.value.issues
    assert issue.expected == expected
    assert field in issue.path


def _json(record: dict[str, Any]) -> bytes:
    import json

    return json.dumps(record).encode()


def test_a_whole_float_is_a_whole_number() -> None:
    """JSON has one type of number, so that 2.0 is 2."""
    batch, _ = Schema(SIGNATURE).decode(msgspec.json.encode({**RECORD, "tenure": 2.0}))
    assert batch.numbers[0, 0] == 2.0


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused(text: str) -> None:
    """NaN and infinities are refused with their path, though Python's JSON would read them."""
    body = _json({**RECORD, "tenure": 12345}).replace(b"12345", text.encode())
    with pytest.raises(SchemaError) as caught:
        Schema(SIGNATURE).decode(body)
    (issue,) = caught.value.issues
    assert (issue.path, issue.expected) == ("tenure", "a finite number")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_encode_refuses_what_is_not_finite(value: float) -> None:
    """Records that never were JSON are held to the same."""
    with pytest.raises(SchemaError, match="a finite number"):
        encode([{**RECORD, "monthly charges": value}], SIGNATURE)


def test_encode_takes_the_scalars_of_numpy() -> None:
    """Values taken from arrays are as good as Python's own."""
    record = {"tenure": np.int64(2), "contract": np.str_("month"), "monthly charges": np.float32(1)}
    assert encode([record], SIGNATURE).numbers.tolist() == [[2.0, 1.0]]


def test_half_a_surrogate_pair_is_refused() -> None:
    """Text that has no UTF-8 never reaches the runtime, neither by JSON nor by Python."""
    body = _json({**RECORD, "contract": "\ud800"})
    with pytest.raises(SchemaError, match="text in Unicode"):
        Schema(SIGNATURE).decode(body)
    with pytest.raises(SchemaError, match="text in Unicode"):
        encode([{**RECORD, "contract": "\ud800"}], SIGNATURE)


@pytest.mark.parametrize(
    "body",
    [
        b'{"tenure":2,"contract":"month","monthly charges":1,"tenure":3}',
        b'{"tenure":2,"contract":"month","contract":"year","monthly charges":1}',
        b'{"tenure":2,"contract":"a\\"b","monthly charges":1,"tenu\\u0072e":3}',
        b'[{"tenure":2,"contract":"month","monthly charges":1,"tenure":2}]',
    ],
)
def test_a_key_that_appears_twice_is_refused(body: bytes) -> None:
    """Neither of two values is taken."""
    with pytest.raises(MalformedError, match="appears twice"):
        Schema(SIGNATURE).decode(body)


def test_escapes_in_texts_and_names_are_read() -> None:
    """Quotation marks and Unicode escapes are text like any other."""
    record = {"tenure": 1, "contract": 'a "quoted" \\ é', "monthly charges": 1}
    batch, _ = Schema(SIGNATURE).decode(_json(record))
    assert batch.strings.tolist() == [['a "quoted" \\ é']]


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"tenure":', b"[" * 100_000, b'{"tenure": "\xff"}', b"[1" + b"1" * 5000]
)
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    """Broken, too deep, not UTF-8: one clear error each, without issues."""
    with pytest.raises(MalformedError) as caught:
        Schema(SIGNATURE).decode(body)
    assert caught.value.issues == ()


def test_a_flood_of_issues_is_cut() -> None:
    """The first issues are listed, the rest is counted."""
    with pytest.raises(SchemaError) as caught:
        Schema(SIGNATURE).decode(b"[" + b",".join([b"{}"] * 1000) + b"]")
    assert len(caught.value.issues) == LISTED
    assert "2999 more" in caught.value.message


def test_a_long_value_is_not_echoed_whole() -> None:
    """An error shows the beginning of a text and no more."""
    (issue,) = issues({**WHOLE, "age": "x" * 5000})
    assert len(issue.got) < 50


records = st.fixed_dictionaries(
    {
        "age": st.integers(-(2**53), 2**53) | st.integers() | st.booleans() | st.none(),
        "height in m": st.floats() | st.none() | st.text(),
        "plan": st.sampled_from(["a", "b", "c"]),
        "city": st.text() | st.none(),
        "member": st.booleans() | st.integers(0, 1),
        "grade": st.none() | st.integers(0, 4) | st.floats(0, 4),
    }
)


@given(st.lists(records, max_size=3))
def test_the_fast_and_the_explaining_decoder_agree(rows: list[dict[str, Any]]) -> None:
    """Bytes and Python values of the same records give the same batch or the same issues."""

    def judged(read: Any) -> Any:
        try:
            batch = read()
        except SchemaError as error:
            return error.issues
        return repr(batch.numbers.tolist()), batch.strings.tolist()

    schema = Schema(EVERYTHING)
    by_bytes = judged(lambda: schema.decode(_json_of(rows))[0])
    assert by_bytes == judged(lambda: schema.encode(rows))


def _json_of(value: Any) -> bytes:
    import json

    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


@given(st.binary(max_size=60))
def test_random_bytes_never_break_the_decoder(body: bytes) -> None:
    """Whatever comes, the answer is a batch or an error of ours."""
    with contextlib.suppress(SchemaError):
        Schema(SIGNATURE).decode(body)


def test_a_header_of_a_hundred_thousand_columns_is_judged_in_one_pass() -> None:
    """The name that appears twice may be the last: looking for it must not compare all with all."""
    header = ",".join([*(f"c{i}" for i in range(300_000)), "last", "last"])
    with pytest.raises(MalformedError, match="the column 'last' appears twice"):
        records_of_csv(header.encode(), SIGNATURE)


def test_only_listed_issues_are_explained() -> None:
    """A record of many unknown fields is refused with a list that ends; the rest is only counted."""
    record = {f"tenur{i}": 1 for i in range(100_000)}
    with pytest.raises(SchemaError, match=r"and \d+ more") as caught:
        Schema(SIGNATURE).decode(msgspec.json.encode(record))
    assert len(caught.value.issues) == LISTED
