"""The golden records in the words of each protocol; each verb raises ProofError unless they are answered as recorded."""

from __future__ import annotations

import csv as tables
import io
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from cannery.cans.manifest import CanManifest
from cannery.engines.asking import JSON, Answer, ask
from cannery.engines.engine import Container
from cannery.errors import ProofError
from cannery.serving.canary import difference
from cannery.signatures import Canary

CSV = "text/csv"
_SAID = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """What is asked, and what must be answered."""

    canary: Canary
    manifest: CanManifest

    @property
    def names(self) -> list[str]:
        """The features, in order."""
        return [feature.name for feature in self.manifest.signature.features]

    @property
    def model(self) -> str:
        """The model's name as it stands in an address."""
        return quote(self.manifest.name, safe="")

    @property
    def rows(self) -> list[list[Any]]:
        """The records as arrays."""
        return [[record.get(name) for name in self.names] for record in self.canary.records]

    def compare(self, answers: Any, rows: slice = slice(None)) -> None:
        """Raise ProofError unless these are the answers to the records, or to some of them."""
        if not isinstance(answers, list) or not all(isinstance(row, dict) for row in answers):
            raise ProofError("the canary's answer is neither a record nor a list of records")
        wanted = self.canary.outputs[rows]
        problem = difference(wanted, answers, self.manifest.signature, self.canary.tolerance)
        if problem:
            raise ProofError(f"the canary is off: {problem}")


def records(container: Container, golden: Golden) -> None:
    """Ask `/predict` for one record, and for all."""
    first = answered(container, "/predict", golden.canary.records[0])
    golden.compare([first], slice(1))
    golden.compare(answered(container, "/predict", list(golden.canary.records)))


def instances(container: Container, golden: Golden, path: str) -> None:
    """Ask with `instances`, as TensorFlow Serving had it, and all after it."""
    answer = answered(container, path, {"instances": list(golden.canary.records)})
    golden.compare(_member(answer, "predictions", path))


def csv(container: Container, golden: Golden, path: str) -> bool:
    """Ask with CSV; False where a record has an empty text, which is null in CSV."""
    if any("" in row for row in golden.rows):
        return False
    text = io.StringIO(newline="")
    writer = tables.writer(text)
    writer.writerow(golden.names)
    writer.writerows([_cell(value) for value in row] for row in golden.rows)
    answer = answered(container, path, text.getvalue().encode(), kind=CSV)
    golden.compare(_member(answer, "predictions", path))
    return True


def input_data(container: Container, golden: Golden, path: str) -> None:
    """Ask with Azure's `input_data`, as MLflow's split frame."""
    rows = golden.rows
    frame = {"columns": golden.names, "index": list(range(len(rows))), "data": rows}
    golden.compare(answered(container, path, {"input_data": frame}))


def tensors(container: Container, golden: Golden) -> None:
    """Ask with a tensor for each feature, by the Open Inference Protocol."""
    from cannery.serving.tensors import DATATYPES  # numpy

    columns = zip(golden.manifest.signature.features, zip(*golden.rows, strict=True), strict=True)
    inputs = [
        {"name": f.name, "datatype": DATATYPES[f.type], "shape": [len(data)], "data": data}
        for f, data in columns
    ]
    path = f"/v2/models/{golden.model}/infer"
    outputs = _member(answered(container, path, {"inputs": inputs}), "outputs", path)
    try:
        fields = {tensor["name"]: tensor["data"] for tensor in outputs}
        answers = [
            dict(zip(fields, row, strict=True)) for row in zip(*fields.values(), strict=True)
        ]
    except (TypeError, KeyError, ValueError) as error:
        raise ProofError(f"{path} answers no tensors") from error
    golden.compare(answers)


def answered(container: Container, path: str, document: Any, *, kind: str = JSON) -> Any:
    """Return the JSON value that answers a POST; raises ProofError unless it is a 200."""
    answer = post(container, path, document, kind=kind)
    if answer.status != 200:
        said = answer.body[:_SAID].decode(errors="replace").strip()
        raise ProofError(f"the canary is answered {answer.status} at {path}: {said}")
    return answer.json()


def post(container: Container, path: str, document: Any, *, kind: str = JSON) -> Answer:
    """Send a POST; raises ProofError without an answer."""
    try:
        return ask(container.url, path, document=document, kind=kind, method="POST")
    except OSError as error:
        raise ProofError(f"{path} does not answer: {error}") from error


def _member(answer: Any, name: str, path: str) -> Any:
    if not isinstance(answer, dict) or name not in answer:
        raise ProofError(f"{path} answers without '{name}'")
    return answer[name]


def _cell(value: Any) -> Any:
    """Return a value as CSV has it: Python would write True."""
    return str(value).lower() if isinstance(value, bool) else value
