"""`cannery prune`: give back what the cache of layers and packages takes."""

from __future__ import annotations

import click

from cannery.cli.main import print_json
from cannery.images.store import Store
from cannery.reports.text import counted, human_bytes

_DAY = 86400.0


@click.command("prune")
@click.option(
    "--days",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help="Delete what was not used for so long; 0 deletes everything.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was deleted as JSON.")
def command(days: float, as_json: bool) -> None:
    """Delete packages and layers that no build has used for a while; what is needed again is fetched again."""
    store = Store()
    files, size = store.prune(days * _DAY)
    if as_json:
        print_json({"folder": str(store.root), "files": files, "bytes": size})
    else:
        click.echo(f"{counted(files, 'file')} deleted, {human_bytes(size)}, from {store.root}")
