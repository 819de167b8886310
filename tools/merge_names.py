"""Make the allow-list of names again, from several generations of each library: `python tools/merge_names.py`.

Makes an environment of each generation with uv, in a folder that may be given and is kept, lists the
names there (`tools/make_names.py`), and merges. A name stays where a rule lists it in any generation,
unless a generation has a class of that name which the rule refuses.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import uv

from cannery.indexes import index_environment

NAMES = Path(__file__).parents[1] / "src" / "cannery" / "audits" / "names"
LISTER = Path(__file__).with_name("make_names.py")

GENERATIONS = Path(__file__).with_name("generations.txt")
"""Lines of a Python and the packages of a generation, the oldest first."""

ROLES = ("classes", "functions", "references")


def make_environment(folder: Path, python: str, packages: str) -> Path:
    """Return the interpreter of an environment, which is made where it is not there yet."""
    interpreter = folder / "bin" / "python"
    if not interpreter.exists():
        env = os.environ | index_environment() | {"UV_PYTHON_DOWNLOADS": "never"}
        words = ["--only-binary", ":all:", "--python", str(interpreter), "joblib", "cloudpickle"]
        words += ["skops", "lz4", "pyarrow", *packages.split()]
        subprocess.run(
            [uv.find_uv_bin(), "venv", "-q", "--python", python, folder], env=env, check=True
        )
        subprocess.run([uv.find_uv_bin(), "pip", "install", "-q", *words], env=env, check=True)
    return interpreter


def list_names(interpreter: Path) -> dict[str, Any]:
    """Return the tables of what is installed beside an interpreter."""
    done = subprocess.run([interpreter, "-W", "ignore", LISTER], stdout=subprocess.PIPE, check=True)
    # Some libraries greet on the standard output when they are imported.
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index(b'{"') :])
    return found


def merge(tables: list[dict[str, Any]]) -> dict[str, Any]:
    """Merge one library's tables: every name that some generation lists and none refuses."""
    refused = {
        (home, name)
        for table in tables
        for home, names in table["refused"].items()
        for name in names
    }
    merged: dict[str, Any] = {"library": tables[0]["library"], "aliases": {}}
    merged["versions"] = list(dict.fromkeys(v for table in tables for v in table["versions"]))
    for table in tables:
        merged["aliases"].update(table["aliases"])
    for role in ROLES:
        found: defaultdict[str, set[str]] = defaultdict(set)
        for table in tables:
            for home, names in table[role].items():
                found[home].update(name for name in names if (home, name) not in refused)
        merged[role] = {home: sorted(found[home]) for home in sorted(found) if found[home]}
    if methods := {name for table in tables for name in table["methods"]}:
        merged["methods"] = sorted(methods)
    return merged


def main(folder: Path) -> None:
    """Write every table anew."""
    generations: list[dict[str, Any]] = []
    for line in GENERATIONS.read_text().splitlines()[1:]:
        python, _, packages = line.partition(" ")
        name = packages.partition(" ")[0]
        interpreter = make_environment(folder / name, python, packages)
        generations.append(list_names(interpreter))
        sys.stderr.write(f"listed {name}\n")
    for library in sorted({name for tables in generations for name in tables}):
        merged = merge([tables[library] for tables in generations if library in tables])
        text = json.dumps(merged, indent=1, sort_keys=True) + "\n"
        NAMES.joinpath(f"{library}.json").write_text(text)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
