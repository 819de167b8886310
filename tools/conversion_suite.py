"""Run the conversion suite and write the page of what converts, matches and falls back.

python tools/conversion_suite.py [--only TEXT] [--worker] [--page docs/conversions.md]
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import click
from originals import VERSIONS
from suite import Finding, run
from suite_cases import cases

_HEAD = """\
# What converts, and what it answers

Made by `python tools/conversion_suite.py --page docs/conversions.md`, from {count} fitted models: single
estimators, transformers, pipelines on the churn data and on made-up numbers, boosters and texts
(`tests/support/suite_cases.py`; scikit-learn {version}). Each was saved, audited, opened, converted and
audited again, and the scorer that serves was compared with the original on every kind of row: the
sample, rows to either side of split thresholds, nulls, values that were never seen, and extremes (up to
1e15, the edges of float32, subnormal numbers). Equal means: no label changed, and no score differs by
more than 1e-6.

A graph that is not equal is never served: the next runtime is tried, and what is served has passed the
same comparison.
"""


@click.command()
@click.option("--only", default="", help="Cases whose group or name contains this.")
@click.option("--worker", is_flag=True, help="Open the originals in the sandbox.")
@click.option("--page", type=click.Path(path_type=Path), help="Write the page here.")
def main(only: str, page: Path | None, *, worker: bool) -> None:
    """Run the cases that were asked for."""
    found = []
    for case in cases():
        if only in f"{case.group}: {case.name}":
            one = run(case, worker=worker)
            found.append(one)
            told = (
                f"{one.outcome:8} {one.seconds:6.2f} s {one.maximum:8.1e} {one.name}  {one.reason}"
            )
            click.echo(told.rstrip())
    click.echo(dict(Counter(f.outcome for f in found)), err=True)
    if page is not None:
        page.write_text("\n".join(lines(found)) + "\n")


def lines(found: list[Finding]) -> Iterator[str]:
    """Yield the page in Markdown."""
    yield _HEAD.format(count=len(found), version=VERSIONS["scikit-learn"])
    yield "| group | models | equal graph | another runtime | refused |"
    yield "|---|--:|--:|--:|--:|"
    groups = list(dict.fromkeys(f.group for f in found))
    for group in (*groups, "all"):
        counts = Counter(f.outcome for f in found if group in (f.group, "all"))
        told = " | ".join(str(counts[o]) for o in ("equal", "fallback", "refused"))
        yield f"| {group} | {counts.total()} | {told} |"
    yield "\n## What falls back, and why\n"
    yield "| model | runs as | because |"
    yield "|---|---|---|"
    for one in found:
        if one.outcome != "equal":
            yield f"| {_cell(one.name)} | {one.runtime or 'nothing'} | {_cell(_reason(one))} |"
    for group in groups:
        yield f"\n## {group.capitalize()}: equal\n"
        yield "| model | largest difference |"
        yield "|---|--:|"
        for one in found:
            if (one.group, one.outcome) == (group, "equal"):
                yield f"| {_cell(one.name)} | {one.maximum:.0e} |"


def _reason(one: Finding) -> str:
    """Return the reason without the parts that repeat the model."""
    text = re.sub(r"^no runtime .*? does: |^onnx: ", "", one.reason)
    text = re.sub(r"can't convert '.*?' \((?:\w+\.)*(\w+)\) exactly: ", r"\1: ", text)
    return re.sub(r"'/[^']*'", "the model", text)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    main()
