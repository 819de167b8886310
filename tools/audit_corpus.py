"""Audit folders made by `tests/support/corpus.py`: `python tools/audit_corpus.py FOLDER ...`.

Says of each folder how many files are safe, and of the others which findings they have.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

from cannery.audits.audit import audit
from cannery.audits.findings import Audit
from cannery.blobs import Blob
from cannery.sources.source import Format, Origin, Source

FORMATS: dict[str, Format] = {".pickle": "pickle", ".joblib": "joblib", ".skops": "skops"}


def audit_file(path: Path) -> Audit:
    """Audit one file, in the format that its ending says."""
    return audit(
        Source(
            origin=Origin(given=path.name, resolved=str(path)),
            format=FORMATS[path.suffix],
            main=path.name,
            files={path.name: Blob.of(path)},
        )
    )


def report(folder: Path) -> bool:
    """Say what the audit finds in a folder; returns whether every file is safe."""
    files = sorted(path for path in folder.iterdir() if path.suffix in FORMATS)
    verdicts: Counter[str] = Counter()
    findings: Counter[str] = Counter()
    for path in files:
        found = audit_file(path)
        verdicts[found.verdict] += 1
        model = path.name.partition(".")[0]
        findings.update(
            {f"{f.severity} {f.message} ({model}{path.suffix})" for f in found.findings}
        )
    versions = json.loads(folder.joinpath("versions.json").read_text())
    lines = [f"{folder.name}: {len(files)} files, {dict(verdicts)}, {versions}"]
    lines += [f"  {count:4} {text}" for text, count in findings.most_common()]
    sys.stdout.write("\n".join(lines) + "\n")
    return verdicts["safe"] == len(files)


if __name__ == "__main__":
    answers = [report(Path(folder)) for folder in sys.argv[1:]]
    sys.exit(0 if all(answers) else 1)
