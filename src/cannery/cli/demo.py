"""`cannery demo`: the whole line at work on real data."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("demo")
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("cannery-demo"),
    show_default=True,
    help="Folder to work in; emptied first.",
)
@click.option(
    "--engine", metavar="NAME", help="docker, podman or sandbox: where images are started."
)
def command(work: Path, engine: str | None) -> None:
    """Watch the whole line at work: train, register, build, serve, attack, build again."""
    from cannery.demo.tours import tour

    tour(work.resolve(), engine)
