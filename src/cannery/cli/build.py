"""`cannery build`: from a model or a can to a proven image."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from cannery.attestations.advisories import Advisories
from cannery.budgets import Budgets, parse_size
from cannery.builds import BuildOptions
from cannery.cli.main import print_json, suggest, talks
from cannery.cli.options import options_of, picked
from cannery.cli.pack import model_and_sample, pack_options, sample_option
from cannery.cli.projects import open_project, policy_option
from cannery.errors import UsageError
from cannery.line import build
from cannery.packs import PackOptions
from cannery.reports.images import built_document, built_text, next_words
from cannery.reports.text import ticker
from cannery.settings import ImageSettings


@click.command("build")
@click.argument("model", metavar="[MODEL|CAN]", required=False)
@click.option("-t", "--tag", required=True, metavar="NAME:TAG", help="Name of the image.")
@options_of(BuildOptions)
@sample_option
@options_of(PackOptions)
@policy_option
@click.option("--json", "as_json", is_flag=True, help="Print what was built as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: str | None,
    tag: str,
    sample: Path | None,
    policy: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Make a proven image of a model or a can.

    MODEL is a file, an MLflow folder or a URI (models:/name@alias, models:/name/3, runs:/id/path);
    CAN is what `cannery pack` made. Without --to the image goes to the Docker or Podman that runs
    here, else to an archive and an OCI layout in the current folder.
    """
    project = open_project(policy)
    model, sample = model_and_sample(project, model, sample)
    image = project.settings.image
    options = BuildOptions(**{**picked(BuildOptions, given), **_settled(ctx, image)})
    options = dataclasses.replace(
        options,
        base=image.base or options.base,
        budgets=Budgets(
            size=parse_size(image.size_budget, "image.size_budget"),
            start=image.start_budget,
            memory=parse_size(image.memory_budget, "image.memory_budget"),
            advisories=_advisories(project.folder, image),
        ),
        mirror=image.mirror,
        lock=project.folder / "cannery.lock",
    )
    with ticker(silent=not talks(ctx)) as progress:
        built = build(
            model,
            tag=tag,
            sample=sample,
            options=options,
            pack_options=pack_options(project, given),
            progress=progress,
        )
    if as_json:
        print_json(built_document(built))
    else:
        click.echo(built_text(built))
        suggest(ctx, *next_words(built, options.mode))


def _advisories(folder: Path, image: ImageSettings) -> Advisories | None:
    if image.cve is None:
        return None
    paths = tuple(folder / path for path in image.cve)
    if not paths:
        raise UsageError("'image.cve' names no advisories", hint="leave it out to look for none")
    return Advisories(paths=paths, accepted=image.accepted)


def _settled(ctx: click.Context, image: ImageSettings) -> dict[str, Any]:
    """Return what the settings say of options that were not given on the command line."""
    told = {
        "media": image.media,
        "mode": image.mode,
        "platform": image.platforms,
        "compression": image.compression,
        "extra": image.extras,
    }
    return {
        name: value
        for name, value in told.items()
        if value is not None and ctx.get_parameter_source(name) is ParameterSource.DEFAULT
    }
