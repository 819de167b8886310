"""The fences: what each level is seen to stop."""

import platform
from pathlib import Path
from typing import Any

import pytest
from originals import cleared_pickle

from cannery.errors import IsolationError
from cannery.isolation.environments import Environment
from cannery.isolation.sandbox import LEVELS, Name, probe, strongest
from cannery.isolation.syscalls import assemble
from cannery.isolation.worker import IsolationOptions, open_original


@pytest.mark.parametrize(
    "name", [pytest.param("bubblewrap", marks=pytest.mark.bubblewrap), "landlock"]
)
def test_a_strong_level_stops_everything(name: Name) -> None:
    """From within, nothing is written, read, connected, forked or executed."""
    level = probe(name)
    assert level.stops == ("exec", "fork", "network", "read", "write")
    assert level.strong


def test_resource_limits_alone_still_stop_what_does_harm() -> None:
    """Only reading the user's files is left open, so that this level does not count as strong."""
    level = probe("rlimits")
    assert {"exec", "fork", "network", "write"} <= set(level.stops)
    assert not level.strong


@pytest.mark.bubblewrap
def test_the_strongest_level_is_taken() -> None:
    """Where bubblewrap is installed, that is bubblewrap."""
    assert strongest().name == LEVELS[0]


def test_a_level_without_its_program_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without bubblewrap on the path the probe says so, and the next level would be tried."""
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(IsolationError, match="bubblewrap is not installed"):
        probe("bubblewrap")


def test_the_filter_is_known_for_both_architectures() -> None:
    """Both platforms have a table; elsewhere there is no filter rather than a wrong one."""
    for machine in ("x86_64", "aarch64"):
        steps = assemble(machine)
        assert steps is not None
        assert len(steps) % 8 == 0
    assert assemble("riscv64") is None
    assert assemble(platform.machine()) is not None


def test_what_is_only_trusted_is_not_opened_behind_weak_fences(
    tmp_path: Path, pipeline: Any, environment: Environment
) -> None:
    """With resource limits alone a file that is not found safe stays closed, unless the user insists."""
    cleared = cleared_pickle(tmp_path / "model.pkl", pipeline, verdict="review")
    weak = IsolationOptions(level="rlimits")
    with (
        pytest.raises(IsolationError, match="only by 'rlimits'"),
        open_original(cleared, environment, weak),
    ):
        pass
    insisting = IsolationOptions(level="rlimits", allow_weak=True)
    with open_original(cleared, environment, insisting) as original:
        assert original.sandbox == "rlimits"
