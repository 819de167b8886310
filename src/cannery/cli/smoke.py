"""`cannery smoke`: load, score the canary, print the answer."""

from __future__ import annotations

from pathlib import Path

import click

from cannery.cli.main import print_json


@click.command("smoke")
@click.argument("can", type=click.Path(path_type=Path))
@click.option("--json", is_flag=True, expose_value=False, help="The answer is JSON in any case.")
def command(can: Path) -> None:
    """Load a can, score its canary, and print the answer to the first record.

    Exit code 1 when the answers are not the recorded ones.
    """
    from cannery.serving.service import open_service

    service = open_service(can)
    print_json(service.predict_one(service.canary.records[0]))
