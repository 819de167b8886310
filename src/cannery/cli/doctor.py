"""`cannery doctor`: what this machine offers, and where each setting comes from."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import click

from cannery.caches import cache_folder
from cannery.cli.main import print_json
from cannery.cli.projects import Project, open_project
from cannery.engines.choose import ENGINES
from cannery.errors import CanneryError
from cannery.images.bases.apt import find_mirrors
from cannery.indexes import index_environment
from cannery.packs import PackOptions

Fact = tuple[str, str, str]
"""What, its value, and where that comes from."""

_USER = re.compile(r"//[^/@\s]*@")


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
def command(as_json: bool) -> None:
    """Show what this machine offers and where each setting comes from."""
    project = open_project(None)
    found = [*_machine(), *_sandboxes(), *_engines(), *_mirrors(project), *_settings(project)]
    # It is pasted into reports: no address tells a name and password.
    facts = [(name, _USER.sub("//***@", value), source) for name, value, source in found]
    if as_json:
        print_json([{"name": n, "value": v, "source": s} for n, v, s in facts])
        return
    for name, value, source in facts:
        click.echo(
            f"{name:<20} {value}" + (click.style(f"  ({source})", dim=True) if source else "")
        )


def _machine() -> Iterator[Fact]:
    yield "python", platform.python_version(), platform.machine()
    for package in ("cannery", "onnxruntime", "mlflow", "scikit-learn"):
        try:
            yield package, version(package), "installed"
        except PackageNotFoundError:
            yield package, "not installed", ""
    try:
        source = "CANNERY_CACHE" if os.environ.get("CANNERY_CACHE") else "default"
        yield "cache", str(cache_folder()), source
    except (CanneryError, OSError) as error:
        yield "cache", "not usable", str(error)


def _sandboxes() -> Iterator[Fact]:
    from cannery.isolation.sandbox import LEVELS, probe  # numpy

    for name in LEVELS:
        try:
            level = probe(name)
        except CanneryError as error:
            yield f"sandbox {name}", "not here", error.message
        else:
            yield (
                f"sandbox {name}",
                f"stops {', '.join(level.stops) or 'nothing'}",
                "tried just now",
            )


def _engines() -> Iterator[Fact]:
    for name, make in ENGINES.items():
        obstacle = make().obstacle()
        yield f"engine {name}", "works" if obstacle is None else "not here", obstacle or ""


def _mirrors(project: Project) -> Iterator[Fact]:
    setting = project.settings.image.mirror
    source = (
        "cannery.toml"
        if setting
        else "CANNERY_DEBIAN_MIRROR"
        if os.environ.get("CANNERY_DEBIAN_MIRROR")
        else "apt's configuration"
    )
    try:
        yield "debian mirror", ", ".join(find_mirrors(setting).main), source
    except CanneryError as error:
        yield "debian mirror", "none", error.message
    for name, value in index_environment().items():
        yield name, value, "pip's configuration"


def _settings(project: Project) -> Iterator[Fact]:
    settings = project.settings
    source = str(settings.found) if settings.found else "default"
    for name in ("source", "sample", "name"):
        value = getattr(settings.model, name)
        yield f"model.{name}", str(value) if value else "-", source if value else "default"
    tolerance = settings.parity.tolerance
    default = PackOptions.__dataclass_fields__["tolerance"].default
    yield (
        "parity.tolerance",
        f"{default if tolerance is None else tolerance:g}",
        "default" if tolerance is None else source,
    )
    yield "trusted names", str(len(settings.trust.names)), source
    yield "tracking", os.environ.get("MLFLOW_TRACKING_URI", "-"), "MLFLOW_TRACKING_URI"
