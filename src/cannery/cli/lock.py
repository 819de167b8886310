"""`cannery lock`: pin what images are made of."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click
import msgspec

from cannery.builds import PlatformName, architectures_of, needed_architectures
from cannery.cans.manifest import Runtime
from cannery.cli.main import print_json, talks
from cannery.cli.projects import open_project, policy_option
from cannery.errors import ImageError, UsageError
from cannery.images.lock import DEBIAN, Lock, LockRequest, read_lock, resolve, write_lock
from cannery.reports.text import short, ticker


@click.command("lock")
@click.option(
    "--runtime",
    type=click.Choice(list(get_args(Runtime))),
    help="What runs the model [default: as the lock has it, else onnx].",
)
@click.option(
    "-r",
    "--requirement",
    "requirements",
    multiple=True,
    metavar="NAME==VERSION",
    help="A package beyond the runtime's own.",
)
@click.option(
    "--platform",
    "platforms",
    type=click.Choice(["linux/amd64", "linux/arm64"]),
    multiple=True,
    help="What images are made for [default: as cannery.toml has it, else this machine].",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("cannery.lock"),
    show_default=True,
    help="File to write.",
)
@policy_option
@click.option("--json", "as_json", is_flag=True, help="Print the lock as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    runtime: Runtime | None,
    requirements: tuple[str, ...],
    platforms: tuple[PlatformName, ...],
    output: Path,
    policy: Path | None,
    as_json: bool,
) -> None:
    """Pin the newest Debian packages and wheels of the image, by hash, and say what changed."""
    project = open_project(policy)
    image = project.settings.image
    for requirement in requirements:
        if "==" not in requirement:
            raise UsageError(f"'{requirement}' names no version", hint="write NAME==VERSION")
    before = _before(output)
    request = LockRequest(
        base=image.base or DEBIAN,
        runtime=runtime or (before.runtime if before else "onnx"),
        requirements=requirements or (before.requirements if before and not runtime else ()),
        extras=image.extras or (),
        architectures=needed_architectures(architectures_of(platforms or image.platforms or ())),
        mirror=image.mirror,
        refresh=True,
    )
    with ticker(silent=not talks(ctx)) as progress:
        lock = resolve(request, progress=progress)
    write_lock(lock, output)
    if as_json:
        print_json(msgspec.to_builtins(lock))
        return
    for line in changes_text(before, lock):
        click.echo(line)
    click.echo(f"{output}: {len(versions_of(lock))} packages, {lock.digest}")


def _before(path: Path) -> Lock | None:
    """Return the lock that is replaced; None where there is none that can still be read."""
    try:
        return read_lock(path)
    except ImageError:
        return None


def versions_of(lock: Lock | None) -> dict[str, str]:
    """Return every package of a lock with its version, and a foreign base with its digest."""
    found: dict[str, str] = {}
    for platform in lock.platforms.values() if lock else ():
        found |= {package.name: package.version for package in platform.debian}
        found |= {wheel.name: wheel.version for wheel in platform.wheels}
        if platform.image is not None:
            found[platform.image.reference] = short(platform.image.digest)
    return found


def changes_text(before: Lock | None, after: Lock) -> list[str]:
    """Return one line for each package that two locks have in another version."""
    old, new = versions_of(before), versions_of(after)
    return [
        f"{name:<28} {old.get(name, '-')} → {new.get(name, '-')}"
        for name in sorted(old | new)
        if old.get(name) != new.get(name)
    ]
