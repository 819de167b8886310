"""Ctrl-C in every phase of `cannery build`: a clear word, status 2, and nothing left behind."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from fake_registries import State, fake_registry
from projects import LINE

from cannery.caches import cache_folder
from cannery.cans.open import Can, open_can
from cannery.cans.seal import seal
from cannery.processes import run, started

pytestmark = pytest.mark.docker

TAG = "cannery-interrupted:v1"


@dataclass(frozen=True)
class Phase:
    """Where in the line a build is interrupted."""

    after: str
    """The station whose end is waited for; empty: not even the first one's."""
    delay: float
    """Seconds from there to the signal."""
    can: bool = True
    """Whether a can is built, and not the registered model."""
    to: str = "docker"
    cold: bool = False
    """Whether the layers must be made anew."""
    locked: bool = True
    """Whether a lock is there; else the mirror is asked, which does not answer."""


PHASES = {
    "start": Phase("", 0.1),
    "fetching": Phase("", 1.5, can=False),
    "converting": Phase("audit", 0.5, can=False),
    "locking": Phase("open", 0.5, locked=False),
    "composing": Phase("open", 1.5, cold=True),
    "loading": Phase("compose", 0.05),
    "starting the container": Phase("compose", 0.3),
    "proving": Phase("compose", 1.0),
    "asking the registry": Phase("", 1.5, to="registry"),
    "pushing": Phase("prove", 0.5, to="registry"),
}


@pytest.fixture
def deaf() -> Iterator[str]:
    """Listen on a port and never answer, as a dead mirror or registry does; yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def dying() -> Iterator[str]:
    """Run a registry that says nothing any more once it is asked for a blob; yield its address."""
    over = threading.Event()
    with fake_registry(State(trouble=lambda h: h.command == "HEAD" and over.wait())) as host:
        yield host
        over.set()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return a cache of our own, with all that there is in the user's."""
    root = tmp_path / "cache"
    kept = shutil.ignore_patterns(".*", "environments", "sandbox", "locks")
    shutil.copytree(cache_folder(), root, copy_function=os.link, ignore=kept)
    (root / "environments").symlink_to(cache_folder("environments"))
    return root


@pytest.fixture
def own(can: Path, tmp_path: Path) -> Can:
    """Return a can whose digest nobody else has, so that what is made of it can be told apart."""
    files = {name: (can / name).read_bytes() for name in os.listdir(can) if name != "can.json"}
    manifest = msgspec.structs.replace(open_can(can).manifest, version=secrets.token_hex(8))
    return seal(manifest, files, tmp_path / "own.can")


def traces(own: Can, scratch: Path, cache: Path) -> dict[str, list[str]]:
    """Return all that a build could leave: containers, images, processes, files of the moment."""
    marker = f"TMPDIR={scratch}".encode()
    environments = Path("/proc").glob("[0-9]*/environ")
    blobs = cache / "images" / "blobs" / "sha256"
    ours = ("--all", "--quiet", "--filter", f"label=dev.cannery.can.digest={own.digest}")
    return {
        "containers": _docker("ps", *ours),
        "images": _docker("images", *ours),
        "processes": [path.parent.name for path in environments if _has(path, marker)],
        "scratch": os.listdir(scratch),
        "half blobs": [name for name in os.listdir(blobs) if len(name) != 64],
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", PHASES)
def test_an_interrupt_leaves_nothing(project, own, cache, deaf, dying, tmp_path, name) -> None:
    """Whatever the line is doing, it stops, says so, and takes everything back."""
    phase = PHASES[name]
    scratch, work = tmp_path / "scratch", tmp_path / "work"
    scratch.mkdir()
    work.mkdir()
    if phase.cold:
        shutil.rmtree(cache / "images" / "memo")
    if phase.locked:
        shutil.copy(project.folder / "cannery.lock", work)
    else:
        (work / "cannery.toml").write_text(f'[image]\nmirror = "http://{deaf}/debian"\n')
    model = own.folder if phase.can else "models:/churn-classifier/1"
    sample = () if phase.can else ("--sample", project.folder / "sample.parquet")
    host = dying if phase.after else deaf
    tag = f"{host}/{TAG}" if phase.to == "registry" else TAG
    words = [sys.executable, "-m", "cannery", "build", model, "-t", tag, *sample, "--to", phase.to]
    env = {
        **os.environ,
        "TMPDIR": str(scratch),
        "CANNERY_CACHE": str(cache),
        "MLFLOW_TRACKING_URI": f"sqlite:///{project.folder}/mlflow.db",
    }
    lying = sorted(p.name for p in work.iterdir())

    with started(words, cwd=work, env=env) as process:
        assert process.stderr is not None
        said = b""
        while phase.after and f"✓ {phase.after}".encode() not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        time.sleep(phase.delay)
        process.send_signal(signal.SIGINT)
        said += process.stderr.read()
        status = process.wait(30)

    if status == -signal.SIGINT and name == "start":
        pass  # Python itself was still starting
    else:
        assert (status, b"interrupted" in said) == (2, True), said
        assert b"Traceback" not in said
    assert sorted(p.name for p in work.iterdir()) == lying
    left = traces(own, scratch, cache)
    assert not any(left.values()), left


def test_what_was_interrupted_can_be_built(project, first, can) -> None:
    """After all these, the same image comes out."""
    assert project.build(can, "-t", f"{LINE}:v1")["digest"] == first["digest"]


def _docker(*words: str) -> list[str]:
    done = run(["docker", *words], timeout=60)
    assert done.ok, done.complaint
    return sorted(done.stdout.decode().split())


def _has(path: Path, marker: bytes) -> bool:
    try:
        return marker in path.read_bytes()
    except OSError:
        return False
