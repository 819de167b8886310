"""A large model travels from its folder to a registry without a copy."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cannery.processes import run

SCRIPT = Path(__file__).parent.parent.parent / "benchmarks" / "streaming.py"


@pytest.mark.registry
def test_a_large_model_needs_little_memory_and_no_copy() -> None:
    """The script, which judges itself, on 200 MB: far more than may be resident."""
    done = run([sys.executable, SCRIPT, "--size", "200"], timeout=120)
    assert done.ok, done.stdout.decode() + done.complaint
