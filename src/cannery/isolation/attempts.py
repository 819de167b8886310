"""What a probe tries from within the fences, each of which should fail; standard library only."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _succeeds(action: Callable[[], object]) -> bool:
    try:
        action()
    except OSError:
        return False
    return True


def _write(path: str) -> None:
    with Path(path).open("w") as stream:
        stream.write("written")


def _read(paths: list[str]) -> None:
    """Read any of the paths; raises the last OSError when none can be read."""
    problem = OSError("nothing to read")
    for path in paths:
        try:
            Path(path).read_bytes()
        except OSError as error:
            problem = error
        else:
            return
    raise problem


def _connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=2).close()


def _fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def attempt(out: int, probe: dict[str, Any]) -> None:
    """Try to write, read, connect, fork and exec, and report to the descriptor `out` what was stopped.

    Exec comes last, since its success replaces this process: then `echo` finishes the report.
    """
    stopped = {
        "write": not _succeeds(lambda: _write(probe["write"])),
        "read": not _succeeds(lambda: _read(probe["read"])),
        "network": not _succeeds(lambda: _connect(probe["port"])),
        "fork": not _succeeds(_fork),
    }
    os.write(out, json.dumps(stopped).encode() + b"\n")
    os.dup2(out, 1)
    for program in ("/bin/echo", "/usr/bin/echo"):
        with contextlib.suppress(OSError):
            os.execv(program, [program, "executed"])
    os.write(out, b"stopped\n")
