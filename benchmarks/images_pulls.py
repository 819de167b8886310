"""What a machine that has nothing yet pulls of an image, by podman and by Docker.

Docker's second daemon lives in namespaces of its own: two in one network would take the bridge from each other.
The registry's files are served there too.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from images_base import call

from cannery.processes import started

_ALONE = ("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
_DAEMON = """\
mount -t tmpfs none /run && ip link set lo up || exit 1
docker-registry serve {registry}/config.yml &
exec dockerd --host unix://{socket} --data-root {folder}/data --bridge none \
    --iptables=false --ip6tables=false --ip-masq=false
"""


@dataclass(frozen=True, kw_only=True)
class Puller:
    """An engine whose store holds nothing."""

    name: str
    words: tuple[str | Path, ...]
    """That every command of it starts with."""
    options: tuple[str, ...] = ()
    """Of `pull`."""

    def pull(self, image: str) -> float:
        """Return the seconds that a pull takes."""
        began = time.perf_counter()
        call(*self.words, "pull", "-q", *self.options, image)
        return time.perf_counter() - began

    def unpacked(self, image: str) -> int:
        """Return the bytes that an image takes here."""
        return int(call(*self.words, "image", "inspect", "-f", "{{.Size}}", image))

    def forget(self, image: str) -> None:
        """Hold nothing again."""
        call(*self.words, "rmi", "-f", image)


def lone_podman(folder: Path) -> Puller:
    """Return a podman with a store below the folder."""
    words = ("podman", "--root", folder / "root", "--runroot", folder / "run")
    return Puller(name="podman", words=words, options=("--tls-verify=false",))


@contextlib.contextmanager
def lone_docker(folder: Path, registry: Path) -> Iterator[Puller]:
    """Yield a Docker of its own, below one folder, that sees what a registry's folder holds."""
    folder.mkdir()
    socket = folder / "socket"
    script = _DAEMON.format(registry=registry, socket=socket, folder=folder)
    with (
        (folder / "log").open("wb") as log,
        started([*_ALONE, "sh", "-c", script], stdout=log, stderr=log) as process,
    ):
        found = Puller(name="Docker", words=("docker", "-H", f"unix://{socket}"))
        _wait(found, process, folder / "log")
        yield found


def _wait(engine: Puller, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the daemon answers."""
    until = time.monotonic() + 30
    while True:
        try:
            call(*engine.words, "version")
        except subprocess.CalledProcessError as error:
            if process.poll() is not None or time.monotonic() > until:
                lines = log.read_text(errors="replace").strip().splitlines()
                raise OSError(f"Docker's second daemon: {lines[-1:]}") from error
            time.sleep(0.1)
        else:
            return
