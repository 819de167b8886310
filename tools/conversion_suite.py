"""Run the conversion suite and write the page of what converts, matches and falls back.

python tools/conversion_suite.py [--only TEXT] [--worker] [--page docs/conversions.md]
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import click
from suite import Finding, run
from suite_cases import cases


def main() -> None:
    """Run the cases that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cases whose group or name contains this")
    parser.add_argument("--worker", action="store_true", help="open originals in the sandbox")
    parser.add_argument("--page", type=Path, help="write the page here")
    told = parser.parse_args()
    found = []
    for case in cases():
        if told.only in f"{case.group}: {case.name}":
            found.append(run(case, worker=told.worker))
            one = found[-1]
            click.echo(
                f"{one.outcome:8} {one.seconds:6.2f}s {one.maximum:8.1e} {one.name} {one.reason}",
            )
    click.echo(dict(Counter(f.outcome for f in found)), err=True)
    if told.page:
        told.page.write_text(page(found))


def page(found: list[Finding]) -> str:
    """Return the page in Markdown."""
    return ""


if __name__ == "__main__":
    main()
