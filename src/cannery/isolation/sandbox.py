"""The fences around a worker, from the strongest that the host has: bubblewrap, Landlock, resource limits."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import os
import shutil
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cannery.errors import CanneryError, IsolationError
from cannery.isolation.environments import Environment
from cannery.isolation.pythons import own
from cannery.processes import run

log = logging.getLogger(__name__)

Name = Literal["bubblewrap", "landlock", "rlimits"]
LEVELS: tuple[Name, ...] = ("bubblewrap", "landlock", "rlimits")
"""From the strongest."""

_NEEDED = {"write", "read", "network", "exec"}
"""What a level must be seen to stop before a file is opened in it, where the host can have such a level."""

_FORBIDDEN = (
    "no permissions", "not permitted", "permission denied", "declined", "has no landlock", "not installed",
    "no space left on device",
)  # fmt: skip
"""What is said where a host has no such level, or forbids it (namespaces used up count as space); whatever
else goes wrong is a failure."""

_PACKAGE = Path(__file__).resolve().parent.parent
_SYSTEM = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib")
_FILES = ("/etc/ld.so.cache", "/usr/share/zoneinfo", "/nix/store", "/dev/null", "/dev/urandom")


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A level of isolation, and what it was seen to stop."""

    name: Name
    stops: tuple[str, ...]
    """Of `exec`, `fork`, `network`, `read` (files of the user), `write`; sorted."""

    reasons: tuple[str, ...] = ()
    """Why this host has no stronger level, one for each."""

    @property
    def strong(self) -> bool:
        """Whether it stops everything that an opened file could do harm by."""
        return set(self.stops) >= _NEEDED

    def __str__(self) -> str:
        return f"{self.name} (stops {', '.join(self.stops) or 'nothing'})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a worker's resources."""

    memory: int = 16 << 30
    """Bytes of address space."""
    cpu: int | None = None
    """Seconds of CPU time; None: only the caller's timeouts."""


def _readable(environment: Environment | None) -> list[str]:
    """Return what the interpreter, the packages and Cannery need to be read, and no more."""
    python = own() if environment is None else environment.python
    places = [python.prefix, *python.libraries, python.path, str(_PACKAGE)]
    if environment is not None:
        places.append(str(environment.folder))
    # A prefix of /usr would let the whole of /usr be read; its libraries are enough.
    return [p for p in dict.fromkeys([*places, *_SYSTEM, *_FILES]) if p not in {"/usr", "/"}]


def _bubblewrap(readable: list[str]) -> list[str]:
    """Return the words that put a program into namespaces of its own, with only `readable` in sight."""
    program = shutil.which("bwrap")
    if program is None:
        raise IsolationError("bubblewrap is not installed")
    words = [program, "--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534"]
    words += ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "worker"]
    words += ["--ro-bind", "/usr", "/usr", "--dev", "/dev", "--tmpfs", "/tmp", "--chdir", "/"]
    for name in ("/lib", "/lib32", "/lib64"):
        if os.path.islink(name):  # noqa: PTH114 - a link, not what it leads to
            words += ["--symlink", os.readlink(name), name]  # noqa: PTH115
        elif Path(name).is_dir():
            words += ["--ro-bind", name, name]
    for place in readable:
        if not place.startswith(("/usr/", "/lib", "/dev/")):
            words += ["--ro-bind-try", place, place]
    return words


def command(
    level: Name,
    limits: Limits,
    *,
    environment: Environment | None = None,
    probe: dict[str, Any] | None = None,
) -> tuple[list[str], dict[str, str]]:
    """Return the command line and the whole environment of a worker (or a probe) at this level.

    Raises IsolationError when the level's program is not installed.
    """
    readable = _readable(environment)
    settings = {
        "level": level,
        "readable": readable,
        "memory": limits.memory,
        "cpu": limits.cpu,
        "cannery": str(_PACKAGE),
        "packages": "" if environment is None else str(environment.folder / "packages"),
        "probe": probe,
    }
    bootstrap = _PACKAGE / "isolation" / "bootstrap.py"
    words = _bubblewrap(readable) if level == "bubblewrap" else []
    python = own() if environment is None else environment.python
    flags = ["-S", "-s", "-B", *(["-P"] if python.minor >= 11 else [])]
    words += [python.path, *flags, str(bootstrap), json.dumps(settings)]
    return words, _variables(readable)


