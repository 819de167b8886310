"""`cannery eject`: the classical files of an image."""

from __future__ import annotations

from pathlib import Path

import click

from cannery.cans.open import open_can
from cannery.images.eject import eject


@click.command("eject")
@click.argument("can", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to write."
)
@click.option("--force", is_flag=True, help="Replace an output that exists.")
def command(can: Path, output: Path, force: bool) -> None:
    """Write a Dockerfile, score.py, entrypoint.sh and requirements.txt for a can, each explained."""
    open_can(can)
    for path in eject(can, output, force=force):
        click.echo(str(path))
