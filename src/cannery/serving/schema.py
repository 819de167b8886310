"""Records to a batch by typed decoders made from the signature, and raw outputs back to records."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, cast

import msgspec
import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray

from cannery.errors import Issue, MalformedError, ProofError, SchemaError
from cannery.serving.decisions import decided, ranked, translated
from cannery.serving.issues import WHOLE, explain, pack, show
from cannery.signatures import LARGEST, NULL_STRING, Batch, Feature, Output, Raw, Signature

ROUNDING = 1e-6
"""How far a probability may be outside [0, 1] by rounding; it is brought back."""


FEW = 100_000
"""Rows that a body may have, however short they are."""
SHORT = 16
"""Bytes of a row; of rows that long a body may have any number."""
_LONG = 4 << 10
"""Bytes from which on a body is counted through by numpy."""

Typed = tuple[list[tuple[Any, ...]], bool]
"""Rows in their types, not yet packed: of each its numbers, then its texts, in the signature's order; and
whether the body was a record, not an array of records. (A tuple: a named one takes longer than to decode a record.)"""


class Schema:
    """The typed decoders of one signature."""

    __slots__ = (
        "_closed",
        "_many",
        "_marks",
        "_one",
        "_row",
        "_voids",
        "_widths",
        "signature",
    )

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self._row = _struct(signature)
        self._one = msgspec.json.Decoder(self._row).decode
        self._many = msgspec.json.Decoder(list[self._row]).decode  # type: ignore[name-defined]
        self._closed = _closed(signature)
        self._voids = any(f.nullable for f in signature.strings)
        self._widths = (len(signature.numbers), len(signature.strings))
        self._marks = 2 * (len(signature.features) + len(signature.strings))

    def decode(self, body: bytes) -> tuple[Batch, bool]:
        """Return the batch in a JSON body, and whether the body is a single record.

        Raises MalformedError for what is no JSON (or names a key twice), SchemaError with every
        issue for what is JSON but doesn't fit.
        """
        if (found := self.plain(body)) is not None:
            return found
        value = parse(body)
        if not isinstance(value, dict | list):
            expected = "an object, or an array of objects"
            issue = Issue(path="$", expected=expected, got=show(value))
            raise SchemaError(str(issue), issues=(issue,))
        records = value if isinstance(value, list) else [value]
        check_rows(len(records), len(body))
        single = records is not value
        return explain(records, self.signature, single=single), single

    def encode(self, records: Sequence[Mapping[str, Any]]) -> Batch:
        """Return the batch of records; raises SchemaError with every issue."""
        try:
            found = msgspec.convert(records, list[self._row])  # type: ignore[name-defined]
        except (msgspec.ValidationError, TypeError):
            return explain(records, self.signature)
        rows = list(map(astuple, found))
        batch = self.packed(rows) if _taken(rows, self._widths[0]) else None
        return explain(records, self.signature) if batch is None else batch

    def plain(self, body: bytes) -> tuple[Batch, bool] | None:
        """Return what `decode` does, or None where only `explain` can judge the body."""
        typed = self.typed(body)
        if typed is None or (batch := self.packed(typed[0])) is None:
            return None
        return batch, typed[1]

    def typed(self, body: bytes) -> Typed | None:
        """Return the rows of a JSON body, or None where only `explain` can judge them."""
        single = body[:1] == b"{" or body.lstrip()[:1] != b"["
        try:
            rows = [astuple(self._one(body))] if single else list(map(astuple, self._many(body)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        # The decoder takes the last of two equal keys. Where nothing is escaped, each key and each
        # text has two quotation marks, so that their number tells.
        marks = self._marks * len(rows)
        if self._voids:
            marks -= 2 * sum([row[self._widths[0] :].count(None) for row in rows])
        if _quotes(body) != marks or b"\\" in body:
            return None
        return rows, single

    def packed(self, rows: list[tuple[Any, ...]]) -> Batch | None:
        """Return the batch of typed rows, or None where only `explain` can judge them.

        No text of theirs is `NULL_STRING`: in JSON without escapes none can be.
        """
        batch = pack(rows, self._widths)
        if self._voids:
            batch.strings[np.equal(batch.strings, cast(Any, None))] = NULL_STRING
        bad = np.count_nonzero(~np.isfinite(batch.numbers))
        if bad and bad != sum(row[: self._widths[0]].count(None) for row in rows):
            return None
        return batch if self._seen(batch) else None

    def _seen(self, batch: Batch) -> bool:
        """Whether every value of a closed set of categories is one of them."""
        for block, column, allowed in self._closed:
            values = (batch.strings if block == "strings" else batch.numbers)[:, column]
            if not allowed.issuperset(
                v for v in values.tolist() if v == v
            ):  # NaN, a null, is unequal to itself
                return False
        return True


def encode(records: Sequence[Mapping[str, Any]], signature: Signature) -> Batch:
    """Return the batch of records under `signature`; raises SchemaError with every issue."""
    return Schema(signature).encode(records)


def check_rows(rows: int, size: int) -> None:
    """Raise MalformedError for more rows than are taken in a body of `size` bytes.

    A row of two bytes becomes an object of hundreds, before anybody can say that it doesn't fit.
    """
    most = max(FEW, size // SHORT)
    if rows > most:
        raise MalformedError(
            f"the body has {rows} rows; in so many bytes at most {most} are taken: send fewer at a time"
        )


def parse(body: bytes) -> Any:
    """Return the value of a JSON document; raises MalformedError, also for a key that appears twice."""
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        raise MalformedError(f"the body is not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise MalformedError(
            f"the body is not JSON at {place}: {error.msg[:1].lower()}{error.msg[1:]}"
        ) from error
    except (RecursionError, ValueError) as error:  # ValueError: an integer of thousands of digits
        raise MalformedError("the body nests too deep or holds too long a number") from error


def columns(raw: Raw, signature: Signature, rows: int) -> dict[str, NDArray[Any]]:
    """Return the answer as one array of [rows] for each output field, in its declared type.

    Raises ProofError for an answer of the wrong shape, one that is not finite, or a probability
    outside [0, 1].
    """
    return {output.name: _column(raw, output, rows) for output in signature.outputs}


def render(raw: Raw, signature: Signature, rows: int | None = None) -> list[dict[str, Any]]:
    """Return the answer as one record of plain values for each row; raises ProofError as `columns` does."""
    if rows is None:
        rows = max((len(array) for array in raw.values()), default=0)
    return records_of(columns(raw, signature, rows))


def records_of(answer: Mapping[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """Return an answer, field by field, as one record of plain values for each row."""
    names = tuple(answer)
    values = [array.tolist() for array in answer.values()]
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def rows_of(answer: Mapping[str, NDArray[Any]]) -> list[Any]:
    """Return an answer as rows that are only to be written as JSON: made in an eighth of the time of dicts."""
    return list(map(_row(tuple(answer)), *(array.tolist() for array in answer.values())))


@lru_cache(maxsize=64)
def _row(names: tuple[str, ...]) -> Any:
    """Return the type of rows with these fields."""
    fields: list[Any] = [(f"f{index}", Any) for index, _ in enumerate(names)]
    renamed: Mapping[str, str] = {f"f{index}": name for index, name in enumerate(names)}
    return msgspec.defstruct("Row", fields, rename=renamed, gc=False)


def _column(raw: Raw, output: Output, rows: int) -> NDArray[Any]:
    array = raw.get(output.tensor)
    if array is None:
        raise ProofError(f"the model has no output '{output.tensor}' for '{output.name}'")
    if output.rank is not None:
        values = ranked(array, output)
        return _typed(values, output) if output.probability else values
    values = array
    if array.ndim == 2:
        column = output.column if output.column is not None else 0
        width = array.shape[1]
        if column >= width or (output.column is None and width != 1):
            raise ProofError(f"the answer '{output.name}' has the shape {list(array.shape)}")
        values = array[:, column]
    if values.shape != (rows,) or (array.ndim == 1 and output.column not in (None, 0)):
        raise ProofError(
            f"the answer '{output.name}' has the shape {list(array.shape)} for {rows} rows"
        )
    if output.threshold is not None:
        return decided(values, output)
    return translated(values, output) if output.given is not None else _typed(values, output)


def _typed(values: NDArray[Any], output: Output) -> NDArray[Any]:
    """Return the values in the output's type; raises ProofError where they can't be meant."""
    if output.type == "string":
        return values if values.dtype.kind in "OU" else values.astype(str).astype(object)
    if values.dtype.kind not in "fiub":
        try:
            values = values.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ProofError(f"the answer '{output.name}' is not a number") from error
    if len(values) and _doubtful(values, output):
        bad = ~np.isfinite(values)
        if output.probability:
            bad |= (values < -ROUNDING) | (values > 1 + ROUNDING)
        if output.type in ("long", "boolean"):
            bad |= values != np.trunc(values)
        if bad.any():
            row = int(np.argmax(bad))
            expected = _expected(output)
            raise ProofError(
                f"the answer '{output.name}' is {values[row]} in row {row}, not {expected}"
            )
        if output.probability:
            values = np.clip(values, 0.0, 1.0)
    return values.astype({"long": np.int64, "boolean": np.bool_}.get(output.type, np.float64))


def _doubtful(values: NDArray[Any], output: Output) -> bool:
    """Whether values must be looked at one by one: smallest and largest tell of most that they need not be."""
    low, high = np.minimum.reduce(values), np.maximum.reduce(values)  # NaN where there is any
    if output.probability:
        return not (low >= 0 and high <= 1)
    return output.type != "double" or not (math.isfinite(low) and math.isfinite(high))


def _expected(output: Output) -> str:
    if output.probability:
        return "a probability in [0, 1]"
    return "a finite number" if output.type == "double" else "a whole number"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        seen: set[str] = set()
        name = next(k for k, _ in pairs if k in seen or seen.add(k))  # type: ignore[func-returns-value]
        raise MalformedError(f"the key {show(name)} appears twice in one object")
    return record


def _closed(signature: Signature) -> tuple[tuple[str, int, frozenset[Any]], ...]:
    """Return block, column and allowed values of each feature that takes no unseen category."""
    found = []
    for block in ("numbers", "strings"):
        for column, feature in enumerate(getattr(signature, block)):
            if feature.categories is not None and not feature.unseen:
                null = {NULL_STRING} if block == "strings" else set()
                found.append((block, column, frozenset(feature.categories) | null))
    return tuple(found)


def _quotes(body: bytes) -> int:
    """Return how many quotation marks a body has; of a long one numpy counts them in a sixth of the time."""
    if len(body) < _LONG:
        return body.count(b'"')
    return int(np.count_nonzero(np.frombuffer(body, np.uint8) == ord('"')))


def _taken(rows: list[tuple[Any, ...]], wide: int) -> bool:
    """Whether every text is valid Unicode, and none stands for null: a caller's may hold half a surrogate pair."""
    try:
        for row in rows:
            if NULL_STRING in (texts := row[wide:]):
                return False
            "".join(filter(None, texts)).encode()
    except UnicodeEncodeError:
        return False
    return True


def _struct(signature: Signature) -> type[msgspec.Struct]:
    """Return the type of one record, numbers first: every field required, no other allowed."""
    features = (*signature.numbers, *signature.strings)
    fields = [(f"f{index}", _type(f)) for index, f in enumerate(features)]
    names = {f"f{index}": f.name for index, f in enumerate(features)}
    return msgspec.defstruct("Record", fields, rename=names, forbid_unknown_fields=True, gc=False)


def _type(feature: Feature) -> Any:
    least = -WHOLE if feature.least is None else math.ceil(max(feature.least, -WHOLE))
    most = WHOLE if feature.most is None else math.floor(min(feature.most, WHOLE))
    types: dict[str, Any] = {
        "double": Annotated[
            float,
            msgspec.Meta(
                ge=-LARGEST if feature.least is None else feature.least,
                le=LARGEST if feature.most is None else feature.most,
            ),
        ],
        "long": Annotated[int, msgspec.Meta(ge=least, le=most)],
        "boolean": bool,
        "string": str,
    }
    return types[feature.type] | None if feature.nullable else types[feature.type]
