"""Every engine keeps the same promises."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from pathlib import Path

import pytest
from image_parts import file, make_image, make_layer
from toy_images import toy_image

from cannery.engines.asking import ask
from cannery.engines.commands import CommandEngine, Program
from cannery.engines.docker import docker
from cannery.engines.engine import LABEL, Mount, StartOptions
from cannery.errors import EngineError, ProofError, UsageError
from cannery.oci.references import parse
from cannery.processes import run


def about(container) -> dict:
    """Return what the toy sees of its surroundings."""
    return ask(container.url, "/about").json()


def test_a_container_is_started_tried_and_stopped(engine, loaded) -> None:
    """From start to the first answer, and from SIGTERM to exit status 0."""
    with engine.start(loaded(engine)) as container:
        seconds = container.wait_healthy()
        answer = ask(container.url, "/predict", document={"a": 1, "b": 2}, method="POST")
        assert answer.json() == {"score": 0.25}
        assert container.memory() > 1_000_000
        assert "toy server: good" in container.logs()
        stopped = container.stop()
    assert 0 < seconds < 30
    assert stopped.status == 0
    assert stopped.seconds < 10


def test_a_container_is_locked_up(engine, loaded) -> None:
    """Its own user, no capabilities, no new privileges, pid 1, and nothing to write on."""
    with engine.start(loaded(engine)) as container:
        container.wait_healthy()
        seen = about(container)
        assert (seen["uid"], seen["gid"], seen["pid"]) == (10001, 10001, 1)
        assert int(seen["capabilities"], 16) == 0
        assert int(seen["bounding"], 16) == 0
        assert seen["privileges"] == "1"
        assert ask(container.url, "/write").status == 403
        assert {"home", "root", "work"}.isdisjoint(set(seen["root"]) - {"root"})


def test_any_user_will_do(engine, loaded) -> None:
    """A user that the image has never heard of is what some platforms start it as."""
    options = StartOptions(user="1234567:0")
    with engine.start(loaded(engine), options) as container:
        container.wait_healthy()
        assert about(container)["uid"] == 1234567


def test_the_environment_is_the_image_s_and_the_caller_s(engine, loaded) -> None:
    """Variables of this process do not leak in."""
    os.environ["CANNERY_TEST_LEAK"] = "yes"
    options = StartOptions(environment={"GIVEN": "a=b c"})
    with engine.start(loaded(engine), options) as container:
        container.wait_healthy()
        seen = about(container)["environment"]
    assert seen["GIVEN"] == "a=b c"
    assert seen["BEHAVIOUR"] == "good"
    assert "CANNERY_TEST_LEAK" not in seen


def test_a_folder_is_lent(engine, loaded, tmp_path) -> None:
    """A mounted folder can be read in the container."""
    (tmp_path / "x").write_text("lent")
    (tmp_path / "x").chmod(0o644)
    tmp_path.chmod(0o755)
    options = StartOptions(mounts=(Mount(source=tmp_path, target="/data"),))
    with engine.start(loaded(engine), options) as container:
        container.wait_healthy()
        assert about(container)["mounted"] == "lent"


def test_what_can_t_be_mounted_is_refused(tmp_path) -> None:
    """A source that is missing and a target that is relative are said before anything starts."""
    with pytest.raises(UsageError):
        StartOptions(mounts=(Mount(source=tmp_path / "missing", target="/data"),))
    with pytest.raises(UsageError):
        StartOptions(mounts=(Mount(source=tmp_path, target="data"),))


def test_one_command_runs_to_its_end(engine, loaded) -> None:
    """A command without a server gives its output and its exit status, network or not."""
    with engine.start(
        loaded(engine), StartOptions(command=("smoke",), network="none")
    ) as container:
        assert container.wait() == 0
        assert '{"score": 0.25}' in container.logs()
    with engine.start(loaded(engine), StartOptions(command=("exit",))) as container:
        assert container.wait() == 3


def test_programs_run_beside_the_server(engine, loaded) -> None:
    """The health check passes, and a shell is not there."""
    with engine.start(loaded(engine)) as container:
        container.wait_healthy()
        assert container.healthcheck() is True
        assert container.exec(*engine.settings(loaded(engine)).probe).ok
        assert not container.exec("/bin/sh", "-c", "true").ok


def test_the_host_s_network_is_lent_when_asked_for(engine, loaded) -> None:
    """On the host's network the container listens where PORT says."""
    with engine.start(loaded(engine), StartOptions(network="host")) as container:
        container.wait_healthy()
        assert about(container)["environment"]["PORT"] == container.url.rpartition(":")[2]


