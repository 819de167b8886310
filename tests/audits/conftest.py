"""What the tests of the audit share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from audit_sources import AuditBytes, make_source

from cannery.audits.audit import audit
from cannery.audits.findings import Audit
from cannery.sources.source import Format


@pytest.fixture
def audit_bytes(tmp_path: Path) -> AuditBytes:
    """Audit one file of given bytes."""

    def run(data: bytes, kind: Format = "pickle") -> Audit:
        folder = tmp_path / "model"
        folder.mkdir(exist_ok=True)
        return audit(make_source(folder, {"model.bin": data}, "model.bin", kind))

    return run


@pytest.fixture
def audit_folder(tmp_path: Path) -> AuditBytes:
    """Audit an MLflow folder of given files."""

    def run(
        files: Mapping[str, bytes], main: str, mlmodel: Mapping[str, Any], kind: Format = "pickle"
    ) -> Audit:
        return audit(make_source(tmp_path / "folder", files, main, kind, mlmodel))

    return run


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """Return the file that every payload would create."""
    return tmp_path / "owned"
