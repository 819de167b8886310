"""`cannery explain`: why a model can't become ONNX, and what would make it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from cannery.cli.main import print_json, talks
from cannery.cli.options import options_of
from cannery.cli.pack import model_and_sample, pack_options, sample_option
from cannery.cli.projects import open_project, policy_option
from cannery.packs import PackOptions
from cannery.reports.text import ticker


@click.command("explain")
@click.argument("model", required=False)
@sample_option
@options_of(PackOptions)
@policy_option
@click.option("--json", "as_json", is_flag=True, help="Print the explanation as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: str | None,
    sample: Path | None,
    policy: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Say which runtimes can hold a model, which can't and why, and what would make it convert.

    Nothing is written. Exit code 0 when it becomes ONNX that answers the same, 1 when not.
    """
    from cannery.explanations import explain  # numpy, onnx, pyarrow
    from cannery.reports.explanations import explanation_text

    project = open_project(policy)
    model, sample = model_and_sample(project, model, sample)
    with ticker(silent=not talks(ctx)) as progress:
        found = explain(
            model, sample=sample, options=pack_options(project, given), progress=progress
        )
    if as_json:
        print_json({"converts": found.converts, **msgspec.to_builtins(found)})
    else:
        click.echo(explanation_text(found))
    ctx.exit(0 if found.converts else 1)
