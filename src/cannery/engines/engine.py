"""What every engine can do: take an image, start it, try it, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Literal, Protocol

from cannery.errors import UsageError
from cannery.oci.descriptors import Image
from cannery.oci.documents import Settings
from cannery.oci.references import Reference
from cannery.processes import Finished

LABEL = "dev.cannery.proof"
"""On every container that an engine starts; its value is the container's name."""

Network = Literal["bridge", "host", "none"]

STOP = 10.0
"""Seconds that a container has between SIGTERM and SIGKILL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A file or folder of this machine that a container may read."""

    source: Path
    target: str
    """Absolute path in the container."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """How a container is started: by default as locked up as it gets."""

    command: tuple[str, ...] = ()
    """After the image's entrypoint; empty: the image's own."""
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    port: int = 8080
    """Port in the container, reached through a free loopback port."""
    port_variable: str | None = None
    """Variable that tells the program its port; None: nothing but `PORT` does, where it is another."""
    user: str | None = None
    """`uid` or `uid:gid`; None: the image's own."""
    read_only: bool = True
    """Whether everything but `/tmp` is read-only."""
    hardened: bool = True
    """Without capabilities and without new privileges."""
    network: Network = "bridge"
    """`host`: it sees what listens on this machine's loopback, and its own port is a free one."""

    def __post_init__(self) -> None:
        """Refuse what no engine can mount."""
        for mount in self.mounts:
            if not PurePosixPath(mount.target).is_absolute():
                raise UsageError(f"'{mount.target}' is no absolute path in a container")
            if "," in f"{mount.source}{mount.target}" or not mount.source.exists():
                raise UsageError(f"'{mount.source}' can't be mounted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """How a container ended."""

    status: int
    """Exit status; 128 + signal where a signal ended it."""
    seconds: float
    """From the request to stop to the end."""


class Container(Protocol):
    """A container that runs (or has run) inside the block that started it."""

    @property
    def url(self) -> str:
        """Where its port is reached, `http://127.0.0.1:<port>`."""

    def wait_healthy(self, timeout: float = 30.0) -> float:
        """Wait for `GET /health` to answer 200; return the seconds since the start.

        Raises ProofError, with the last lines of the log, when it ends or stays unhealthy.
        """

    def wait(self, timeout: float = 60.0) -> int:
        """Wait for its end and return the exit status; raises EngineError after `timeout` seconds."""

    def exec(self, *argv: str) -> Finished:
        """Run a program in it; one that is missing ends with a status that is not 0."""

    def healthcheck(self) -> bool | None:
        """Run the image's own health check: whether it passed; None where it has none."""

    def memory(self) -> int | None:
        """Return the resident bytes of all its processes; None where the engine can't tell."""

    def logs(self) -> str:
        """Return what it wrote to stdout and stderr."""

    def stop(self, timeout: float = STOP) -> Stopped:
        """Send SIGTERM, and SIGKILL after `timeout` seconds."""


class Engine(Protocol):
    """Something that runs containers."""

    @property
    def name(self) -> str:
        """`docker`, `podman` or `sandbox`."""

    def obstacle(self) -> str | None:
        """Return why this engine can't be used here; None when it can."""

    def load(self, image: Image, reference: Reference | None = None) -> str:
        """Take an image in, under a name if one is given; return the id to start it by."""

    def tag(self, subject: str, reference: Reference) -> None:
        """Give an image (by id or name) a further name."""

    def settings(self, subject: str) -> Settings:
        """Return how an image wants to be started; raises EngineError when the engine has no such image."""

    def extract(self, subject: str, path: str, folder: Path) -> Path:
        """Copy a folder out of an image into `folder`, which must not exist; raises EngineError."""

    def save(self, subject: str) -> AbstractContextManager[IO[bytes]]:
        """Give the archive of an image as a stream; raises EngineError when the engine has no such image."""

    def start(
        self, subject: str, options: StartOptions | None = None
    ) -> AbstractContextManager[Container]:
        """Start an image; the container is gone when the block ends, however it ends."""

    def release(self, subject: str) -> None:
        """Let go of an image that was loaded by id: it stays if it has a name, or costs nothing."""

    def remove_image(self, subject: str) -> None:
        """Forget an image, by id or name; one that is missing is no error."""
