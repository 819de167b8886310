"""MLflow's scoring protocol and its relatives (KServe v1, Vertex, Azure): forms of a body, turned into records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from cannery.errors import MalformedError
from cannery.serving.choices import ALL, Answer, choose
from cannery.serving.messages import JSON, Request, Response, json_response
from cannery.serving.operations import Operation, Question
from cannery.serving.parquets import PARQUET, is_read, table_of
from cannery.serving.schema import check_rows, parse, rows_of
from cannery.serving.service import Service
from cannery.signatures import Feature, Signature

CSV = "text/csv"
PREDICTIONS = "predictions"
MLFLOW = ("dataframe_records", "dataframe_split", "instances", "inputs")
KSERVE = ("instances", "inputs")
AZURE = ("input_data", "data")
PARAMETERS = ("params", "parameters")
"""Where each protocol's callers choose: MLflow's and Azure's, and Vertex's."""
Record = dict[str, Any]


def invocations_operation(service: Service) -> Operation:
    """Return what `POST /invocations` does: MLflow's, SageMaker's and Vertex's protocol."""
    read = partial(_read, service, MLFLOW, PREDICTIONS)
    return Operation(read=read, takes=(JSON, CSV, *(PARQUET if is_read() else ())))


def kserve_operation(service: Service) -> Operation:
    """Return what `POST /v1/models/NAME:predict` does: the protocol of TensorFlow Serving and KServe."""
    return Operation(read=partial(_read, service, KSERVE, PREDICTIONS), takes=(JSON,), plain=True)


def azure_operation(service: Service) -> Operation:
    """Return what `POST /score` does: an array of answers for Azure's `input_data`, or `data`."""
    return Operation(read=partial(_read, service, AZURE, None), takes=(JSON,))


def _read(service: Service, forms: tuple[str, ...], key: str | None, request: Request) -> Question:
    """Return the question in a JSON body with one of the forms, in CSV or Parquet."""
    signature = service.manifest.signature
    choice = ALL
    if request.content_type == CSV:
        records: list[Any] = records_of_csv(request.body, signature)
    elif request.content_type in PARQUET:
        records = _with_nulls(_columns(table_of(request.body)), signature)
    else:
        document = _document(request.body, forms)
        records = _of_document(document, forms, len(request.body), signature)
        for name in PARAMETERS:
            if chosen := document.get(name):
                choice = choose(_mapping(chosen, name), signature, f"{name}.")
    return Question(batch=service.encode(records), choice=choice, write=partial(_write, key))


def _write(key: str | None, answer: Answer) -> Response:
    records = rows_of(answer)
    return json_response({key: records} if key else records, rows=len(records))


def _document(body: bytes, forms: tuple[str, ...]) -> dict[str, Any]:
    """Return the object with exactly one of the forms."""
    document = parse(body)
    if not isinstance(document, dict):
        raise MalformedError(f"the body must be an object with one of {', '.join(forms)}")
    others = [key for key in document if key not in PARAMETERS]
    if len(others) != 1 or others[0] not in forms:
        found = ", ".join(repr(key[:60]) for key in [*document][:20]) or "nothing"
        raise MalformedError(
            f"the body must have exactly one of {', '.join(forms)}; it has {found}"
        )
    return document


def _of_document(
    document: Mapping[str, Any], forms: tuple[str, ...], size: int, signature: Signature
) -> list[Any]:
    form = next(key for key in document if key in forms)
    check_rows(_rows(document[form]), size)
    return _with_nulls(_records(form, document[form], signature), signature)


def _rows(value: Any) -> int:
    """Return how many rows a value of any form has: it may be columns, or have them in 'data'."""
    if isinstance(value, dict):
        return max((_rows(each) for each in value.values() if isinstance(each, list)), default=0)
    return len(value) if isinstance(value, list) else 0


def _records(form: str, value: Any, signature: Signature) -> list[Any]:
    match form:
        case "dataframe_split":
            return _split(value, form, signature)
        case "dataframe_records":
            return _listed(value, form)
        case "input_data" if isinstance(value, dict) and "data" in value:
            return _split(value, form, signature)
        case "inputs" | "input_data" | "data" if isinstance(value, dict):
            return _columns(value)
        case _:
            return _positional(_listed(value, form), signature)


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError(f"'{name}' must be an object")
    return value


