"""Run every benchmark and print one Markdown table."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from measuring import Figure, main, run

SCRIPTS = ("main_job.py", "serving.py")


def measure() -> list[Figure]:
    """Return the figures of every script."""
    figures = []
    for name in SCRIPTS:
        out = run([sys.executable, str(Path(__file__).parent / name), "--json"]).out
        figures += [Figure(**figure) for figure in json.loads(out)]
    return figures


if __name__ == "__main__":
    main(__doc__, measure)
