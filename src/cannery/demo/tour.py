"""The tour: every step is a command that the visitor could type."""

from __future__ import annotations

import json
import os
import pickle
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.rule import Rule

from cannery.errors import CanneryError
from cannery.processes import started

SETTINGS = """\
# The project that asks for the image: which model, what it answers, whom it trusts.
[model]
source = "models:/churn-classifier@champion"
sample = "sample.parquet"

[outputs]
churn_probability = { class = "Yes" }
"""


@dataclass(slots=True)
class Tour:
    """A walk through the line: where it works, and what it has seen so far."""

    work: Path
    engine: str | None = None
    screen: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    step: int = 0
    began: float = field(default_factory=time.perf_counter)

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of every command."""
        return {
            **os.environ,
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.work}/mlflow.db",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PYTHONWARNINGS": "ignore",
            **({"CANNERY_ENGINE": self.engine} if self.engine else {}),
        }

    def title(self, text: str) -> None:
        """Announce the next step."""
        self.step += 1
        self.screen.print()
        self.screen.print(Rule(f"[bold]{self.step} · {escape(text)}", align="left", style="cyan"))

    def say(self, text: str) -> None:
        """Tell the visitor something, in rich markup."""
        self.screen.print(f"  {text}")

    def command(self, line: str) -> None:
        """Show a command line."""
        self.screen.print(f"[bold cyan]$[/] [bold]{escape(line)}[/]")

    def run(self, *argv: str, expect: int = 0, shown: str | None = None) -> bytes:
        """Run `python -m argv…`, its talk on the terminal; return its stdout.

        Raises CanneryError when it does not end with the status `expect`.
        """
        line = shown or shlex.join(argv)
        self.command(line)
        with started(
            [sys.executable, "-m", *argv], env=self.environment, cwd=self.work, stderr=None
        ) as process:
            out, _ = process.communicate()
        if process.returncode != expect:
            raise CanneryError(
                f"'{line}' ended with {process.returncode}, not {expect}",
                hint="its own words stand above",
            )
        return out

    def train(self, version: int) -> dict[str, Any]:
        """Train and register a version of the churn classifier."""
        out = self.run(
            "cannery.demo.train",
            "--version",
            str(version),
            "--work",
            str(self.work),
            "--json",
            shown=f"python -m cannery.demo.train --version {version}",
        )
        trained: dict[str, Any] = json.loads(out)
        return trained

    def build(self, tag: str) -> dict[str, Any]:
        """Build the champion under `tag`; the seconds are those of the whole command."""
        began = time.perf_counter()
        out = self.run(
            "cannery",
            "build",
            "models:/churn-classifier@champion",
            "-t",
            tag,
            "--force",
            "--json",
            shown=f"cannery build models:/churn-classifier@champion -t {tag}",
        )
        built: dict[str, Any] = json.loads(out)
        built["whole"] = time.perf_counter() - began
        return built


class Payload:
    """What an attacker would pickle: on opening it would make a file (and could do anything else)."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the call that the pickle makes on opening."""
        return os.system, (f"touch {shlex.quote(str(self.target))}",)


def prepare(work: Path) -> None:
    """Empty the work folder of an earlier tour and write the project's settings into it.

    Raises CanneryError when the folder holds something that no tour made.
    """
    marker = work / ".cannery-demo"
    if work.exists() and any(work.iterdir()) and not marker.exists():
        raise CanneryError(
            f"'{work}' is not empty and was not made by an earlier demo",
            hint="name another folder: cannery demo --work FOLDER",
        )
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    marker.touch()
    (work / "cannery.toml").write_text(SETTINGS)


def attack(tour: Tour) -> bool:
    """Let the gate meet a file that looks like a model and is not; return whether it held."""
    target = tour.work / "pwned"
    evil = tour.work / "churn-classifier-v3.pkl"
    evil.write_bytes(pickle.dumps({"model": Payload(target), "classes": ["No", "Yes"]}, protocol=2))
    out = tour.run("cannery", "audit", evil.name, expect=1)
    tour.screen.print(out.decode().rstrip(), markup=False)
    tour.run("cannery", "pack", evil.name, "-o", "evil.can", expect=1)
    held = not target.exists() and not (tour.work / "evil.can").exists()
    tour.say(
        f"the file that it would have made: {'[green]not there[/]' if held else '[red]there![/]'}"
    )
    return held
