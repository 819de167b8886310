"""How the stations of the line tell whoever watches what they are doing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened at a station."""

    station: str
    """`fetch`, `audit`, `convert`, `compose` …"""
    state: Literal["start", "note", "end", "failed"]
    text: str = ""
    seconds: float = 0.0
    """Since the station's start."""


Progress = Callable[[Event], None]


def quiet(_: Event) -> None:
    """Tell nobody."""


@dataclass(slots=True)
class Station:
    """A station at work: `note` tells what it does now, `result` what came out."""

    name: str
    progress: Progress
    began: float
    outcome: str = field(default="")

    def note(self, text: str) -> None:
        """Say what is being done now."""
        seconds = time.perf_counter() - self.began
        self.progress(Event(station=self.name, state="note", text=text, seconds=seconds))

    def result(self, text: str) -> None:
        """Say what came out; shown when the station ends."""
        self.outcome = text


@contextmanager
def station(name: str, progress: Progress) -> Iterator[Station]:
    """Tell `progress` of a station's start and its end, or that it failed."""
    work = Station(name=name, progress=progress, began=time.perf_counter())
    progress(Event(station=name, state="start"))
    try:
        yield work
    except BaseException:
        seconds = time.perf_counter() - work.began
        progress(Event(station=name, state="failed", seconds=seconds))
        raise
    seconds = time.perf_counter() - work.began
    progress(Event(station=name, state="end", text=work.outcome, seconds=seconds))
