"""`cannery pack`: from a model to a can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from cannery.cli.main import print_json, suggest, talks
from cannery.cli.options import options_of, picked
from cannery.cli.projects import Project, open_project, policy_option
from cannery.errors import UsageError
from cannery.images.labels import tag_of
from cannery.line import pack
from cannery.packs import PackOptions
from cannery.reports.cans import can_text
from cannery.reports.text import ticker
from cannery.settings import features_of

sample_option = click.option(
    "--sample",
    type=click.Path(path_type=Path),
    help="Rows such as the model will see: CSV, JSONL or Parquet.",
)


def pack_options(project: Project, given: dict[str, Any]) -> PackOptions:
    """Return the options of the command line, joined by what the project says."""
    chosen, told = picked(PackOptions, given), project.settings.parity.tolerance
    source = click.get_current_context().get_parameter_source("tolerance")
    if told is not None and source is ParameterSource.DEFAULT:
        chosen["tolerance"] = told
    return PackOptions(
        policy=project.policy,
        features=features_of(project.settings),
        outputs=project.settings.outputs,
        environment=project.settings.environment,
        **chosen,
    )


def model_and_sample(
    project: Project, model: str | None, sample: Path | None
) -> tuple[str, Path | None]:
    """Return the model and sample named on the command line, else in `cannery.toml`."""
    model = model or project.settings.model.source
    if model is None:
        raise UsageError(
            "no model given", hint="name one, or set source in [model] of cannery.toml"
        )
    if sample is None and project.settings.model.sample:
        sample = project.folder / project.settings.model.sample
    return model, sample


@click.command("pack")
@click.argument("model", required=False)
@sample_option
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder of the can."
)
@options_of(PackOptions)
@policy_option
@click.option("--json", "as_json", is_flag=True, help="Print can.json.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: str | None,
    sample: Path | None,
    output: Path,
    policy: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Convert an audited model and seal it into a can.

    MODEL is a file, an MLflow folder or a URI: models:/name@alias, models:/name/3, runs:/id/path.
    """
    project = open_project(policy)
    model, sample = model_and_sample(project, model, sample)
    with ticker(silent=not talks(ctx)) as progress:
        can = pack(
            model,
            output=output,
            sample=sample,
            options=pack_options(project, given),
            progress=progress,
        )
    if as_json:
        print_json({"digest": can.digest, **msgspec.to_builtins(can.manifest)})
    else:
        click.echo(can_text(can))
        suggest(ctx, "cannery", "build", str(can.folder), "-t", tag_of(can.manifest))