def test_a_platform_tells_the_port_by_its_own_variable(engine, loaded) -> None:
    """Behind the engine's own network it is the port that was asked for, on the host's a free one."""
    options = StartOptions(port=9321, port_variable="PORT", environment={"OTHER": "1"})
    with engine.start(loaded(engine), options) as container:
        container.wait_healthy()
        told = about(container)["environment"]["PORT"]
    own = engine.name in ("docker", "podman")
    assert told == ("9321" if own else container.url.rpartition(":")[2])


def test_a_container_that_ends_is_not_healthy(engine, loaded) -> None:
    """The error has the exit status and its last words."""
    with (
        engine.start(loaded(engine, "crash")) as container,
        pytest.raises(ProofError, match="status 4") as caught,
    ):
        container.wait_healthy()
    assert "toy server: crash" in caught.value.message
    assert "no model here" in caught.value.message


def test_a_sick_container_is_not_waited_for_for_ever(engine, loaded) -> None:
    """The error repeats what /health said."""
    with (
        engine.start(loaded(engine, "sick")) as container,
        pytest.raises(ProofError, match=r"503.*sick"),
    ):
        container.wait_healthy(timeout=1.5)


def test_a_deaf_container_is_killed(engine, loaded) -> None:
    """What ignores SIGTERM ends by SIGKILL, and its status shows it."""
    with engine.start(loaded(engine, "deaf")) as container:
        container.wait_healthy()
        stopped = container.stop(timeout=1.0)
    assert stopped.status == 137


def test_nothing_is_left_behind(engine, loaded) -> None:
    """An exception in the block, even Ctrl-C, ends the container."""
    with contextlib.suppress(KeyboardInterrupt), engine.start(loaded(engine)) as container:
        container.wait_healthy()
        raise KeyboardInterrupt
    with pytest.raises(ConnectionError):
        ask(container.url, "/health")
    if engine.name != "sandbox":
        done = run([engine.name, "ps", "--all", "--filter", f"name={container.name}", "--quiet"])
        assert done.stdout.strip() == b""
    else:
        assert not Path(f"/proc/{container.pid}/exe").exists()


@pytest.mark.docker
def test_what_a_killed_process_left_is_swept(loaded, store) -> None:
    """A container of ours from hours ago is removed; a young one, and anybody else's, stays."""
    engine = docker()
    subject = loaded(engine)
    names = {
        "cannery-65000000-0123456789ab",
        f"cannery-{int(time.time()):x}-0123456789ab",
        "cannery-of-mine",
    }
    try:
        for name in names:
            words = ["docker", "create", "--name", name, "--label", f"{LABEL}={name}", subject]
            assert run(words).ok
        engine.load(toy_image(store))
        left = {name for name in names if run(["docker", "inspect", name]).ok}
        assert left == names - {"cannery-65000000-0123456789ab"}
    finally:
        run(["docker", "rm", "--force", *names])


