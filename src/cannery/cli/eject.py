"""`cannery eject`: the classical files of an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cannery.cans.manifest import read_manifest
from cannery.cans.open import MANIFEST
from cannery.cli.main import print_json, suggest
from cannery.cli.options import options_of, picked
from cannery.images.eject import EjectOptions, eject
from cannery.images.labels import tag_of


@click.command("eject")
@click.argument("can", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to write."
)
@options_of(EjectOptions)
@click.option("--json", "as_json", is_flag=True, help="Print the names of the files as JSON.")
@click.option("--force", is_flag=True, help="Replace an output that exists.")
@click.pass_context
def command(
    ctx: click.Context, /, can: Path, output: Path, as_json: bool, force: bool, **given: Any
) -> None:
    """Write a Dockerfile, score.py, entrypoint.sh and requirements.txt for a can, each explained."""
    options = EjectOptions(**picked(EjectOptions, given))
    files = [str(path) for path in eject(can, output, force=force, options=options)]
    if as_json:
        print_json({"folder": str(output), "files": files})
        return
    for file in files:
        click.echo(file)
    tag = tag_of(read_manifest((can / MANIFEST).read_bytes()))
    suggest(ctx, "docker", "build", "-t", tag, str(output))
