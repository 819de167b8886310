"""Pack a model of each generation in `generations.txt`, fitted by its own Python and libraries.

    python tools/pack_generations.py [PYTHON...]

Shows with which Python and scikit-learn the worker opened it, what it became, and how far the can's
answers are from those that the model gave when it was fitted. Needs the Pythons on this host.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from generations import Generation, fitted

import cannery
from cannery.errors import CanneryError
from cannery.serving.service import open_service

LIBRARIES = ("scikit-learn", "numpy", "pandas", "scipy")


def generations() -> list[Generation]:
    """Return those of which every version is exact."""
    found = []
    for line in Path(__file__).with_name("generations.txt").read_text().splitlines():
        python, *words = line.split()
        pins = dict(re.findall(r"(\S+)==(\S+)", " ".join(words)))
        if python != "#" and all(name in pins for name in LIBRARIES):
            versions = {name: pins[name] for name in LIBRARIES}
            found.append(Generation(python=python, versions=versions))
    return found


def packed(generation: Generation, folder: Path) -> str:
    """Return in words what became of its model."""
    model, records, told = fitted(generation, folder)
    can = cannery.pack(str(model), output=folder / "can")
    answers = open_service(can.folder).predict(records)
    away = max(abs(a["probability_Yes"] - p) for a, p in zip(answers, told, strict=True))
    notes = "".join(f"; {note}" for note in can.manifest.notes)
    return f"{can.manifest.runtime}, off by {away:.0e}{notes}"


def main() -> int:
    """Print a line for each generation; return 1 where one failed."""
    failed = False
    for generation in generations():
        if sys.argv[1:] and generation.python not in sys.argv[1:]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                became = packed(generation, Path(folder))
            except CanneryError as error:
                became, failed = f"failed: {error.message}", True
        pins = " ".join(f"{n} {v}" for n, v in generation.versions.items())
        sys.stdout.write(f"Python {generation.python} {pins}: {became}\n")
        sys.stdout.flush()
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
