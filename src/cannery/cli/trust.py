"""`cannery trust`: write down that a person reviewed a name."""

from __future__ import annotations

from pathlib import Path

import click

from cannery.audits.reviews import trust
from cannery.cli.main import print_json
from cannery.cli.projects import policy_option


@click.command("trust")
@click.argument("name")
@click.option("--reason", required=True, metavar="TEXT", help="What you reviewed, and when.")
@click.option("--force", is_flag=True, help="Replace the reason of a name that is trusted already.")
@policy_option
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def command(name: str, reason: str, force: bool, policy: Path | None, as_json: bool) -> None:
    """Trust one exact name, such as acme.features.Ratio, in cannery.toml.

    Adds it to the [trust] table of cannery.toml, or of [tool.cannery] in pyproject.toml, and leaves
    the rest of the file as it is. Commit it: the policy is reviewed like code.
    """
    file = trust(name, reason, folder=Path.cwd(), file=policy, force=force)
    if as_json:
        print_json({"name": name, "reason": reason, "file": str(file)})
    else:
        click.echo(f"'{name}' is trusted in '{file}'")
