"""`cannery push`: bring a can, a layout or what another registry has to a registry, as it is."""

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
@click.argument("what", metavar="CAN|oci:FOLDER|REGISTRY/NAME:TAG")
@click.argument("target", metavar="REGISTRY/NAME:TAG")
@click.option("--json", "as_json", is_flag=True, help="Print where it is as JSON.")
@click.pass_context
def command(ctx: click.Context, what: str, target: str, as_json: bool) -> None:
    """Push a can (as a model artifact), the image of an OCI layout, or what another registry has, to a registry.

    What is there already does not travel. From a registry come all platforms, what is attached, and signatures.
    """
    reference = parse(target)
    with (
        ticker(silent=not talks(ctx) or as_json) as progress,
        station("push", progress) as work,
    ):
        pushed = _push(what, reference, work.note)
        work.result(str(pushed))
    if as_json:
        print_json({"reference": str(pushed), "digest": pushed.digest})
    else:
        click.echo(str(pushed))


def _push(what: str, reference: Reference, note: Callable[[str], None]) -> Reference:
    from cannery.oci.copies import push_layout  # an HTTP client
    from cannery.oci.modelpack import push_can
    from cannery.oci.relays import relay
    from cannery.oci.transfer import open_registry

    folder = Path(what.removeprefix("oci:"))
    with open_registry(reference) as registry:
        if folder == Path(what) and not folder.exists() and parse(what).registry is not None:
            with open_registry(source := parse(what)) as origin:
                return relay(source, reference, origin, registry, note=note)
        if (folder / MARK).is_file():
            return push_layout(folder, reference, registry, note=note)
        if not (folder / MANIFEST).is_file():
            raise UsageError(
                f"'{folder}' is neither a can nor an OCI layout",
                hint="`cannery pack` makes the one, `cannery build --to oci:FOLDER` the other",
            )
        return push_can(open_can(folder).folder, reference, registry=registry, note=note)
