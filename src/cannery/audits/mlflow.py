"""MLflow folders: what would be imported to load them, and every file accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Protocol

from cannery.audits.ledger import Ledger, remedy_for
from cannery.blobs import Blob
from cannery.errors import SourceError
from cannery.sources.sniff import sniff
from cannery.sources.source import Format, Source

LOADERS = frozenset(
    {
        "mlflow.catboost",
        "mlflow.lightgbm",
        "mlflow.onnx",
        "mlflow.sklearn",
        "mlflow.xgboost",
    }
)
"""Loader modules that read one model file and import no code of the folder."""

METADATA = frozenset(
    {
        "MLmodel",
        "conda.yaml",
        "constraints.txt",
        "input_example.json",
        "python_env.yaml",
        "registered_model_meta",
        "requirements.txt",
        "serving_input_example.json",
        "signature.json",
    }
)
"""Files that hold text about the model and that nothing runs."""

_CODE = (".py", ".pyc", ".pyd", ".so", ".dll", ".whl", ".egg", ".ipynb", ".sh", ".pth", ".dylib")
_TEXT = (".json", ".yaml", ".yml", ".txt", ".md", ".csv", ".html", ".png", ".svg", ".toml")
_TOUCHED = 1 << 20


class AuditFile(Protocol):
    """Audits one file of a source by its format."""

    def __call__(
        self,
        source: Source,
        name: str,
        format: Format,  # noqa: A002, the word of the noun
        ledger: Ledger,
        *,
        member: str,
    ) -> None:
        """Write what is found into the ledger."""


def audit_folder(source: Source, ledger: Ledger, audit_file: AuditFile) -> None:
    """Judge the MLmodel document and every file beside the model."""
    ledger.member = "MLmodel"
    try:
        _check_document(source.mlmodel or {}, ledger)
    finally:
        ledger.member = ""
    for name, blob in sorted(source.files.items()):
        if name != source.main:
            ledger.member = name
            try:
                _check_file(source, name, blob, ledger, audit_file)
            finally:
                ledger.member = ""


def _check_document(document: Mapping[str, Any], ledger: Ledger) -> None:
    flavors = document.get("flavors")
    if not isinstance(flavors, Mapping):
        ledger.find("broken-mlmodel", "unreadable", "the MLmodel document names no flavors")
        return
    for flavor, values in sorted(flavors.items(), key=lambda item: str(item[0])):
        if isinstance(values, Mapping):
            _check_flavor(str(flavor), values, ledger)


def _check_flavor(flavor: str, values: Mapping[str, Any], ledger: Ledger) -> None:
    loader = values.get("loader_module")
    if loader is not None and loader not in LOADERS:
        name = str(loader)[:200]
        message = f"flavor '{flavor}' is loaded by module '{name}', which is not listed"
        ledger.find("loader-module", "review", message, name=name, remedy=remedy_for(name))
    for key in ("code", "code_paths", "model_code_path"):
        if values.get(key):
            text = str(values[key])[:120]
            message = f"flavor '{flavor}' brings code along: {key} = {text!r}"
            ledger.find("code", "unsafe", message)
    if flavor == "python_function" and values.get("python_model"):
        message = "the folder holds a Python class of its own (python_model)"
        ledger.find("code", "unsafe", message)
    for key, value in values.items():
        if isinstance(value, str) and key in ("data", "pickled_model", "model_path", "model_data"):
            path = PurePosixPath(value.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts or ":" in value:
                ledger.find("escaping-path", "unsafe", f"{key} {value[:120]!r} leaves the folder")


def _check_file(
    source: Source, name: str, blob: Blob, ledger: Ledger, audit_file: AuditFile
) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        ledger.find("escaping-path", "unsafe", f"file {name[:120]!r} leaves the folder")
        return
    if path.parts[0] == "code" or path.suffix.lower() in _CODE:
        ledger.find("code", "unsafe", f"the folder brings code along: '{name[:120]}'")
        return
    if name in METADATA or path.suffix.lower() in _TEXT:
        if _is_text(blob):
            return
        ledger.find("disguised-file", "unsafe", f"'{name[:120]}' is not the text that it should be")
    found = _sniff(blob)
    if found is None:
        message = f"'{name[:120]}' belongs to no flavor that is known"
        ledger.find("unknown-file", "review", message, name=name[:120], remedy=remedy_for(name))
    else:
        audit_file(source, name, found, ledger, member=name)


def _head(blob: Blob, size: int) -> bytes:
    try:
        with blob.path.open("rb") as stream:
            return stream.read(size)
    except OSError as error:
        raise SourceError(f"can't read '{blob.path}': {error.strerror}") from error


def _is_text(blob: Blob) -> bool:
    """Tell whether a file begins as UTF-8 text (or a picture of a known kind)."""
    head = _head(blob, _TOUCHED)
    if head[:4] == b"\x89PNG":
        return True
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # Only a character cut in half at the very end is forgiven.
        return blob.size > len(head) and error.start > len(head) - 4
    return "\x00" not in text


def _sniff(blob: Blob) -> Format | None:
    try:
        return sniff(blob.path)
    except SourceError:
        return None
