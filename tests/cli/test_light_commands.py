"""What a command imports before it has anything to do: help and completion are quick."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import importlib, json, sys
from cannery.cli.main import COMMANDS
heavy = {"httpx", "mlflow", "numpy", "onnx", "onnxruntime", "pandas", "pyarrow", "sklearn"}
loaded = {}
for name in sorted(COMMANDS, key="score".__eq__):
    importlib.import_module(f"cannery.cli.{name}")
    loaded[name] = sorted(heavy & set(sys.modules))
print(json.dumps(loaded))
"""


def test_no_command_starts_with_numerical_libraries() -> None:
    """Only `score`, whose options are those of tables, imports them to say what it takes."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    loaded = json.loads(done.stdout)
    assert list(loaded)[-1] == "score"
    assert loaded.pop("score") == ["numpy", "pyarrow"]
    assert {name: names for name, names in loaded.items() if names} == {}
