"""Podman, with the flags that this machine needs to start anything at all."""

from __future__ import annotations

import logging
import resource
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache

from cannery.engines.commands import CommandContainer, CommandEngine, Program
from cannery.errors import EngineError

_log = logging.getLogger(__name__)

_NOT_FOUND = 127
"""What `run` ends with when everything went well but the program is not in the image, or one of its own is not here."""
_PROGRAM = "/none-such"
_TOP = ("hpid", "rss")


def podman() -> CommandEngine:
    """Return Podman as an engine."""
    return CommandEngine(name="podman", find=_find, check=_check)


@cache
def _find() -> Program:
    """Try Podman as it is; inside another container it may need another runtime or lower limits.

    A start counts when it gets as far as not finding a program in an empty root; with a port of its
    own, since that takes programs which Podman alone does not bring (slirp4netns, pasta, plugins).
    """
    if shutil.which("podman") is None:
        raise EngineError("podman is not installed")
    reasons: list[str] = []
    with tempfile.TemporaryDirectory(prefix="cannery-") as root:
        for program in _variants():
            flags = ("--rm", "--publish", "127.0.0.1::8080", *program.create)
            done = program.run("run", *flags, "--rootfs", root, _PROGRAM)
            if done.status == _NOT_FOUND and _PROGRAM in done.complaint:
                if reasons:
                    _log.info("podman needs %s: %s", [*program.words, *program.create], reasons[0])
                return program
            reasons.append((done.complaint.splitlines() or ["no reason given"])[-1])
    raise EngineError(f"podman can't start containers: {reasons[0]}")


def _variants() -> Iterator[Program]:
    words: list[tuple[str, ...]] = [("podman",)]
    words += [("podman", "--runtime", r) for r in ("runc", "crun") if shutil.which(r)]
    for limits in ((), _own_limits()):
        for program in words:
            yield Program(words=program, create=limits, top=_TOP)


def _own_limits() -> tuple[str, ...]:
    """Return flags that ask for no more than this process may have; Podman asks for a million."""
    flags: list[str] = []
    # Podman lowers its own number of processes before it starts anything, so ask for few.
    for name, kind, most in (
        ("nofile", resource.RLIMIT_NOFILE, 1 << 20),
        ("nproc", resource.RLIMIT_NPROC, 4096),
    ):
        hard = resource.getrlimit(kind)[1]
        number = most if hard == resource.RLIM_INFINITY else min(hard, most)
        flags += ["--ulimit", f"{name}={number}:{number}"]
    return tuple(flags)


def _check(container: CommandContainer) -> bool | None:
    """Let Podman run the health check: without systemd nothing else does."""
    if not container.probe:
        return None
    return container.program.run("healthcheck", "run", container.name).ok
