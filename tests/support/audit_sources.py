"""Sources of given bytes, for the tests of the audit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cannery.audits.findings import Audit
from cannery.blobs import Blob
from cannery.sources.source import Format, Origin, Source

AuditBytes = Callable[..., Audit]


def make_source(
    folder: Path,
    files: Mapping[str, bytes],
    main: str,
    kind: Format,
    mlmodel: Mapping[str, Any] | None = None,
) -> Source:
    """Write files and return the source that they are."""
    blobs = {}
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        blobs[name] = Blob.of(path)
    return Source(
        origin=Origin(given=main, resolved=str(folder / main)),
        format=kind,
        main=main,
        files=blobs,
        mlmodel=mlmodel,
    )
