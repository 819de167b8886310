"""`cannery audit`: what opening a model file would do."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import msgspec
from rich.console import Console

from cannery.audits.audit import audit
from cannery.audits.policy import objections
from cannery.cli.main import print_json
from cannery.cli.projects import open_project, policy_option
from cannery.reports.audits import audit_text
from cannery.sources.fetch import fetch


@click.command("audit")
@click.argument("models", metavar="PATH|URI...", nargs=-1, required=True)
@policy_option
@click.option("--names", is_flag=True, help="List every name that the file reaches.")
@click.option("--json", "as_json", is_flag=True, help="Print the audits as JSON.")
def command(models: tuple[str, ...], policy: Path | None, names: bool, as_json: bool) -> int:
    """Say what opening a model file would do, without opening it.

    Exit code 0: safe under the policy. 1: something stands against it. 2: unreadable.
    """
    trust = open_project(policy).policy
    screen = Console(highlight=False, soft_wrap=True)
    documents = []
    worst = 0
    for model in models:
        with tempfile.TemporaryDirectory(prefix="cannery-") as staging:
            facts = audit(fetch(model, staging=Path(staging)))
        standing = objections(facts, trust)
        unreadable = any(f.severity == "unreadable" for f in standing)
        worst = max(worst, 2 if unreadable else 1 if standing else 0)
        documents.append({"model": model, **msgspec.to_builtins(facts)})
        if not as_json:
            screen.print(audit_text(model, facts, standing, names=names))
    if as_json:
        print_json(documents)
    return worst