def test_an_image_has_names(engine, store) -> None:
    """A tag given later starts the same image; removed, it is unknown."""
    image = toy_image(store, Labels={"only": "here"})
    subject = engine.load(image)
    name = parse("cannery-test/toy:v1")
    try:
        engine.tag(subject, name)
        assert engine.settings(str(name)).labels == {"only": "here"}
        with engine.start(str(name), StartOptions(command=("smoke",))) as container:
            assert container.wait() == 0
    finally:
        engine.remove_image(str(name))
        engine.remove_image(subject)
    with pytest.raises(EngineError, match="has no image"):
        engine.settings(str(name))


def test_an_image_is_loaded_by_name(engine, store) -> None:
    """Loading under a name makes the name known."""
    name = parse("cannery-test/named:v1")
    subject = engine.load(toy_image(store, Labels={"only": "named"}), name)
    assert engine.settings(str(name)).user == "10001:10001"
    engine.remove_image(str(name))
    engine.remove_image(subject)


def test_only_what_has_no_name_is_released(engine, store) -> None:
    """An image that was loaded to be tried goes; the same image under a name is somebody's, and stays."""
    name = parse("cannery-test/released:v1")
    subject = engine.load(toy_image(store, Labels={"only": "released"}))
    engine.tag(subject, name)
    engine.release(subject)
    assert engine.settings(str(name)).labels == {"only": "released"}
    engine.remove_image(str(name))
    nameless = engine.load(toy_image(store, Labels={"only": "tried"}))
    engine.release(nameless)
    if engine.name != "sandbox":
        with pytest.raises(EngineError, match="has no image"):
            engine.settings(nameless)
    engine.remove_image(subject)
    engine.remove_image(nameless)


def test_a_folder_is_taken_out(engine, loaded, tmp_path) -> None:
    """A folder of the image comes out whole; a missing one is an error."""
    out = engine.extract(loaded(engine), "/app", tmp_path / "out")
    assert (out / "serve.py").read_text().startswith("\nimport json")
    with pytest.raises(EngineError):
        engine.extract(loaded(engine), "/missing", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_an_unknown_image_is_an_error(engine) -> None:
    """Starting what is not there never reaches for a registry."""
    with pytest.raises(EngineError, match="has no image"), engine.start("cannery-test/none:v9"):
        pass


@pytest.mark.docker
def test_docker_calls_a_healthy_container_healthy(loaded) -> None:
    """`docker ps` shows what the image's own health check finds."""
    engine = docker()
    with engine.start(loaded(engine)) as container:
        words = ["docker", "ps", "--filter", f"name={container.name}", "--format", "{{.Status}}"]
        deadline = time.monotonic() + 60
        while b"(healthy)" not in run(words).stdout:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_what_an_engine_has_already_is_not_needed_again(engine, store) -> None:
    """An image whose lower layers are new is taken whole; the next one may be its last layer alone."""
    below = make_layer(store, file("below", secrets.token_bytes(64)))
    first = make_image(below, make_layer(store, file("first", b"1")), User="1")
    second = make_image(below, make_layer(store, file("second", b"2")), User="2")
    try:
        assert engine.settings(engine.load(first)).user == "1"
        assert engine.settings(engine.load(second)).user == "2"
    finally:
        engine.remove_image(first.id)
        engine.remove_image(second.id)


SLOW = """#!/bin/sh
case "$1" in
  image) echo '[{"Config": {}}]' ;;
  run) setsid sh -c 'sleep 1; touch made' & sleep 1.3 ;;
  rm) rm -f made ;;
esac
"""


def test_what_a_busy_engine_still_makes_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt waits until the container is there, and removes it then: the engine, not its client, makes it."""
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "slow"
    program.write_text(SLOW)
    program.chmod(0o755)
    engine = CommandEngine(
        name="slow", find=lambda: Program(words=(str(program),)), check=lambda _: None
    )
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.4)
        with pytest.raises(KeyboardInterrupt), engine.start("image"):
            pass
    finally:
        signal.signal(signal.SIGALRM, before)
    time.sleep(1.2)
    assert not (tmp_path / "made").exists()