def _variables(readable: list[str]) -> dict[str, str]:
    """Return a small, fixed environment: one thread, no home, the same hashes every time."""
    variables = {
        "HOME": "/nonexistent",
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "PYTHONUTF8": "1",
        "TZ": "UTC",
        # Threads could not be started anyway, and one thread sums in one order.
        "JOBLIB_MULTIPROCESSING": "0",
        "LOKY_MAX_CPU_COUNT": "1",
        "MKL_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    kept = [p for p in libraries if any(p == r or p.startswith(r + "/") for r in readable)]
    return variables | ({"LD_LIBRARY_PATH": ":".join(kept)} if kept else {})


def _home_file() -> list[str]:
    """Return one readable file of the user's home, if there is any: the probe must not see it."""
    try:
        files = (p for p in sorted(Path.home().iterdir()) if p.is_file() and os.access(p, os.R_OK))
        return [str(p) for p in files][:1]
    except (OSError, RuntimeError):
        return []


def probe(name: Name) -> Level:
    """Try from within what the level should stop, and return what it was seen to stop.

    Whether a file was written and a connection came is judged from outside. Raises IsolationError
    when nothing can be started at this level.
    """
    with tempfile.TemporaryDirectory(prefix="cannery-probe-") as folder:
        secret = Path(folder) / "secret"
        secret.write_text("seen")
        written = Path(folder) / "written"
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            tried = {
                "write": str(written),
                "read": [str(secret), *_home_file()],
                "port": server.getsockname()[1],
            }
            stopped = _try(name, tried)
            stopped["write"] = stopped["write"] and not written.exists()
            try:
                server.accept()[0].close()
                stopped["network"] = False
            except BlockingIOError:
                pass
    return Level(name=name, stops=tuple(sorted(what for what, held in stopped.items() if held)))


def _try(name: Name, tried: dict[str, Any]) -> dict[str, bool]:
    words, env = command(name, Limits(), probe=tried)
    try:
        done = run(words, env=env, timeout=60)
    except CanneryError as error:
        raise IsolationError(f"no sandbox of the level '{name}': {error.message}") from error
    lines = done.stdout.decode(errors="replace").splitlines()
    if len(lines) != 2:
        raise IsolationError(f"no sandbox of the level '{name}' here: {done.complaint}")
    stopped: dict[str, bool] = json.loads(lines[0])
    return stopped | {"exec": lines[1] == "stopped"}


@functools.lru_cache(maxsize=1)
def strongest() -> Level:
    """Return the strongest level that starts and holds on this host; probed once in a process.

    Raises IsolationError when a level that the host seems to have fails: one that merely failed must
    not make room for a weaker one.
    """
    reasons: list[str] = []
    failed: list[str] = []
    for name in LEVELS:
        try:
            level = probe(name)
        except IsolationError as error:
            log.debug("%s", error.message)
            reasons.append(error.message)
            if not any(word in error.message.lower() for word in _FORBIDDEN):
                failed.append(error.message)
            continue
        if level.strong:
            return level
        if name == LEVELS[-1]:
            return _weakest(level, tuple(reasons), failed)
        reasons.append(str(level))
    raise IsolationError(
        "no worker can be started on this host, not even with resource limits alone",
        hint="`cannery doctor` shows what each level needs",
    )


def _weakest(level: Level, reasons: tuple[str, ...], failed: list[str]) -> Level:
    if failed:
        raise IsolationError(
            f"a sandbox that this host seems to have failed: {failed[0]}",
            hint="`cannery doctor` tries each level; mend it, or accept the risk with --allow-weak-sandbox",
        )
    log.warning("this host has no strong sandbox: %s", "; ".join(reasons))
    return dataclasses.replace(level, reasons=reasons)
