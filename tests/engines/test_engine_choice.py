"""The engine is the one asked for, else the first that works."""

from __future__ import annotations

import pytest

from cannery.engines.choose import detect
from cannery.engines.sandbox import Sandbox
from cannery.errors import EngineError, UsageError


def test_the_variable_names_the_engine() -> None:
    """CANNERY_ENGINE decides where nothing else does."""
    assert isinstance(detect(env={"CANNERY_ENGINE": "sandbox"}), Sandbox)


def test_the_argument_wins() -> None:
    """What the caller names is stronger than the environment."""
    assert isinstance(detect("sandbox", {"CANNERY_ENGINE": "nonsense"}), Sandbox)


def test_an_unknown_engine_is_refused() -> None:
    """The hint lists the engines."""
    with pytest.raises(UsageError) as caught:
        detect("lxc", {})
    assert caught.value.hint == "one of: docker, podman, sandbox"


def test_missing_programs_are_said_to_be_missing(monkeypatch, tmp_path) -> None:
    """Without any engine the error has one reason for each."""
    from cannery.engines import docker, podman

    docker._find.cache_clear()
    podman._find.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match="docker is not installed"):
        detect("docker", {})
    with pytest.raises(EngineError, match="podman is not installed"):
        detect("podman", {})


@pytest.mark.docker
def test_a_daemon_that_does_not_answer_is_said_to_be_silent(monkeypatch, tmp_path) -> None:
    """An installed Docker without its daemon is no engine."""
    from cannery.engines import docker

    docker._find.cache_clear()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(EngineError, match="daemon does not answer"):
        detect("docker", {})


@pytest.mark.docker
def test_docker_is_the_first_choice() -> None:
    """Where Docker runs it is taken."""
    assert detect(env={}).name == "docker"


def test_podman_without_a_network_is_no_engine(monkeypatch, tmp_path) -> None:
    """A user's Podman that lacks the program for ports starts nothing that could be asked."""
    from cannery.engines import podman

    program = tmp_path / "podman"
    program.write_text(
        "#!/bin/sh\n"
        'case "$*" in *--publish*) echo "Error: could not find slirp4netns" >&2; exit 127;; esac\n'
        "echo 'Error: no /none-such' >&2; exit 127\n"
    )
    program.chmod(0o755)
    podman._find.cache_clear()
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    try:
        with pytest.raises(EngineError, match="could not find slirp4netns"):
            detect("podman", {})
    finally:
        podman._find.cache_clear()
