"""`cannery publish`: put a can where services can pull it."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from cannery.cli.main import print_json


@click.command("publish")
@click.argument("can", type=click.Path(path_type=Path))
@click.argument("model", metavar="MODEL_URI")
@click.option(
    "--to",
    default="artifacts",
    show_default=True,
    metavar="WHERE",
    help="artifacts: behind the tracking server; or oci://registry/repository.",
)
@click.option("--tracking-uri", metavar="URI", help="MLflow tracking server or store.")
@click.option("--json", "as_json", is_flag=True, help="Print where it lies as JSON.")
def command(can: Path, model: str, to: str, tracking_uri: str | None, as_json: bool) -> None:
    """Upload a can and tag the registered model version with its address and digest.

    A service started with MODEL_URI=MODEL_URI then finds it, by alias, stage or version.
    """
    from cannery.sources.publish import publish  # an HTTP client

    published = publish(can, model, to=to, tracking_uri=tracking_uri)
    if as_json:
        print_json(msgspec.to_builtins(published))
        return
    click.echo(f"{published.model} → {published.uri}")
    click.echo(f"can {published.digest}")
