"""A program in namespaces of our own: how it is started, watched and ended."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

import msgspec

from cannery.engines import jail
from cannery.engines.asking import wait_healthy
from cannery.engines.engine import STOP, Stopped
from cannery.errors import CanneryError, EngineError
from cannery.processes import Finished, run, started

_STARTED = 15.0
"""Seconds until the namespaces must stand."""
_EXEC = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What runs, and all that it can see."""

    bubblewrap: bool
    root: Path
    argv: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    uid: int
    gid: int
    network: bool = True
    binds: tuple[tuple[str, str], ...] = ()
    """Pairs of a host's path and one in the root; read-only."""
    port: int = 0
    probe: tuple[str, ...] = ()

    def words(self, argv: tuple[str, ...] = (), status: int | None = None) -> list[str]:
        """Return the command line, of another program if `argv` is given.

        The pid of the program is written to the descriptor `status`.
        """
        build = self._bubblewrap if self.bubblewrap else self._jail
        return build(argv or self.argv, status)

    def _bubblewrap(self, argv: tuple[str, ...], status: int | None) -> list[str]:
        words = [shutil.which("bwrap") or "bwrap", "--unshare-user", "--unshare-pid"]
        words += ["--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--as-pid-1"]
        words += ["--uid", str(self.uid), "--gid", str(self.gid), "--hostname", "cannery"]
        words += ["--cap-drop", "ALL", "--new-session", "--die-with-parent", "--clearenv"]
        words += [] if status is None else ["--json-status-fd", str(status)]
        words += [] if self.network else ["--unshare-net"]
        words += ["--ro-bind", str(self.root), "/", "--proc", "/proc", "--dev", "/dev"]
        words += ["--tmpfs", "/tmp", "--chmod", "1777", "/tmp", "--chdir", self.folder]
        for source, target in self.binds:
            words += ["--ro-bind", source, target]
        for key, value in self.environment.items():
            words += ["--setenv", key, value]
        return [*words, "--", *argv]

    def _jail(self, argv: tuple[str, ...], status: int | None) -> list[str]:
        specification = jail.Specification(
            root=str(self.root),
            argv=list(argv),
            environment=self.environment,
            folder=self.folder,
            uid=self.uid,
            gid=self.gid,
            network=self.network,
            binds=[list(pair) for pair in self.binds],
        )
        words = [sys.executable, "-I", "-S", str(Path(jail.__file__)), json.dumps(specification)]
        return words if status is None else [*words, str(status)]

    @contextlib.contextmanager
    def started(self, log: IO[bytes]) -> Iterator[JailedContainer]:
        """Start the program with its output in `log`; it has ended when the block ends."""
        read, write = os.pipe()
        began = time.monotonic()
        try:
            with started(
                self.words(status=write),
                stdout=log,
                stderr=log,
                pass_fds=(write,),
                env=_environment(),
            ) as process:
                os.close(write)
                write = -1
                pid = _pid(read)
                yield JailedContainer(cell=self, process=process, pid=pid, log=log, began=began)
        finally:
            os.close(read)
            if write >= 0:
                os.close(write)


class Running(Protocol):
    """A program that was started, as `processes.started` yields it."""

    returncode: int

    def poll(self) -> int | None:
        """Return the exit status; None while it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JailedContainer:
    """A program that runs in a cell."""

    cell: Cell
    process: Running
    pid: int | None
    """As this machine knows it; None where it never came to be."""
    log: IO[bytes]
    began: float

    @property
    def url(self) -> str:
        """Where its port is reached."""
        return f"http://127.0.0.1:{self.cell.port}"

    def wait_healthy(self, timeout: float = 30.0) -> float:
        """Wait for `GET /health` to answer 200; return the seconds since the start."""
        return wait_healthy(self.url, self.began, timeout, self.process.poll, self.logs)

    def wait(self, timeout: float = 60.0) -> int:
        """Wait for its end and return the exit status."""
        end = time.monotonic() + timeout
        while self.process.poll() is None:
            if time.monotonic() > end:
                raise EngineError(f"the container did not end within {timeout:g} s")
            time.sleep(0.005)
        return self.process.returncode

    def exec(self, *argv: str) -> Finished:
        """Run a program in a cell of its own that is alike: same files, user and network."""
        try:
            return run(self.cell.words(argv), timeout=_EXEC, env=_environment())
        except CanneryError as error:
            raise EngineError(error.message) from error

    def healthcheck(self) -> bool | None:
        """Run the image's own health check."""
        return self.exec(*self.cell.probe).ok if self.cell.probe else None

    def memory(self) -> int | None:
        """Return the resident bytes of all its processes."""
        return None if self.pid is None else _resident(self.pid)

    def logs(self) -> str:
        """Return what it wrote to stdout and stderr."""
        size = os.fstat(self.log.fileno()).st_size
        return os.pread(self.log.fileno(), size, 0).decode(errors="replace")

    def stop(self, timeout: float = STOP) -> Stopped:
        """Send SIGTERM, and SIGKILL after `timeout` seconds."""
        began = time.monotonic()
        if self.pid is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            try:
                self.wait(timeout)
            except EngineError:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
        status = self.wait(timeout)
        return Stopped(
            status=status if status >= 0 else 128 - status, seconds=time.monotonic() - began
        )


def _environment() -> dict[str, str]:
    """Return what bubblewrap or the jail itself may know of our environment: nothing but where programs are."""
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin")}


def _pid(read: int) -> int | None:
    """Read the program's pid from the status descriptor; None when it closes without one."""
    data = b""
    end = time.monotonic() + _STARTED
    while b"\n" not in data:
        ready, _, _ = select.select([read], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            raise EngineError(f"the sandbox did not stand within {_STARTED:g} s")
        piece = os.read(read, 4096)
        if not piece:
            return None
        data += piece
    return msgspec.json.decode(data.split(b"\n")[0], type=_Status).pid


class _Status(msgspec.Struct, frozen=True):
    pid: int = msgspec.field(name="child-pid")


def _resident(pid: int) -> int | None:
    """Return the resident bytes of a process and its children."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        own = next((int(x.split()[1]) * 1024 for x in lines if x.startswith("VmRSS:")), 0)
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    return own + sum(_resident(int(child)) or 0 for child in children)
