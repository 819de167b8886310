"""What a person sees while the line works, and when it is done."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.text import Text

from cannery.progress import Event, Progress, quiet

MARKS = {"end": "[green]✓[/]", "failed": "[red]✗[/]"}


def console() -> Console:
    """Return a console on stderr: talk never mixes with data."""
    return Console(stderr=True, highlight=False, soft_wrap=True, file=sys.stderr)


def human_bytes(count: float) -> str:
    """Return `count` bytes in MB or kB, decimal, as people read sizes of images."""
    if count >= 1e6:
        return f"{count / 1e6:.1f} MB"
    if count >= 1e3:
        return f"{count / 1e3:.1f} kB"
    return f"{count:.0f} bytes"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, `1 file` or `2 files`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def short(digest: str) -> str:
    """Return the first twelve hex digits of a digest."""
    return digest.removeprefix("sha256:")[:12]


_LABEL = re.compile(r" *(\w+: +)?")


def print_lines(screen: Console, markup: str) -> None:
    """Print lines of rich markup; a terminal breaks them between words, and goes on under their own text."""
    for line in Text.from_markup(markup).split("\n", allow_blank=True):
        found = _LABEL.match(line.plain)
        begin = found.end() if found else 0
        room = screen.width - (hang := begin if found and found[1] else begin + 2)
        if not screen.is_terminal or line.cell_len <= screen.width or room < _NARROW:
            screen.print(line)
            continue
        for number, part in enumerate(line[begin:].wrap(screen, room)):
            part.rstrip()
            screen.print(Text.assemble(line[:begin] if not number else " " * hang, part))


_NARROW = 20
"""Columns beside a label in which no words are broken."""


@contextmanager
def ticker(*, silent: bool = False) -> Iterator[Progress]:
    """Yield a progress that writes one line a station, with a spinner on a terminal."""
    if silent:
        yield quiet
        return
    screen = console()
    status: Status | None = None

    def show(event: Event) -> None:
        nonlocal status
        if event.state in ("start", "note"):
            words = f"[bold]{event.station:<9}[/] [dim]{escape(event.text)}[/]"
            if screen.is_terminal:
                if status is None:
                    status = screen.status(words, spinner="dots")
                    status.start()
                else:
                    status.update(words)
            return
        if status is not None:
            status.stop()
            status = None
        screen.print(
            f"  {MARKS[event.state]} [bold]{event.station:<9}[/] {escape(event.text)}"
            f" [dim]{event.seconds:.1f} s[/]"
        )

    try:
        yield show
    finally:
        if status is not None:
            status.stop()
