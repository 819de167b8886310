"""No hostile pickle is called safe, and none runs while it is audited."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import hostile
import hostile_files
import pickles as p
import pytest
from audit_sources import AuditBytes

IDS = [f"{kind}-{number}" for number, (kind, _) in enumerate(hostile.CASES)]


@pytest.mark.parametrize("case", hostile.CASES, ids=IDS)
def test_a_hostile_pickle_is_not_safe_and_does_not_run(
    case: hostile.Case, audit_bytes: AuditBytes, marker: Path
) -> None:
    """The verdict is not safe, a finding says why, and the payload's file does not exist."""
    found = audit_bytes(case[1](marker))
    assert found.verdict != "safe"
    assert found.findings
    assert not marker.exists()


@pytest.mark.parametrize("case", hostile.CASES, ids=IDS)
def test_a_hostile_pickle_inside_a_joblib_file_is_not_safe(
    case: hostile.Case, audit_bytes: AuditBytes, marker: Path
) -> None:
    """Joblib's reading of the same bytes is judged as strictly."""
    assert audit_bytes(case[1](marker), "joblib").verdict != "safe"
    assert not marker.exists()


def test_there_are_enough_kinds_of_attack() -> None:
    """The corpus, pickles and the files around them, has at least 250 cases of at least 100 classes."""
    cases = [*hostile.CASES, *hostile_files.CASES]
    assert len(cases) >= 250
    assert len({kind.partition(":")[0] for kind, _ in cases}) >= 100


def test_the_payloads_are_real(tmp_path: Path) -> None:
    """Opened in a process of its own, the payloads of several classes do create their files."""
    wanted = {
        "shell:os",
        "python:builtins",
        "pickled:4",
        "inst",
        "obj",
        "scipy-template",
        "state-of-pairs",
        "state-of-keys",
    }
    wanted |= {"stray-pop", "memo-overwrite"}
    script = (
        "import sys, pickle, io\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        found = pickle.load(open(path, 'rb'))\n"
        "        callable(found) and found(1)\n"
        "    except Exception:\n"
        "        pass\n"
    )
    files, markers = [], []
    for number, (kind, make) in enumerate(hostile.CASES):
        if kind in wanted:
            wanted.discard(kind)
            markers.append(tmp_path / f"owned{number}")
            files.append(tmp_path / f"{number}.pkl")
            files[-1].write_bytes(make(markers[-1]))
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *map(str, files)],
        check=True,
        env=dict(os.environ),
        capture_output=True,
    )
    assert [m.name for m in markers if not m.exists()] == []


def test_a_dangerous_name_is_unsafe_and_names_its_offset(audit_bytes: AuditBytes) -> None:
    """os.system is found with its name, its place and the worst severity."""
    found = audit_bytes(p.make_pickle(hostile.payload(Path("x"))))
    finding = found.findings[0]
    assert (finding.rule, finding.severity, finding.name) == (
        "dangerous-name",
        "unsafe",
        "os.system",
    )
    assert finding.offset == 2
    assert [(n.name, n.role, n.listed) for n in found.names] == [("os.system", "function", False)]


def test_an_unknown_name_is_for_review_with_the_line_to_add(audit_bytes: AuditBytes) -> None:
    """A name that no table lists is neither safe nor unsafe; the remedy is the exact line."""
    found = audit_bytes(p.make_pickle(p.made(p.name("acme.features", "Ratio"))))
    assert found.verdict == "review"
    assert found.findings[0].rule == "unknown-name"
    assert '[trust] names."acme.features.Ratio" = "why you trust it"' in str(
        found.findings[0].remedy
    )


def test_a_payload_after_a_flood_of_findings_still_counts(audit_bytes: AuditBytes) -> None:
    """When more is found than is listed, the rest can't be lifted by trusting what is listed."""
    flood = b"".join(p.name("acme", f"n{i}") for i in range(300))
    found = audit_bytes(p.make_pickle(p.MARK + flood + hostile.payload(Path("x")) + b"l"))
    assert found.verdict == "unsafe"
    assert any(f.rule == "too-many-findings" and f.severity == "unsafe" for f in found.findings)
