"""`cannery push`: bring a can or a layout to a registry, as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from cannery.cans.open import MANIFEST, open_can
from cannery.cli.main import print_json, talks
from cannery.errors import UsageError
from cannery.oci.layout import MARK
from cannery.oci.references import Reference, parse
from cannery.progress import station
from cannery.reports.text import ticker


@click.command("push")
@click.argument("what", metavar="CAN|oci:FOLDER")
@click.argument("target", metavar="REGISTRY/NAME:TAG")
@click.option("--json", "as_json", is_flag=True, help="Print where it is as JSON.")
@click.pass_context
def command(ctx: click.Context, what: str, target: str, as_json: bool) -> None:
    """Push a can (as a model artifact) or the image of an OCI layout to a registry; what is there already does not travel."""
    folder = Path(what.removeprefix("oci:"))
    reference = parse(target)
    with (
        ticker(silent=not talks(ctx) or as_json) as progress,
        station("push", progress) as work,
    ):
        pushed = _push(folder, reference, work.note)
        work.result(str(pushed))
    if as_json:
        print_json({"reference": str(pushed), "digest": pushed.digest})
    else:
        click.echo(str(pushed))


def _push(folder: Path, reference: Reference, note: Callable[[str], None]) -> Reference:
    from cannery.oci.copies import push_layout  # an HTTP client
    from cannery.oci.modelpack import push_can
    from cannery.oci.transfer import open_registry

    with open_registry(reference) as registry:
        if (folder / MARK).is_file():
            return push_layout(folder, reference, registry, note=note)
        if not (folder / MANIFEST).is_file():
            raise UsageError(f"'{folder}' is neither a can nor an OCI layout")
        return push_can(open_can(folder).folder, reference, registry=registry, note=note)
