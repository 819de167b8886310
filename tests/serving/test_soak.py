"""The short form of the soak: load, malformed requests, probes and killed workers at once."""

from __future__ import annotations

import sys
from pathlib import Path

from churn_cans import MakeCan

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from soak import soak


def test_nothing_is_wrong_and_nothing_lost_under_load(make_can: MakeCan) -> None:
    """Six seconds: every answer right, everything malformed refused, only a killed worker's requests lost."""
    soaked = soak(make_can().folder, 6.0)
    assert soaked.problems() == []
    assert soaked.seen["right"] > 50
    assert soaked.seen["refused"] > 0
    assert soaked.seen["probes"] > 4
    assert soaked.seen["killed"] >= 1
