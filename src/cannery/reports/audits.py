"""An audit as a person reads it."""

from __future__ import annotations

import shlex
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cannery.audits.findings import Finding
from cannery.audits.rules import OTHER, RULES
from cannery.errors import harmless
from cannery.reports.text import console, counted, human_bytes
from cannery.sweeps import Audited, Tell

TRUST = {
    "pickle": "a program: opening it runs whatever it names; interpreted here, not run",
    "joblib": "a pickle with arrays, maybe compressed: a program too; interpreted here, not run",
    "skops": "data, but loading it makes every type that it lists; types reviewed here",
    "onnx": "a graph: no code of its own; operators, shapes and references bounded here",
    "xgboost": "numbers that the library follows in native code; indices checked here",
    "torch": "a pickle that asks for tensors: a program too; interpreted here, not run",
    "numpy": "numbers, or objects that are a pickle; sizes checked here",
    "archive": "nothing by itself; what is inside is judged one by one",
}
TRUST |= dict.fromkeys(("lightgbm", "catboost"), TRUST["xgboost"])
"""What each format may do when it is opened."""

STYLES = {"safe": "green", "review": "yellow", "unsafe": "red", "unreadable": "magenta"}

_PATIENCE = 1.0
"""Seconds of work before a bar appears."""


def _shown(text: str) -> str:
    """Return text for rich markup, in which nothing can steer the terminal."""
    return escape(harmless(text))


def _finding(finding: Finding, said: set[str]) -> list[str]:
    """Return the lines of a finding; why it matters and what to do are `said` once for all alike."""
    place = f" at offset {finding.offset}" if finding.offset is not None else ""
    member = f" in {finding.member}" if finding.member else ""
    style = STYLES[finding.severity]
    rule = "" if finding.rule == finding.severity else f" [bold]{finding.rule}[/]"
    head = f"  [{style}]{finding.severity}[/]{rule}{place}{_shown(member)}"
    lines = [f"{head}: {_shown(finding.message)}"]
    why = RULES.get(finding.rule, OTHER).why
    for label, text in (("why:   ", why), ("remedy:", finding.remedy)):
        if text and text not in said:
            said.add(text)
            lines.append(f"    [dim]{label}[/] {_shown(text)}")
    return lines


def audit_text(audited: Audited, *, names: bool, brief: bool) -> str:
    """Return the report of one model in rich markup; `brief` leaves one line of what is safe."""
    style = STYLES[audited.judgement]
    head = f"[bold]{_shown(audited.model)}[/]  [bold {style}]{audited.verdict}[/]"
    if lifted := len(audited.findings) - len(audited.standing):
        passes = ", passes: " if audited.judgement == "safe" else ", "
        head += f"{passes}{counted(lifted, 'finding')} lifted by the policy"
    if brief and not names and audited.judgement == "safe":
        return head
    said: set[str] = set()
    findings = [line for finding in audited.standing for line in _finding(finding, said)]
    if not audited.digest:
        return "\n".join([head, *findings])
    versions = "".join(f", {library} {version}" for library, version in audited.versions.items())
    count, listed = len(audited.names), sum(reached.listed for reached in audited.names)
    lines = [
        head,
        f"  {audited.format}, {human_bytes(audited.size)}{_shown(versions)}",
        f"  [dim]{TRUST.get(audited.format, '')}[/]",
        f"  {count} name{'' if count == 1 else 's'} reached, {listed} listed",
    ]
    if names:
        lines += [
            f"    {'[green]listed[/]  ' if r.listed else '[yellow]unlisted[/]'} {r.role:<9} {_shown(r.name)}"
            for r in audited.names
        ]
    lines += findings
    asked_for = {finding.name for finding in audited.standing if finding.severity == "review"}
    if len(asked_for) == len(audited.standing) > 1:
        line = f"cannery trust --of {shlex.quote(audited.model)} --reason TEXT"
        lines.append(f"  once you have reviewed all {len(asked_for)}: {_shown(line)}")
    return "\n".join(lines)


def sweep_text(audits: Sequence[Audited], others: int) -> str:
    """Return one line, in rich markup, that sums a sweep up by what remains under the policy."""
    count: Counter[str] = Counter(audited.judgement for audited in audits)
    shares = [f"[{STYLES[word]}]{count[word]} {word}[/]" for word in STYLES if count[word]]
    left = f"; {counted(others, 'other file')} not looked at" if others else ""
    return (
        f"[bold]{counted(len(audits), 'model')}[/]{': ' if shares else ''}{', '.join(shares)}{left}"
    )


@contextmanager
def bar(*, silent: bool) -> Iterator[Tell]:
    """Yield what shows a bar on a terminal, from the second second of the work on."""
    screen = console()
    columns = (TextColumn("auditing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bars = Progress(
        *columns, console=screen, transient=True, redirect_stdout=False, redirect_stderr=False
    )
    task = bars.add_task("", total=None)
    timer = threading.Timer(_PATIENCE, bars.start)
    shown = screen.is_terminal and not silent
    if shown:
        timer.start()
    try:
        yield lambda done, models: bars.update(task, completed=done, total=models)
    finally:
        timer.cancel()
        if shown:  # elsewhere even the end of a bar that never began writes a line
            bars.stop()
