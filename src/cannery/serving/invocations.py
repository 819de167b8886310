"""MLflow's scoring protocol: the forms of a request body, turned into records."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cannery.errors import MalformedError
from cannery.serving.schema import parse
from cannery.signatures import Feature, Signature

FORMS = ("dataframe_records", "dataframe_split", "instances", "inputs")
Record = dict[str, Any]


def records_of_json(body: bytes, signature: Signature) -> list[Any]:
    """Return the records of a JSON body, in whichever of the four forms; raises MalformedError."""
    document = parse(body)
    if not isinstance(document, dict):
        raise MalformedError(f"the body must be an object with one of {', '.join(FORMS)}")
    forms = [key for key in document if key in FORMS]
    others = [key for key in document if key not in FORMS and key != "params"]
    if len(forms) != 1 or others:
        found = ", ".join(repr(key[:60]) for key in [*document][:20]) or "nothing"
        raise MalformedError(
            f"the body must have exactly one of {', '.join(FORMS)}; it has {found}"
        )
    if document.get("params"):
        raise MalformedError("the model takes no 'params'")
    return _with_nulls(_records(forms[0], document[forms[0]], signature), signature)


def _records(form: str, value: Any, signature: Signature) -> list[Any]:
    match form:
        case "dataframe_split":
            return _split(value)
        case "dataframe_records":
            return _listed(value, "dataframe_records")
        case "inputs" if isinstance(value, dict):
            return _columns(value)
        case _:
            return _positional(_listed(value, form), signature)


def _with_nulls(records: list[Any], signature: Signature) -> list[Any]:
    """Return the records with null for each absent field that may be null: MLflow's optional columns."""
    absent = {f.name: None for f in signature.features if f.nullable}
    if not absent:
        return records
    return [{**absent, **row} if isinstance(row, dict) else row for row in records]


def records_of_csv(body: bytes, signature: Signature) -> list[Record]:
    """Return the records of a CSV body with a header line; raises MalformedError.

    An empty cell is null where its field may be null (else empty text); cells that are no number
    stay as they are, so that the schema names them.
    """
    known = {f.name: f for f in signature.features}
    try:
        text = body.decode("utf-8-sig")
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise MalformedError(f"the body is not CSV: {error}") from error
    if not lines:
        raise MalformedError("the CSV body has no header line")
    names = lines[0]
    _distinct(names)
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(names):
            raise MalformedError(f"row {number} has {len(line)} cells, the header {len(names)}")
    records = [
        {name: _cell(cell, known.get(name)) for name, cell in zip(names, line, strict=True)}
        for line in lines[1:]
    ]
    return _with_nulls(records, signature)


def _listed(value: Any, form: str) -> list[Any]:
    if not isinstance(value, list):
        raise MalformedError(f"'{form}' must be an array")
    return value


def _split(value: Any) -> list[Any]:
    if not isinstance(value, dict) or not {"columns", "data"} <= value.keys():
        raise MalformedError("'dataframe_split' must be an object with 'columns' and 'data'")
    names = _listed(value["columns"], "columns")
    if not all(isinstance(name, str) for name in names):
        raise MalformedError("'dataframe_split.columns' must be an array of names")
    _distinct(names)
    return [_zipped(names, row, i) for i, row in enumerate(_listed(value["data"], "data"))]


def _positional(rows: list[Any], signature: Signature) -> list[Any]:
    """Return rows that are arrays as records, by the order of the features; objects stay."""
    names = [f.name for f in signature.features]
    return [
        row if isinstance(row, dict) else _zipped(names, row if isinstance(row, list) else [row], i)
        for i, row in enumerate(rows)
    ]


def _columns(columns: Mapping[str, Any]) -> list[Record]:
    """Return columns (field → array, or one value) as records."""
    arrays = {
        name: value if isinstance(value, list) else [value] for name, value in columns.items()
    }
    lengths = {len(array) for array in arrays.values()}
    if len(lengths) > 1:
        raise MalformedError(f"the columns of 'inputs' differ in length: {sorted(lengths)}")
    return [dict(zip(arrays, row, strict=True)) for row in zip(*arrays.values(), strict=True)]


def _zipped(names: Sequence[str], row: Any, index: int) -> Record:
    if not isinstance(row, list) or len(row) != len(names):
        raise MalformedError(f"row {index} must be an array of {len(names)} values")
    return dict(zip(names, row, strict=True))


def _distinct(names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise MalformedError(f"the column '{name[:60]}' appears twice")
        seen.add(name)


def _cell(cell: str, feature: Feature | None) -> Any:
    if feature is None:
        return cell
    if not cell and (feature.nullable or feature.type != "string"):
        return None
    return _CELLS[feature.type](cell.strip() if feature.type != "string" else cell)


def _number(cell: str) -> Any:
    try:
        return cell if "_" in cell else float(cell)  # Python reads 1_000, CSV does not
    except ValueError:
        return cell


def _whole(cell: str) -> Any:
    try:
        return cell if "_" in cell else int(cell)
    except ValueError:
        return _number(cell)


_CELLS: dict[str, Callable[[str], Any]] = {
    "double": _number,
    "long": _whole,
    "boolean": lambda cell: {"true": True, "false": False}.get(cell.lower(), cell),
    "string": str,
}
