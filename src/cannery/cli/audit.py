"""`cannery audit`: what opening model files would do."""

from __future__ import annotations

import json
from pathlib import Path

import click
import msgspec

from cannery.blobs import refuse_existing, write_file
from cannery.cli.main import talks
from cannery.cli.projects import open_project, policy_option
from cannery.errors import UsageError

EXIT_CODES = {"safe": 0, "review": 1, "unsafe": 1, "unreadable": 2}
"""What each verdict that remains under the policy makes of the exit code."""


@click.command("audit")
@click.argument("models", metavar="[PATH|GLOB|URI...]", nargs=-1)
@policy_option
@click.option("--names", is_flag=True, help="List every name that the file reaches.")
@click.option("--json", "as_json", is_flag=True, help="Print the audits as JSON.")
@click.option("--sarif", metavar="FILE", help="Write the findings as SARIF 2.1.0; '-' is stdout.")
@click.option("--force", is_flag=True, help="Replace the SARIF file if it exists.")
@click.option("--explain", "asked", metavar="NAME|RULE", help="Say what is known of one, and end.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    models: tuple[str, ...],
    policy: Path | None,
    names: bool,
    as_json: bool,
    sarif: str | None,
    force: bool,
    asked: str | None,
) -> int:
    """Say what opening model files would do, without opening them.

    A folder of MLflow and a can are one model each; of any other folder every file that looks like
    a model is audited. Exit code 0: safe under the policy. 1: something stands against one of them.
    2: one is unreadable.
    """
    from rich.console import Console
    from rich.markup import escape

    from cannery.audits.explain import explain  # numpy
    from cannery.reports.audits import audit_text, bar, sweep_text
    from cannery.reports.sarif import sarif_log
    from cannery.reports.text import print_lines
    from cannery.sweeps import search, sweep

    screen = Console(highlight=False, soft_wrap=True)
    if asked is not None:
        print_lines(screen, escape(explain(asked)))
        return 0
    _check(models, as_json=as_json, sarif=sarif, force=force)
    trust = open_project(policy).policy
    with bar(silent=not talks(ctx)) as tell:
        found = search(models)
        audits = sweep(found.models, trust, tell)
    if sarif is not None:
        log = _json(sarif_log(audits))
        if sarif == "-":
            click.echo(log)
        else:
            with write_file(Path(sarif), force=force) as stream:
                stream.write(log + b"\n")
    if as_json:
        click.echo(_json(msgspec.to_builtins(audits)))
    elif sarif != "-":
        many = found.models != models or len(models) > 1
        for audited in audits:
            print_lines(screen, audit_text(audited, names=names, brief=many))
        if many:
            print_lines(screen, sweep_text(audits, found.others))
    return max((EXIT_CODES[audited.judgement] for audited in audits), default=0)


def _json(value: object) -> bytes:
    """Return indented JSON; half a surrogate, as names in hostile files may hold, stays an escape."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace")


def _check(models: tuple[str, ...], *, as_json: bool, sarif: str | None, force: bool) -> None:
    if not models:
        raise UsageError(
            "no model given", hint="name files, folders, globs, models:/name@alias or runs:/id/path"
        )
    if as_json and sarif == "-":
        raise UsageError(
            "--json and --sarif - both write to stdout", hint="give --sarif the name of a file"
        )
    if sarif not in (None, "-"):
        refuse_existing(Path(str(sarif)), force=force)
