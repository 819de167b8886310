"""Scan every file of a folder in one process: `python audit_drivers.py SCANNER FOLDER ANSWERS`.

Runs in the environment of the scanner. Writes for each file whether it was objected to (an error counts
as an objection), in how many milliseconds, and at the end the most memory that was held.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE = 20
"""Seconds for one file; a scanner that takes longer has not answered."""

Scan = Callable[[str], bool]


def cannery() -> Scan:
    """As `cannery audit` does it: safe or not."""
    from cannery.audits.audit import audit
    from cannery.sources.fetch import fetch

    staging = Path.cwd()  # of what a registry holds
    return lambda path: audit(fetch(path, staging=staging)).verdict != "safe"


def picklescan() -> Scan:
    """Its own verdict; a scan that failed is an objection."""
    from picklescan.scanner import scan_file_path

    def scan(path: str) -> bool:
        found = scan_file_path(path)
        return bool(found.infected_files or found.scan_err)

    return scan


def modelscan() -> Scan:
    """Issues or errors; what it skips it does not object to."""
    from modelscan.modelscan import ModelScan

    scanner = ModelScan()

    def scan(path: str) -> bool:
        found = scanner.scan(path)
        return bool(found["summary"]["total_issues"] or found["errors"])

    return scan


def fickling() -> Scan:
    """Anything but likely safe."""
    import fickling as library

    return lambda path: not library.is_likely_safe(path)


def modelaudit() -> Scan:
    """Warnings and worse, or a scan that did not succeed."""
    from modelaudit import IssueSeverity, scan_file

    grave = {IssueSeverity.WARNING, IssueSeverity.CRITICAL}

    def scan(path: str) -> bool:
        found = scan_file(path)
        return not found.success or any(issue.severity in grave for issue in found.issues)

    return scan


SCANNERS: dict[str, Callable[[], Scan]] = {
    each.__name__: each for each in (cannery, picklescan, modelscan, fickling, modelaudit)
}


def timed(scan: Scan, path: Path) -> tuple[bool, float]:
    """Return whether a file was objected to, and the milliseconds of processor."""
    signal.alarm(PATIENCE)
    began = time.process_time()
    try:
        objected = scan(str(path))
    except Exception:
        objected = True
    finally:
        taken = (time.process_time() - began) * 1000
        signal.alarm(0)
    return objected, taken


def _too_long(*_: Any) -> None:
    raise TimeoutError


def main(name: str, folder: str, answers: str) -> None:
    """Scan the folder and write the answers."""
    warnings.simplefilter("ignore")
    logging.disable()
    signal.signal(signal.SIGALRM, _too_long)
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    found: dict[str, tuple[bool, float]] = {}
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        scan = SCANNERS[name]()
        timed(scan, files[0])  # warm
        for path in files:
            found[str(path.relative_to(folder))] = timed(scan, path)
    # Not getrusage: its peak begins with what the parent held.
    status = Path("/proc/self/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1000
    Path(answers).write_text(json.dumps({"files": found, "peak": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
