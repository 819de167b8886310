"""The one door through which Cannery starts programs: none outlives the block that started it.

What must not outlive Cannery itself, even where that is killed, asks the kernel for it on its own
(bubblewrap's `--die-with-parent`, the worker, the jail): code between fork and exec is no place for
it in a program with threads.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cannery.errors import CanneryError

PIPE = subprocess.PIPE
"""Asks for a pipe to the program, as `stdin`, `stdout` or `stderr` of `started`."""

Process = subprocess.Popen[bytes]
"""A program that was started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A program that has ended."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes

    @property
    def ok(self) -> bool:
        """Whether it ended with status 0."""
        return self.status == 0

    @property
    def complaint(self) -> str:
        """The last lines that it wrote to stderr (or stdout), for an error message."""
        text = (self.stderr or self.stdout).decode(errors="replace").strip()
        return "\n".join(text.splitlines()[-12:])


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and its group, and reap it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.wait()


@contextlib.contextmanager
def started(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = subprocess.PIPE,
    stderr: int | IO[bytes] | None = subprocess.PIPE,
    pass_fds: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program in a group of its own; when the block ends, so has the group.

    Raises CanneryError when the program can't be started.
    """
    words = [str(word) for word in argv]
    try:
        process = subprocess.Popen(
            words,
            env=None if env is None else dict(env),
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=pass_fds,
            start_new_session=True,
        )
    except OSError as error:
        raise CanneryError(f"can't start '{words[0]}': {error.strerror or error}") from error
    try:
        yield process
    finally:
        kill(process)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    timeout: float | None = None,
    whole: bool = False,
) -> Finished:
    """Run a program to its end and return what it said; raises CanneryError when it hangs past `timeout` seconds.

    An interrupt kills it, but one that must be `whole` ends first: what it asked a daemon for would
    be made all the same, after the caller took it back.
    """
    source = subprocess.DEVNULL if stdin is None else subprocess.PIPE
    with started(argv, env=env, cwd=cwd, stdin=source) as process:
        try:
            out, err = process.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise CanneryError(f"'{argv[0]}' did not end within {timeout:g} s") from error
        except KeyboardInterrupt:
            if whole:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=timeout)
            raise
        return Finished(
            argv=tuple(str(word) for word in argv),
            status=process.returncode,
            stdout=out,
            stderr=err,
        )
