"""`cannery inspect` and `cannery diff`: facts on stdout, and exit codes that scripts can use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from small_cans import make_can

from cannery.processes import Finished

Command = Callable[..., Finished]


@pytest.fixture
def cannery(cannery_in: Callable[[Path], Command], tmp_path: Path) -> Command:
    """Return the command, run beside two cans that differ and a copy of the first."""
    make_can(tmp_path / "1.can")
    make_can(tmp_path / "copy.can")
    make_can(tmp_path / "2.can", version="2", weight=-0.06)
    return cannery_in(tmp_path)


def test_inspect_tells_people_and_programs(cannery: Command) -> None:
    """The text names model and fields; the JSON has the manifest and no image."""
    text = cannery("inspect", "1.can").stdout.decode()
    assert "model     churn 1 (classifier)" in text
    assert "tenure long, charges double, contract string" in text
    document = json.loads(cannery("inspect", "1.can", "--json").stdout)
    assert document["can"]["name"] == "churn"
    assert document["image"] is None


def test_diff_has_the_exit_code_of_a_comparison(cannery: Command) -> None:
    """0: nothing differs. 1: something does. 2: one of them can't be looked at."""
    same = cannery("diff", "1.can", "copy.can")
    assert (same.status, same.stdout) == (0, b"they are the same\n")
    other = cannery("diff", "1.can", "2.can", "--json")
    assert other.status == 1
    document = json.loads(other.stdout)
    assert document["same"] is False
    assert document["model"]["version"] == ["1", "2"]
    missing = cannery("diff", "1.can", "oci:none")
    assert missing.status == 2
    assert "'none' is no OCI layout" in missing.complaint
