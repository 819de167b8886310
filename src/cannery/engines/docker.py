"""Docker, through its own command line: the user's context, login and socket hold."""

from __future__ import annotations

import shutil
from functools import cache

from cannery.engines.commands import CommandContainer, CommandEngine, Program
from cannery.errors import EngineError

_PROGRAM = Program(words=("docker",), top=("-eo", "pid,rss"))


def docker() -> CommandEngine:
    """Return Docker as an engine."""
    return CommandEngine(name="docker", find=_find, check=_check, shares=True)


@cache
def _find() -> Program:
    if shutil.which("docker") is None:
        raise EngineError("docker is not installed")
    done = _PROGRAM.run("version", "--format", "{{.Server.Version}}", timeout=15)
    if not done.ok:
        reason = (done.complaint.splitlines() or ["no reason given"])[-1]
        raise EngineError(f"Docker's daemon does not answer: {reason}")
    return _PROGRAM


def _check(container: CommandContainer) -> bool | None:
    """Run the probe as Docker's daemon does: that waits for the end of the first interval."""
    return container.exec(*container.probe).ok if container.probe else None
