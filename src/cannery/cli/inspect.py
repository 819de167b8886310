"""`cannery inspect`: what an image or a can is made of, from where, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from cannery.cli.main import print_json
from cannery.reports.subjects import subject_document, subject_text
from cannery.subjects import Looking, look

F = TypeVar("F", bound=Callable[..., Any])


def looking_options(function: F) -> F:
    """Add the options that say where to look."""
    function = click.option(
        "--platform",
        type=click.Choice(["linux/amd64", "linux/arm64"]),
        help="Which image, where there is one for each of several.",
    )(function)
    return click.option(
        "--engine", metavar="NAME", help="Ask docker or podman, whatever else the name might mean."
    )(function)


def looking_of(engine: str | None, platform: str | None) -> Looking:
    """Return where the options say to look."""
    return Looking(engine=engine, architecture=platform and platform.partition("/")[2])


@click.command("inspect")
@click.argument("subject", metavar="IMAGE|CAN|oci:FOLDER|archive:FILE")
@looking_options
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def command(subject: str, engine: str | None, platform: str | None, as_json: bool) -> None:
    """Say which model it serves, from where, and each layer and package with size and reason.

    A name with a registry is looked up there, without pulling layers; any other in Docker or Podman.
    """
    found = look(subject, looking_of(engine, platform))
    if as_json:
        print_json(subject_document(found))
    else:
        click.echo(subject_text(found))
