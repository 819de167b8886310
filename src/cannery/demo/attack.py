"""The attack: a file that looks like a model, and is a program."""

from __future__ import annotations

import os
import pickle
import shlex
from pathlib import Path
from typing import Any

from cannery.demo.tour import Tour
from cannery.errors import ProofError


class Payload:
    """What an attacker would pickle: on opening it makes a file (and could do anything else)."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the call that the pickle makes on opening."""
        return os.system, (f"touch {shlex.quote(str(self.target))}",)


def attack(tour: Tour) -> None:
    """Let the gate meet such a file; raises ProofError when it did not hold."""
    target = tour.work / "stolen"
    evil = tour.work / "churn-classifier-v3.pkl"
    evil.write_bytes(pickle.dumps({"model": Payload(target), "classes": ["No", "Yes"]}, protocol=2))
    tour.show(tour.run("cannery", "audit", evil.name, expect=1))
    tour.run("cannery", "pack", evil.name, "-o", "evil.can", expect=1)
    if target.exists() or (tour.work / "evil.can").exists():
        raise ProofError(f"the attack worked: '{target}' or a can was made")
    tour.say("the file that opening it would have made: [bold green]not there[/]")
