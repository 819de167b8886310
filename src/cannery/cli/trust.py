"""`cannery trust`: write down that a person reviewed names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cannery.cli.main import print_json
from cannery.cli.projects import open_project, policy_option
from cannery.errors import UnsafeError, UsageError

if TYPE_CHECKING:
    from cannery.sweeps import Audited


@click.command("trust")
@click.argument("names", metavar="[NAME...]", nargs=-1)
@click.option("--reason", required=True, metavar="TEXT", help="What you reviewed, and when.")
@click.option(
    "--of", "models", metavar="MODEL", multiple=True, help="Every name of MODEL that is for review."
)
@click.option("--force", is_flag=True, help="Replace the reason of a name that is trusted already.")
@policy_option
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def command(
    names: tuple[str, ...],
    reason: str,
    models: tuple[str, ...],
    force: bool,
    policy: Path | None,
    as_json: bool,
) -> None:
    """Trust exact names, such as acme.features.Ratio, in cannery.toml.

    Adds them to the [trust] table of cannery.toml, or of [tool.cannery] in pyproject.toml, and
    leaves the rest of the file as it is. Commit it: the policy is reviewed like code.
    """
    from cannery.audits.reviews import trust  # numpy

    wanted = tuple(dict.fromkeys((*names, *_reviewed(models, policy))))
    if not wanted and not models:
        raise UsageError(
            "no name to trust", hint="name some, or a model with --of: cannery trust --of model.pkl"
        )
    if not wanted:
        click.echo("nothing to trust: no name is for review", err=True)
        return
    file = trust(wanted, reason, folder=Path.cwd(), file=policy, force=force)
    if as_json:
        print_json({"names": wanted, "reason": reason, "file": str(file)})
        return
    for name in wanted:
        click.echo(f"'{name}' is trusted in '{file}'")


def _reviewed(models: tuple[str, ...], policy: Path | None) -> list[str]:
    """Return the names for review of what is audited; raises UnsafeError where trust lifts not all."""
    if not models:
        return []
    from cannery.sweeps import search, sweep

    found = sweep(search(models).models, open_project(policy).policy, lambda *_: None)
    return [name for audited in found for name in _names(audited)]


def _names(audited: Audited) -> list[str]:
    for finding in audited.standing:
        if finding.severity != "review" or finding.name is None:
            raise UnsafeError(
                f"'{audited.model}' can't be trusted by its names: {finding.message}",
                hint=finding.remedy,
            )
    return [finding.name for finding in audited.standing if finding.name]
