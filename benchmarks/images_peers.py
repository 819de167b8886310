"""Who brings a model into a registry: Cannery, Docker's two builders, buildah; `images_frameworks.py` has more.

Each asks something of its user (a Dockerfile, a service, a saved model), which it writes, and then builds
and pushes by its own command.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from images_base import DOCKER, call

import cannery
from cannery.cans.manifest import CanManifest
from cannery.errors import CanneryError
from cannery.images.compose import compose
from cannery.images.eject import EjectOptions, eject
from cannery.images.lock import Lock, host_architecture
from cannery.images.plan import Plan
from cannery.images.store import Store
from cannery.oci.references import parse
from cannery.oci.transfer import push_image

SOURCE = Path(cannery.__file__).parent
FAILURES = (CanneryError, OSError, subprocess.SubprocessError)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be served."""

    folder: Path
    """With the model, in `can/`."""
    manifest: CanManifest
    size: int
    """Of the model, in MB."""
    code: str
    """What the serving code says that it is."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """How a container is started and asked; by default, as ours is."""

    port: int = 8080
    path: str = "/predict"
    body: Callable[[Sequence[Mapping[str, Any]]], Any] = list
    """From records to what it is asked."""
    answer: Callable[[Any], float] = lambda said: said[0]["churn"]
    """From what it answers to the first record's probability."""
    options: tuple[str, ...] = ()
    """Of `docker run`."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A builder."""

    name: str
    repository: str
    write: Callable[[Work], None]
    """Write what it asks of its user."""
    deliver: Callable[[Work, str], None]
    """Build and push under a name."""
    sizes: Container[int]
    """Of the models that it is tried with, in MB."""
    service: Service = field(default_factory=Service)

    def image(self, work: Work) -> str:
        """Return the name under which it pushes."""
        return f"{self.repository}:{work.size}"


def ours(lock: Lock, store: Store, repository: str, sizes: Container[int]) -> Peer:
    """Return Cannery; its serving code is a copy of our own."""

    def write(work: Work) -> None:
        copied = work.folder / "cannery"
        shutil.copytree(
            SOURCE, copied, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
        )
        with (copied / "serving" / "__init__.py").open("a") as file:
            file.write(f"\nCODE = {work.code!r}\n")

    def deliver(work: Work, image: str) -> None:
        plan = Plan(lock=lock, can=work.folder / "can", manifest=work.manifest)
        with mock.patch.object(cannery, "__file__", str(work.folder / "cannery" / "__init__.py")):
            push_image(compose(plan, store), parse(image))

    return Peer(name="Cannery", repository=repository, write=write, deliver=deliver, sizes=sizes)


def two_lines(base: str) -> Callable[[Work], None]:
    """Return what writes a Dockerfile at its best: all but the model and a line of code is in the base."""

    def write(work: Work) -> None:
        folder = beside(work, "docker")
        (folder / "score.py").write_text(f"CODE = {work.code!r}\n")
        lines = (f"FROM {base}", "COPY can /opt/cannery/can", "COPY score.py /opt/", "")
        (folder / "Dockerfile").write_text("\n".join(lines))

    return write


def ejected(base: str, lock: Lock) -> Callable[[Work], None]:
    """Return what writes the classical Dockerfile of two stages: a lock's wheels by hash, then our serving code."""
    wheels = lock.platforms[host_architecture()].wheels
    lines = [f"{w.name}=={w.version} --hash=sha256:{w.sha256}\n" for w in wheels]

    def write(work: Work) -> None:
        folder = work.folder / "docker"
        eject(work.folder / "can", folder, force=True, options=EjectOptions(base=base))
        (folder / "requirements.txt").write_text("".join(lines))

    return write


def by_dockerfile(
    scratch: Path, where: str, sizes: Container[int], write: Callable[[Work], None]
) -> Iterator[Peer]:
    """Yield the builders of a Dockerfile that are here."""

    def legacy(work: Work, image: str) -> None:
        call(DOCKER, "build", "-q", "-t", image, ".", cwd=work.folder / "docker")
        call(DOCKER, "push", "-q", image)

    def buildkit(work: Work, image: str) -> None:
        words = (DOCKER, "build", "-q", "-t", image, ".")
        call(*words, cwd=work.folder / "docker", DOCKER_BUILDKIT="1")
        call(DOCKER, "push", "-q", image)

    def buildah(work: Work, image: str) -> None:
        isolation = ("--isolation", "chroot", "--tls-verify=false", "--layers")
        words = ("buildah", "build", "-q", *isolation, "-t", image, ".")
        call(*words, cwd=work.folder / "docker")
        call("buildah", "push", "-q", "--tls-verify=false", image)

    found = {"docker build and push": legacy} if shutil.which(DOCKER) else {}
    if has_buildkit(scratch):
        found["docker build (BuildKit) and push"] = buildkit
    if shutil.which("buildah"):
        found["buildah build and push"] = buildah
    for name, deliver in found.items():
        repository = f"{where}/{deliver.__name__}"
        yield Peer(name=name, repository=repository, write=write, deliver=deliver, sizes=sizes)


def has_buildkit(scratch: Path) -> bool:
    """Whether the docker command builds with BuildKit."""
    (scratch / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    try:
        call(DOCKER, "build", "-q", ".", cwd=scratch, DOCKER_BUILDKIT="1")
    except FAILURES:
        sys.stderr.write(f"'{DOCKER}' has no BuildKit; DOCKER names another\n")
        return False
    return True


def beside(work: Work, name: str) -> Path:
    """Return a folder with a copy of the can in it, for one kind of builder: a link would touch Cannery's."""
    folder = work.folder / name
    if not folder.exists():
        shutil.copytree(work.folder / "can", folder / "can")
    return folder
