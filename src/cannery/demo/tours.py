"""The whole walk: train, register, build, serve, attack, build again, look back."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from cannery.demo.attack import attack
from cannery.demo.tour import Tour
from cannery.demo.visit import Visit, visit
from cannery.errors import CanneryError
from cannery.reports.text import human_bytes, short

SETTINGS = """\
# The project that asks for the image: which model, what it answers, whom it trusts.
[model]
source = "models:/churn-classifier@champion"
sample = "sample.parquet"

[outputs]
churn_probability = { class = "Yes" }
"""


def tour(work: Path, engine: str | None = None) -> None:
    """Walk through the line in the folder `work`; raises CanneryError when a step fails."""
    _prepare(work)
    walk = Tour(work=work, engine=engine)
    walk.title("Train on 7,043 real customers and register with MLflow")
    _trained(walk, walk.train(1))
    walk.title("Build an image of the champion")
    first = walk.build("churn-model:v1")
    walk.title("Run the image")
    seen = visit(walk, first)
    walk.title("Attack: a pickle that looks like a model")
    attack(walk)
    walk.title("A second version: one changed layer")
    _trained(walk, walk.train(2))
    second = walk.build("churn-model:v2")
    walk.title("What there is now")
    _summary(walk, first, second, seen)


def _prepare(work: Path) -> None:
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


def _trained(walk: Tour, trained: dict[str, Any]) -> None:
    metrics = trained["metrics"]
    walk.say(
        f"hold-out of {trained['holdout']} customers: AUC [bold]{metrics['auc']:.3f}[/],"
        f" accuracy {metrics['accuracy']:.3f}, log loss {metrics['log_loss']:.3f}"
    )
    walk.say(
        f"registered as version {trained['version']} of {trained['name']}, run {trained['run_id'][:12]}"
    )


def changed_layers(first: dict[str, Any], second: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the layers of `second` that `first` does not have."""
    known = {layer["digest"] for layer in first["layers"]}
    return [layer for layer in second["layers"] if layer["digest"] not in known]


def _summary(walk: Tour, first: dict[str, Any], second: dict[str, Any], seen: Visit) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "churn-model:v1", "churn-model:v2"):
        table.add_column(column, justify="left" if not column else "right")
    changed = changed_layers(first, second)
    rows = [
        ("digest", *(short(b["digest"]) for b in (first, second))),
        ("model", *(f"version {b['can']['version']}" for b in (first, second))),
        ("size", *(human_bytes(b["size"]) for b in (first, second))),
        ("unpacked", *(human_bytes(b["unpacked"]) for b in (first, second))),
        ("changed layers", str(len(first["layers"])), f"{len(changed)} of {len(second['layers'])}"),
        (
            "changed bytes",
            human_bytes(first["size"]),
            human_bytes(sum(layer["size"] for layer in changed)),
        ),
        ("built in", *(f"{b['whole']:.1f} s" for b in (first, second))),
        (
            "parity",
            *(
                f"{b['can']['parity']['rows']} rows, {b['can']['parity']['flips']} flips"
                for b in (first, second)
            ),
        ),
    ]
    for row in rows:
        table.add_row(*row)
    walk.screen.print(table)
    walk.say(f"first healthy answer after start: {seen.healthy:.2f} s, in {seen.engine}")
    for built in (first, second):
        walk.say("; ".join(built["delivered"]))
    walk.say(f"everything is in {walk.work}")
    walk.say(f"the whole tour took {time.perf_counter() - walk.began:.0f} s")
    walk.screen.print("\n[bold]Try next[/]")
    for line in _next(walk, seen):
        walk.command(line)


def _next(walk: Tour, seen: Visit) -> tuple[str, str, str]:
    folder = (
        walk.work.relative_to(Path.cwd()) if walk.work.is_relative_to(Path.cwd()) else walk.work
    )
    run = (
        f"{seen.engine} run --rm --read-only -p 8080:8080 churn-model:v2"
        if seen.engine != "sandbox"
        else f"cannery serve {folder}/churn-model-v2.can"
    )
    return (
        run,
        f"cannery score {folder}/churn-model-v2.can {folder}/sample.parquet -o scored.csv",
        f"cannery eject {folder}/churn-model-v2.can -o churn-docker",
    )
