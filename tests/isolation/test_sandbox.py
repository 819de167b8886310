"""The fences: what each level is seen to stop."""

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from originals import cleared_pickle

from cannery.errors import IsolationError
from cannery.isolation.environments import Environment
from cannery.isolation.sandbox import LEVELS, Level, Name, probe, strongest
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


def probing(monkeypatch: pytest.MonkeyPatch, **failures: str) -> None:
    """Let levels fail in this way, as other hosts would let them."""

    def tried(name: Name) -> Level:
        if name in failures:
            raise IsolationError(failures[name])
        return probe(name)

    monkeypatch.setattr("cannery.isolation.sandbox.probe", tried)
    strongest.cache_clear()


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    strongest.cache_clear()


FORBIDDEN = {
    "bubblewrap": "no sandbox of the level 'bubblewrap' here: bwrap: No permissions to create new namespace",
    "landlock": "no sandbox of the level 'landlock' here: OSError: [Errno 1] a network namespace was declined",
}


def test_a_host_that_forbids_both_has_resource_limits_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is not installed, or not allowed, is no failure."""
    probing(monkeypatch, **FORBIDDEN)
    level = strongest()
    assert (level.name, level.strong) == ("rlimits", False)
    assert level.reasons == tuple(FORBIDDEN.values())


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_strong_level_that_failed_makes_no_room_for_a_weak_one(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A program that is killed or hangs is no reason to open a file without it."""
    broken = "no sandbox of this level: 'bwrap' did not end within 60 s"
    probing(monkeypatch, **(FORBIDDEN | {name: broken}))
    with pytest.raises(IsolationError, match="seems to have failed: no sandbox of this level"):
        strongest()


def test_bubblewrap_that_fails_leaves_the_other_strong_level(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Landlock with a network namespace of its own is as good; nothing is lost."""
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    strongest.cache_clear()
    assert strongest().name == "landlock"


def test_a_weak_level_is_not_taken_where_there_is_a_strong_one(
    tmp_path: Path, pipeline: Any, environment: Environment
) -> None:
    """Not even for a file that was found safe."""
    cleared = cleared_pickle(tmp_path / "model.pkl", pipeline, verdict="safe")
    with (
        pytest.raises(IsolationError, match="would be held only by rlimits"),
        open_original(cleared, environment, IsolationOptions(level="rlimits")),
    ):
        pass


def test_what_was_found_safe_is_opened_where_there_is_no_strong_level(
    tmp_path: Path, pipeline: Any, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that can hold a worker by resource limits alone opens what is safe, and nothing else."""
    probing(monkeypatch, **FORBIDDEN)
    cleared = cleared_pickle(tmp_path / "model.pkl", pipeline, verdict="safe")
    with open_original(cleared, environment) as original:
        assert original.sandbox == "rlimits (stops exec, fork, network, write)"
    trusted = cleared_pickle(tmp_path / "model.pkl", pipeline, verdict="review")
    with (
        pytest.raises(IsolationError, match="would be held only by rlimits") as caught,
        open_original(trusted, environment),
    ):
        pass
    assert "No permissions to create new namespace" in str(caught.value.hint)


def test_what_is_only_trusted_is_not_opened_behind_weak_fences(
    tmp_path: Path, pipeline: Any, environment: Environment
) -> None:
    """With resource limits alone a file that is not found safe stays closed, unless the user insists."""
    cleared = cleared_pickle(tmp_path / "model.pkl", pipeline, verdict="review")
    weak = IsolationOptions(level="rlimits")
    with (
        pytest.raises(IsolationError, match="only by rlimits"),
        open_original(cleared, environment, weak),
    ):
        pass
    insisting = IsolationOptions(level="rlimits", allow_weak=True)
    with open_original(cleared, environment, insisting) as original:
        assert original.level.name == "rlimits"
