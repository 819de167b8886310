"""The tour: every step is a command that the visitor could type."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.rule import Rule

from cannery.errors import CanneryError
from cannery.processes import started


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

    def show(self, out: bytes) -> None:
        """Show what a command wrote to stdout."""
        self.screen.print(out.decode().rstrip(), markup=False)

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
            "--can",
            f"{tag.replace(':', '-')}.can",
            "--json",
            shown=f"cannery build models:/churn-classifier@champion -t {tag}",
        )
        built: dict[str, Any] = json.loads(out)
        built["whole"] = time.perf_counter() - began
        return built
