"""`cannery update`: newer packages for the image, shown before they are written."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cannery.cli.lock import changes_text, versions_of
from cannery.cli.main import print_json, talks
from cannery.cli.projects import open_project, policy_option
from cannery.images.lock import LockRequest, read_lock, resolve, write_lock
from cannery.reports.text import ticker


@click.command("update")
@click.option(
    "--lock",
    "path",
    type=click.Path(path_type=Path),
    default=Path("cannery.lock"),
    show_default=True,
    help="The lock to look at.",
)
@click.option("-y", "--yes", is_flag=True, help="Write without asking.")
@click.option("--check", is_flag=True, help="Write nothing; exit code 1 where something is newer.")
@policy_option
@click.option("--json", "as_json", is_flag=True, help="Print the changes as JSON; asks nothing.")
@click.pass_context
def command(
    ctx: click.Context, path: Path, yes: bool, check: bool, policy: Path | None, as_json: bool
) -> int:
    """Resolve the lock anew for what it is for, show what would change, and ask before writing.

    Exit code 0: it is written, or nothing is newer. 1: something is newer and was not written.
    """
    mirror = open_project(policy).settings.image.mirror
    before = read_lock(path)
    request = LockRequest(
        base=before.base,
        runtime=before.runtime,
        requirements=before.requirements,
        extras=before.extras,
        architectures=tuple(sorted(before.platforms)),
        mirror=mirror,
        refresh=True,
    )
    with ticker(silent=not talks(ctx)) as progress:
        after = resolve(request, progress=progress)
    old, new = versions_of(before), versions_of(after)
    changed = {n: [old.get(n), new.get(n)] for n in old | new if old.get(n) != new.get(n)}
    for line in () if as_json else changes_text(before, after):
        click.echo(line)
    same = before.platforms == after.platforms
    asks = not (yes or check or as_json or same) and sys.stdin.isatty()
    wanted = not same and not check and (yes or (asks and click.confirm("write it?", err=True)))
    if wanted:
        write_lock(after, path)
    if as_json:
        print_json({"changed": changed, "written": wanted, "same": same})
    elif same:
        click.echo(f"{path}: nothing is newer")
    else:
        click.echo(f"{path}: {'written' if wanted else 'not written; write it with --yes'}")
    return 0 if wanted or same else 1
