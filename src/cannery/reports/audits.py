"""An audit as a person reads it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape

from cannery.audits.findings import Audit, Finding
from cannery.reports.text import human_bytes

TRUST = {
    "pickle": "a program: opening it runs whatever it names; interpreted here, not run",
    "joblib": "a pickle with arrays, maybe compressed: a program too; interpreted here, not run",
    "skops": "data, but loading it makes every type that it lists; types reviewed here",
    "onnx": "a graph: no code of its own; operators, shapes and references bounded here",
    "can": "sealed by Cannery: opens only if every digest holds",
}
"""What each format may do when it is opened."""

STYLES = {"safe": "green", "review": "yellow", "unsafe": "red", "unreadable": "magenta"}


def _finding(finding: Finding) -> list[str]:
    place = f" at offset {finding.offset}" if finding.offset is not None else ""
    member = f" in {finding.member}" if finding.member else ""
    style = STYLES[finding.severity]
    head = f"  [{style}]{finding.severity}[/] [bold]{finding.rule}[/]{place}{escape(member)}"
    lines = [f"{head}: {escape(finding.message)}"]
    if finding.remedy:
        lines.append(f"    [dim]remedy:[/] {escape(finding.remedy)}")
    return lines


def audit_text(name: str, audit: Audit, standing: Sequence[Finding], *, names: bool) -> str:
    """Return the report of one file in rich markup; `standing` are the findings left by the policy."""
    style = STYLES[audit.verdict]
    versions = "".join(f", {library} {version}" for library, version in audit.versions.items())
    listed = sum(reached.listed for reached in audit.names)
    lines = [
        f"[bold]{escape(name)}[/]  [bold {style}]{audit.verdict}[/]",
        f"  {audit.format}, {human_bytes(audit.size)}{escape(versions)}",
        f"  [dim]{TRUST.get(audit.format, '')}[/]",
        f"  {len(audit.names)} names reached, {listed} of them listed",
    ]
    if names:
        lines += [
            f"    {'[green]listed[/]  ' if r.listed else '[yellow]unlisted[/]'} {r.role:<9} {escape(r.name)}"
            for r in audit.names
        ]
    for finding in standing:
        lines += _finding(finding)
    trusted = len(audit.findings) - len(standing)
    if trusted:
        lines.append(f"  {trusted} findings lifted by the policy")
    return "\n".join(lines)
