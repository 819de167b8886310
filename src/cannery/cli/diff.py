"""`cannery diff`: in what two cans or images differ."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from cannery.cli.inspect import looking_of, looking_options
from cannery.cli.main import print_json
from cannery.comparisons import compare
from cannery.reports.subjects import comparison_text


@click.command("diff")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option(
    "--rows",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Score these rows (CSV, JSONL, Parquet) with both [default: their canaries].",
)
@looking_options
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    first: str,
    second: str,
    rows: Path | None,
    engine: str | None,
    platform: str | None,
    as_json: bool,
) -> int:
    """Say in what A and B differ: model, schema, packages, layers, size, and answers to the same rows.

    Each is a can, oci:FOLDER, archive:FILE, or the name of an image. Exit code 0: nothing differs. 1: something does.
    """
    found = compare(first, second, rows=rows, looking=looking_of(engine, platform))
    if as_json:
        print_json({"same": found.same, **msgspec.to_builtins(found)})
    else:
        click.echo(comparison_text(found))
    return 0 if found.same else 1
