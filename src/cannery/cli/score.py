"""`cannery score`: a file of rows through a can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from cannery.cans.open import open_can
from cannery.cli.main import print_json, talks
from cannery.cli.options import options_of, picked
from cannery.errors import UsageError
from cannery.reports.text import console
from cannery.scoring.local import ScoreOptions, score


@click.command("score")
@click.argument("can", type=click.Path(path_type=Path))
@click.argument("source", metavar="INPUT")
@click.option("-o", "--output", required=True, help="Where the answers go; '-' is stdout.")
@options_of(ScoreOptions)
@click.option("--json", "as_json", is_flag=True, help="Print what was scored as JSON.")
@click.pass_context
def command(
    ctx: click.Context, /, can: Path, source: str, output: str, as_json: bool, **given: Any
) -> None:
    """Score every row of INPUT (CSV, JSON Lines or Parquet; '-' is stdin), in bounded memory."""
    if as_json and output == "-":
        raise UsageError("the answers and --json both go to stdout", hint="name a file: -o FILE")
    screen = console()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    shown = talks(ctx) and screen.is_terminal
    with Progress(*columns, console=screen, disable=not shown, transient=True) as bars:
        task = bars.add_task("scoring", total=None)

        def tell(rows: int, share: float | None) -> None:
            bars.update(
                task,
                description=f"{rows:,} rows",
                total=None if share is None else 1.0,
                completed=share or 0.0,
            )

        scored = score(
            open_can(can),
            source if source == "-" else Path(source),
            output if output == "-" else Path(output),
            ScoreOptions(**picked(ScoreOptions, given)),
            tell,
        )
    if as_json:
        print_json({"output": output, "rows": scored.rows, "seconds": scored.seconds})
    elif talks(ctx):
        rate = scored.rows / scored.seconds if scored.seconds else 0.0
        screen.print(f"{scored.rows:,} rows in {scored.seconds:.1f} s ({rate:,.0f} a second)")
