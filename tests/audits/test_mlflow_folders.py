"""MLflow folders: honest ones pass, code that would travel along does not, and every file is accounted for."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import hostile
import mlflow
import numpy as np
import pytest
import skops.io
from audit_sources import AuditBytes
from estimators import churn
from sklearn.linear_model import LogisticRegression

from cannery.audits.audit import audit
from cannery.sources.fetch import fetch


def document(**python: Any) -> dict[str, Any]:
    """Return the MLmodel document of a scikit-learn model."""
    function = {"loader_module": "mlflow.sklearn", "model_path": "model.pkl", "env": {}}
    return {
        "flavors": {
            "python_function": {**function, **python},
            "sklearn": {"pickled_model": "model.pkl", "code": None, "sklearn_version": "1.9.1"},
        }
    }


MODEL = pickle.dumps(LogisticRegression().fit(np.eye(4), [0, 1, 0, 1]))
METADATA = {"MLmodel": b"flavors: {}\n", "requirements.txt": b"scikit-learn\n", "conda.yaml": b"{}"}


def test_an_honest_folder_is_safe(audit_folder: AuditBytes) -> None:
    """The model, and the text beside it."""
    found = audit_folder({**METADATA, "model.pkl": MODEL}, "model.pkl", document())
    assert (found.findings, found.verdict) == ((), "safe")
    assert all(name.member == "model.pkl" for name in found.names)


@pytest.mark.parametrize("form", ["pickle", "cloudpickle", "skops"])
def test_what_mlflow_itself_writes_is_safe(form: str, tmp_path: Path) -> None:
    """A folder saved by MLflow in each of its forms."""
    folder = tmp_path / "saved"
    trusted = {"skops_trusted_types": ["sklearn.tree._tree.Tree"]} if form == "skops" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.sklearn.save_model(
            churn(), str(folder), serialization_format=form, pip_requirements=["x"], **trusted
        )
    found = audit(fetch(str(folder), staging=tmp_path / "kept"))
    assert (found.findings, found.verdict) == ((), "safe")


CODE: dict[str, tuple[dict[str, bytes], dict[str, Any]]] = {
    "code folder": ({"code/acme.py": b"import os"}, {"code": "code"}),
    "code folder alone": ({"code/data.txt": b"x"}, {}),
    "code paths": ({}, {"code_paths": ["src"]}),
    "model code path": ({}, {"model_code_path": "model.py"}),
    "loader of its own": ({}, {"loader_module": "acme.loader"}),
    "pyfunc model": ({}, {"loader_module": "mlflow.pyfunc.model", "python_model": "p.pkl"}),
    "module beside": ({"sklearn.py": b"import os"}, {}),
    "library beside": ({"x.so": b"\x7fELF"}, {}),
    "escaping path": ({}, {"model_path": "../../model.pkl"}),
    "absolute path": ({}, {"data": "/etc/passwd"}),
    "second pickle": ({"other.dat": pickle.dumps(hostile.Calls(print, 1))}, {}),
    "pickle in a text": ({"requirements.txt": pickle.dumps(hostile.Calls(print, 1))}, {}),
    "pickle in json": ({"input_example.json": pickle.dumps(hostile.Calls(eval, "1"))}, {}),
    "unknown file": ({"weights.xyz": b"\x00\x01\x02"}, {}),
}


@pytest.mark.parametrize("name", CODE)
def test_a_folder_with_more_than_a_model_is_not_safe(name: str, audit_folder: AuditBytes) -> None:
    """Code, foreign loaders, paths that leave and files without a purpose are named."""
    files, python = CODE[name]
    found = audit_folder({**METADATA, "model.pkl": MODEL, **files}, "model.pkl", document(**python))
    assert found.verdict in ("unsafe", "review")


def test_a_second_pickle_is_audited_and_named(audit_folder: AuditBytes, marker: Path) -> None:
    """A hostile pickle beside an honest one is found, with its path."""
    import os

    files = {**METADATA, "model.pkl": MODEL, "sub/extra.bin": pickle.dumps(
        hostile.Calls(os.system, hostile.touch(marker))
    )}  # fmt: skip
    found = audit_folder(files, "model.pkl", document())
    assert [f.member for f in found.findings] == ["sub/extra.bin"]
    assert found.verdict == "unsafe"
    assert not marker.exists()


def test_an_honest_pickle_beside_the_model_is_safe(audit_folder: AuditBytes) -> None:
    """Its names are listed under its own path."""
    files = {**METADATA, "model.pkl": MODEL, "extra.skops": skops.io.dumps([1])}
    found = audit_folder(files, "model.pkl", document())
    assert found.findings == ()
    assert {n.member for n in found.names} == {"model.pkl"} | {
        n.member for n in found.names if n.member.startswith("extra.skops")
    }


def test_names_that_differ_in_case_alone_are_for_review(audit_folder: AuditBytes) -> None:
    """On another file system one takes the other's place; a name in two forms of a letter is such a one too."""
    twins = {"MODEL.pkl": MODEL, "Caf\u00e9.txt": b"a", "Cafe\u0301.txt": b"b", "conda.yml": b"{}"}
    found = audit_folder({**METADATA, **twins, "model.pkl": MODEL}, "model.pkl", document())
    assert found.verdict == "review"
    assert [(f.rule, f.name) for f in found.findings] == [
        ("twin-names", "Caf\u00e9.txt"),
        ("twin-names", "model.pkl"),
    ]
    assert "'MODEL.pkl' and 'model.pkl'" in found.findings[1].message


def test_a_document_without_flavors_is_a_finding(audit_folder: AuditBytes) -> None:
    """A broken MLmodel is no traceback."""
    for broken in ({}, {"flavors": []}, {"flavors": {"sklearn": 3}}, {"flavors": {1: {"code": 2}}}):
        assert audit_folder({"model.pkl": MODEL}, "model.pkl", broken).verdict in (
            "unreadable", "safe", "unsafe",
        )  # fmt: skip


def test_a_remedy_names_only_what_a_policy_can_hold(audit_folder: AuditBytes) -> None:
    """For a path or a bare module the report has no line to add that would then be refused."""
    files = {**METADATA, "model.pkl": MODEL, "sub/weights.xyz": b"\x00\x01\x02"}
    found = audit_folder(files, "model.pkl", document(loader_module="loader"))
    assert {f.rule for f in found.findings} == {"loader-module", "unknown-file"}
    assert all("names." not in str(f.remedy) for f in found.findings)
