"""The project a command runs in: `cannery.toml`, and what it says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import msgspec

from cannery.audits.policy import Policy
from cannery.settings import Settings, load_settings

policy_option = click.option(
    "--policy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Read the settings from here, not from cannery.toml in the current folder.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The settings in force, and the policy among them."""

    folder: Path
    settings: Settings
    policy: Policy


def open_project(explicit: Path | None) -> Project:
    """Read the settings of the current folder, or those named by `--policy`."""
    settings = load_settings(Path.cwd(), explicit)
    folder = settings.found.parent if settings.found else Path.cwd()
    policy = msgspec.convert(msgspec.to_builtins(settings.trust), Policy)
    return Project(folder=folder, settings=settings, policy=policy)
