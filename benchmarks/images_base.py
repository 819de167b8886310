"""A base for builders that install packages inside: Python, pip and uv on Debian, with wheels from this machine alone.

It is made once (`debootstrap`, as root) and stays in Docker; the wheels stay in Cannery's cache. They are
served on the bridge of Docker's builds, so that no builder's time is the network's, and no wheel stays in
an image.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from cannery.blobs import digest_bytes
from cannery.caches import cache_folder
from cannery.images.bases.apt import find_mirrors
from cannery.images.requirements import download_wheels
from cannery.indexes import index_environment
from cannery.processes import started

DOCKER = os.environ.get("DOCKER", "docker")
SUITE, PYTHON = "trixie", "3.13"
PORT = 8941
"""Always the same, so that a second run finds its layers in Docker's cache."""

_DOCKERFILE = """\
FROM {root}
ENV PATH=/opt/python/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV PIP_INDEX_URL={index} PIP_TRUSTED_HOST={gateway} UV_DEFAULT_INDEX={index}
RUN python3 -m venv /opt/python && pip install --no-cache-dir uv
"""


def call(*words: str | Path, cwd: Path | None = None, **environment: str) -> str:
    """Run a program that must succeed, without BuildKit unless told; return what it printed."""
    env = {**os.environ, "DOCKER_BUILDKIT": "0", **environment}
    done = subprocess.run(words, cwd=cwd, env=env, check=True, capture_output=True)
    return done.stdout.decode()


@contextlib.contextmanager
def python_base(wanted: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the name of the base; until the block ends its pip and uv find what each of `wanted` needs."""
    bridge = ("network", "inspect", "bridge", "-f", "{{(index .IPAM.Config 0).Gateway}}")
    gateway = call(DOCKER, *bridge).strip()
    serve = ("-m", "http.server", str(PORT), "--bind", gateway, "--directory", _wheels(wanted))
    silent = subprocess.DEVNULL
    with started([sys.executable, *serve], stdout=silent, stderr=silent):
        name = f"cannery-bench/python:{PYTHON}-{gateway}"
        if not call(DOCKER, "images", "-q", name):
            _make(name, gateway)
        yield name


def unseen(base: str, name: str) -> None:
    """Push a copy of the base that no builder has seen, so that nothing that was made on it is cached."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "seen").write_bytes(os.urandom(16))
        (Path(place) / "Dockerfile").write_text(f"FROM {base}\nCOPY seen /\n")
        call(DOCKER, "build", "-q", "-t", name, ".", cwd=Path(place))
    call(DOCKER, "push", "-q", name)


def _make(name: str, gateway: str) -> None:
    """Make the base."""
    root = "cannery-bench/root"
    with tempfile.TemporaryDirectory() as place:
        system, context = Path(place) / "root", Path(place) / "context"
        words = ("--variant=minbase", "--include=python3-venv", SUITE)
        call("debootstrap", *words, system, find_mirrors().main[0])
        without = ("--exclude=./var/cache/apt/*", "--exclude=./var/lib/apt/lists/*")
        call("tar", *without, "-C", system, "-cf", f"{system}.tar", ".")
        call(DOCKER, "import", f"{system}.tar", root)
        context.mkdir()
        index = f"http://{gateway}:{PORT}/"
        dockerfile = _DOCKERFILE.format(root=root, index=index, gateway=gateway)
        (context / "Dockerfile").write_text(dockerfile)
        call(DOCKER, "build", "-q", "-t", name, ".", cwd=context)


def _wheels(wanted: Sequence[Sequence[str]]) -> Path:
    """Return a folder of wheels by project, as an index shows them; each of `wanted` is resolved on its own."""
    folder = cache_folder("peers") / f"wheels-{digest_bytes(repr(wanted).encode())[7:19]}"
    if folder.exists():
        return folder
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        flat, index = Path(name) / "flat", Path(name) / "index"
        for requirements in wanted:
            download_wheels(_pinned(requirements, Path(name)), flat, PYTHON)
        for wheel in flat.iterdir():
            project = index / re.sub(r"[-_.]+", "-", wheel.name.partition("-")[0]).lower()
            project.mkdir(parents=True, exist_ok=True)
            wheel.rename(project / wheel.name)
        index.rename(folder)
    return folder


def _pinned(requirements: Sequence[str], folder: Path) -> Path:
    """Write every package that these need, by version and hash."""
    source, target = folder / "requirements.in", folder / "requirements.txt"
    source.write_text("".join(f"{line}\n" for line in requirements))
    words = (
        "--python-version",
        PYTHON,
        "--python-platform",
        f"{platform.machine()}-manylinux_2_28",
    )
    more = ("--generate-hashes", "--only-binary", ":all:", "--quiet", "-o", target)
    uv = Path(sys.executable).with_name("uv")
    call(uv, "pip", "compile", source, *words, *more, cwd=folder, **index_environment())
    return target


def version(package: str) -> str:
    """Return a requirement of the very version that is installed here, or of any where none is."""
    try:
        return f"{package}=={importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return package
