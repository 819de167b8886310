"""MLflow folders: what would be imported to load them, and every file accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from cannery.audits.archives import name_problem
from cannery.audits.contents import content
from cannery.audits.ledger import Ledger, remedy_for
from cannery.audits.members import AuditData, Inside, ask_about_twins, audit_beside
from cannery.blobs import Blob
from cannery.errors import SourceError
from cannery.sources.source import Source

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

_BOOSTERS = ("catboost", "lightgbm", "xgboost")
FLAVORS = frozenset({"onnx", "python_function", "sklearn", *_BOOSTERS})
"""Flavors whose loaders do no more than that."""
_PATHS = ("data", "model_data", "model_path", "pickled_model")


def audit_folder(source: Source, ledger: Ledger, audit_data: AuditData) -> None:
    """Judge the MLmodel document and every file beside the model."""
    with Inside(ledger, "MLmodel"):
        _check_document(source.mlmodel or {}, ledger)
    ask_about_twins(sorted(source.files), ledger)
    for name, blob in sorted(source.files.items()):
        if name != source.main:
            with Inside(ledger, name):
                _check_file(name, blob, ledger, audit_data)


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
    if flavor not in FLAVORS:
        loader = loader or f"mlflow.{flavor}"
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
    if flavor in _BOOSTERS and values.get("model_class") is not None:
        # The loader imports it, and makes an object of it.
        module, _, qualname = str(values["model_class"]).rpartition(".")
        entry = ledger.listing.find(module, qualname)
        ledger.use(ledger.reach(module, qualname, None, entry), "class")
    for key in _PATHS:
        value = values.get(key)
        if isinstance(value, str) and (name_problem(value) or ":" in value):
            ledger.find("escaping-path", "unsafe", f"{key} {value[:120]!r} leaves the folder")


def _check_file(name: str, blob: Blob, ledger: Ledger, audit_data: AuditData) -> None:
    if name_problem(name):
        ledger.find("escaping-path", "unsafe", f"file {name[:120]!r} leaves the folder")
        return
    if PurePosixPath(name).parts[0] == "code":
        ledger.find("code", "unsafe", f"code travels along: '{name[:120]}'")
        return
    try:
        data = content(blob, ledger.limits)
        audit_beside(name, data, ledger, audit_data)
    except SourceError as error:
        ledger.find("unreadable", "unreadable", f"'{name[:120]}' can't be read: {error}")