def _with_nulls(records: list[Any], signature: Signature) -> list[Any]:
    """Return the records with null for each absent field that may be null: MLflow's optional columns."""
    absent = {f.name: None for f in signature.features if f.nullable}
    if not absent:
        return records
    return [{**absent, **row} if isinstance(row, dict) else row for row in records]


def records_of_csv(body: bytes, signature: Signature) -> list[Record]:
    """Return the records of a CSV body; raises MalformedError.

    It has a header line as MLflow's callers send it, or none as SageMaker's do. An empty cell is null where its field may be null (else empty text); cells that are no number
    stay as they are, so that the schema names them.
    """
    import csv  # only for those who send it
    import io

    known = {f.name: f for f in signature.features}
    try:
        text = body.decode("utf-8-sig")
        check_rows(max(body.count(b"\n"), body.count(b"\r")), len(body))
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise MalformedError(f"the body is not CSV: {error}") from error
    if not lines:
        raise MalformedError("the CSV body has no header line")
    headless = _is_row(lines[0], signature)
    names, rows = (list(known), lines) if headless else (lines[0], lines[1:])
    _distinct(names)
    for number, line in enumerate(rows, start=1 if headless else 2):
        if len(line) != len(names):
            raise MalformedError(f"row {number} has {len(line)} cells, not {len(names)}")
    _meant(names, rows, signature)
    records = [
        {name: _cell(cell, known.get(name)) for name, cell in zip(names, line, strict=True)}
        for line in rows
    ]
    return _with_nulls(records, signature)


def _is_row(first: list[str], signature: Signature) -> bool:
    """Whether the first line of a CSV body is no header: it has numbers exactly where the model takes them.

    Numbers in order (`0,1,2`) are the names that pandas gives to columns without any.
    """
    features = signature.features
    if len(first) != len(features) or first == [str(n) for n in range(len(first))]:
        return False
    cells = [
        _cell(cell, feature)
        for cell, feature in zip(first, features, strict=True)
        if feature.type in ("double", "long")
    ]
    numbers = sum(isinstance(cell, float | int) for cell in cells)
    whole = numbers > 0 and numbers + cells.count(None) == len(cells)
    return whole and {f.name for f in features}.isdisjoint(first)


def _listed(value: Any, form: str) -> list[Any]:
    if not isinstance(value, list):
        raise MalformedError(f"'{form}' must be an array")
    return value


def _split(value: Any, form: str, signature: Signature) -> list[Any]:
    if not isinstance(value, dict) or not {"columns", "data"} <= value.keys():
        raise MalformedError(f"'{form}' must be an object with 'columns' and 'data'")
    if unknown := value.keys() - {"columns", "data", "index"}:
        raise MalformedError(f"'{form}' has an unknown key '{min(unknown)[:60]}'")
    names = _listed(value["columns"], "columns")
    if not all(isinstance(name, str) for name in names):
        raise MalformedError(f"'{form}.columns' must be an array of names")
    _distinct(names)
    rows = _listed(value["data"], "data")
    _meant(names, rows, signature)
    return [_zipped(names, row, i) for i, row in enumerate(rows)]


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
        raise MalformedError(f"the columns differ in length: {sorted(lengths)}")
    return [dict(zip(arrays, row, strict=True)) for row in zip(*arrays.values(), strict=True)]


def _zipped(names: Sequence[str], row: Any, index: int) -> Record:
    if not isinstance(row, list) or len(row) != len(names):
        raise MalformedError(f"row {index} must be an array of {len(names)} values")
    return dict(zip(names, row, strict=True))


def _meant(names: Sequence[str], rows: Sequence[Any], signature: Signature) -> None:
    """Raise MalformedError for columns of another table; where there are rows, the schema says more."""
    known = {f.name for f in signature.features}
    if not rows and not known.intersection(names):
        raise MalformedError("none of the columns is a field of the model")


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
