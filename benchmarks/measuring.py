"""What every benchmark shares: a figure beside its peer, programs timed from outside, CPU of a running server."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PYTHONWARNINGS": "ignore",
}
"""Of every program that is timed: with bytecode, as users have it."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One thing that was measured, beside what it is compared with in the same run."""

    what: str
    unit: str
    ours: float
    peer: float | None = None
    beside: str = ""
    """What the peer is."""

    @property
    def ratio(self) -> float | None:
        """How many times the peer is ours."""
        return None if self.peer is None or not self.ours else self.peer / self.ours


@dataclass(frozen=True, kw_only=True)
class Run:
    """A program that ended well, and what it took."""

    out: bytes
    seconds: float
    cpu: float
    """Seconds of processor of the program and of all that it waited for."""


def run(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Run:
    """Run a program to its end; raises CalledProcessError with its words on stderr."""
    before, began = _cpu_of_children(), time.perf_counter()
    done = subprocess.run(
        argv, env={**ENVIRONMENT, **(env or {})}, cwd=cwd, capture_output=True, check=False
    )
    seconds, cpu = time.perf_counter() - began, _cpu_of_children() - before
    if done.returncode:
        sys.stderr.write(done.stderr.decode(errors="replace"))
        done.check_returncode()
    return Run(out=done.stdout, seconds=seconds, cpu=cpu)


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def median(times: int, measure: Callable[[], float]) -> float:
    """Measure several times and return the median."""
    return statistics.median(measure() for _ in range(times))


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def server(argv: Sequence[str], env: Mapping[str, str]) -> Iterator[int]:
    """Start a server and yield its pid; it and all that it started are gone when the block ends."""
    process = subprocess.Popen(
        argv,
        env={**ENVIRONMENT, **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process.pid
    finally:
        for one in family_of(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        process.wait()


def family_of(pid: int) -> list[int]:
    """Return a process and its living descendants, those in groups of their own too."""
    children = [
        c for t in Path(f"/proc/{pid}/task").glob("*/children") for c in t.read_text().split()
    ]
    return [pid, *(one for child in children for one in family_of(int(child)))]


def cpu_of(pid: int) -> float:
    """Return the seconds of processor of a process and its living descendants."""
    stats = [
        Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in family_of(pid)
    ]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


def memory_of(pid: int) -> int:
    """Return the bytes that a process and its living descendants hold, shared pages by their share."""
    rolled = [Path(f"/proc/{one}/smaps_rollup").read_text().splitlines() for one in family_of(pid)]
    return sum(int(x.split()[1]) << 10 for lines in rolled for x in lines if x.startswith("Pss:"))


class Client:
    """One connection that asks one thing at a time."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def post(self, path: str, body: bytes) -> Any:
        """Return the answer to a JSON body; raises OSError where nobody answers, AssertionError unless it is a 200."""
        try:
            self._connection.request("POST", path, body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            said = response.read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        assert response.status == 200, f"{response.status} {said[:300]!r}"
        return json.loads(said)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def first_answer(port: int, path: str, body: bytes, timeout: float = 60.0) -> Any:
    """Ask every two milliseconds until there is an answer."""
    end = time.perf_counter() + timeout
    while True:
        client = Client(port)
        try:
            return client.post(path, body)
        except OSError:
            if time.perf_counter() > end:
                raise
            time.sleep(0.002)
        finally:
            client.close()


def cost_of_requests(
    pid: int, port: int, path: str, bodies: Sequence[bytes], seconds: float
) -> float:
    """Ask one thing after another for some seconds; return the server's CPU milliseconds of one answer."""
    client = Client(port)
    for body in bodies:  # warm
        client.post(path, body)
    asked, before, end = 0, cpu_of(pid), time.perf_counter() + seconds
    while time.perf_counter() < end:
        client.post(path, bodies[asked % len(bodies)])
        asked += 1
    client.close()
    return (cpu_of(pid) - before) * 1000 / asked


def _number(value: float, unit: str = "") -> str:
    """Return three digits that count, and never fewer than the whole number."""
    return (f"{value:,.0f}" if value >= 100 else f"{value:.3g}") + unit


def table(figures: Sequence[Figure]) -> str:
    """Return figures as a Markdown table."""
    lines = ["| | Cannery | beside it | ratio |", "|---|---:|---|---:|"]
    for figure in figures:
        unit = f" {figure.unit}"
        beside = "" if figure.peer is None else f"{figure.beside}: {_number(figure.peer, unit)}"
        ratio = "" if figure.ratio is None else _number(figure.ratio, "×")
        lines.append(f"| {figure.what} | {_number(figure.ours, unit)} | {beside} | {ratio} |")
    return "\n".join(lines)


def main(description: str | None, measure: Callable[[], list[Figure]]) -> None:
    """Run a benchmark from the command line: a table, or with `--json` the figures."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    as_json = parser.parse_args().json
    figures = measure()
    text = (
        json.dumps([asdict(figure) for figure in figures], indent=2) if as_json else table(figures)
    )
    sys.stdout.write(text + "\n")
