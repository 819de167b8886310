"""`cannery pull`: bring a can or an image here, as it is."""

from __future__ import annotations

from pathlib import Path

import click

from cannery.cans.open import open_can
from cannery.cli.main import print_json, talks
from cannery.oci.references import parse
from cannery.progress import station
from cannery.reports.text import ticker


@click.command("pull")
@click.argument("source", metavar="REGISTRY/NAME:TAG")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the can, or of the layout.",
)
@click.option("--force", is_flag=True, help="Replace an output that exists.")
@click.option("--json", "as_json", is_flag=True, help="Print what it is as JSON.")
@click.pass_context
def command(ctx: click.Context, source: str, output: Path, force: bool, as_json: bool) -> None:
    """Pull a can into a folder, or an image (all of its platforms) into an OCI layout; every digest is checked."""
    from cannery.oci.copies import is_can, pull_can_files, pull_image  # an HTTP client
    from cannery.oci.transfer import fixed, open_registry

    reference = parse(source)
    with (
        ticker(silent=not talks(ctx) or as_json) as progress,
        station("pull", progress) as work,
        open_registry(reference) as registry,
    ):
        reference = fixed(reference, registry)
        can = is_can(reference, registry)
        if can:
            pull_can_files(reference, output, registry, open_can, force=force)
        else:
            pull_image(reference, output, registry, force=force, note=work.note)
        work.result(f"{output}")
    kind = "can" if can else "image"
    if as_json:
        print_json({"kind": kind, "folder": str(output)})
    else:
        click.echo(f"{kind} {output}")
