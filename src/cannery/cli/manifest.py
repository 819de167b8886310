"""`cannery manifest`: the documents with which a cluster runs an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cannery.blobs import refuse_existing, write_file
from cannery.cli.inspect import looking_of, looking_options
from cannery.cli.main import print_json, talks
from cannery.cli.options import options_of, picked
from cannery.deployments.workload import DeployOptions, workload_of
from cannery.errors import UsageError
from cannery.oci.references import parse
from cannery.subjects import Subject, look


@click.command("manifest")
@click.argument("image")
@click.option(
    "--for",
    "target",
    type=click.Choice(["kubernetes", "kserve"]),
    default="kubernetes",
    show_default=True,
    help="What is to run it.",
)
@options_of(DeployOptions)
@looking_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write.")
@click.option("--force", is_flag=True, help="Replace an output that exists.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of documents as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    image: str,
    target: str,
    engine: str | None,
    platform: str | None,
    output: Path | None,
    force: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Write what Kubernetes or KServe needs to run IMAGE: restricted, probed, pinned by digest.

    Apply it with `kubectl apply -f FILE`, in a namespace of your choice.
    """
    import yaml

    from cannery.deployments.kserve import kserve_documents
    from cannery.deployments.kubernetes import kubernetes_documents

    if output is not None:
        refuse_existing(output, force=force)
    options = DeployOptions(**picked(DeployOptions, given))
    found = look(image, looking_of(engine, platform))
    workload = workload_of(found, _address(ctx, found, engine), options)
    make = {"kubernetes": kubernetes_documents, "kserve": kserve_documents}[target]
    documents = list(make(workload))
    text = yaml.safe_dump_all(documents, sort_keys=False, width=120)
    if output is not None:
        with write_file(output, force=force) as stream:
            stream.write(text.encode())
    if as_json:
        print_json(documents)
    elif output is None:
        click.echo(text, nl=False)
    else:
        click.echo(str(output))


def _address(ctx: click.Context, found: Subject, engine: str | None) -> str:
    """Return under what a cluster finds the image: by digest, since a tag may move under what runs."""
    image = found.name
    if found.image is None:
        raise UsageError(
            f"'{image}' is a can, and a cluster runs images",
            hint=f"cannery build {image} -t REGISTRY/NAME:TAG --to registry",
        )
    kind, _, rest = image.partition(":")
    if Path(image).exists() or (rest and kind in ("oci", "archive")):
        raise UsageError(
            f"'{image}' is on this machine, where no cluster finds it",
            hint=f"push it: cannery push {image} REGISTRY/NAME:TAG",
        )
    reference = parse(image)
    if engine is None and reference.registry is not None:
        from cannery.oci.transfer import pinned  # an HTTP client

        return str(pinned(reference))
    if talks(ctx):
        text = f"note: '{image}' is in no registry: the nodes must have it, and its tag may move"
        click.echo(text, err=True)
    return image
