"""Models fitted by other generations of the libraries, in environments of their own."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cannery.errors import CanneryError
from cannery.isolation.environments import prepare
from cannery.processes import run


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """A Python and the exact versions that went with it."""

    python: str
    versions: dict[str, str]


def fitted(generation: Generation, folder: Path) -> tuple[Path, list[dict[str, Any]], list[float]]:
    """Return an MLflow folder that this generation wrote, records, and what the model answered to them."""
    pins = [f"{name}=={version}" for name, version in generation.versions.items()]
    # What the worker needs too, so that both have one environment.
    wanted = tuple(sorted([*pins, "joblib", "msgspec", "onnx>=1.16", "skops"]))
    environment = prepare(wanted, python=generation.python, only=True)
    model = folder / "model"
    model.mkdir(parents=True)
    script = Path(__file__).with_name("old_model.py")
    packages = {"OLD_PACKAGES": str(environment.folder / "packages")}
    done = run([environment.python.path, "-I", script, model], env=os.environ | packages)
    if not done.ok:
        raise CanneryError(f"{environment.python} did not fit the model: {done.complaint}")
    records, told = json.loads((folder / "answers.json").read_text())
    return model, records, told
