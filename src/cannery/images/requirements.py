"""Pin what an ejected image needs, with hashes for every Python and platform that the index has."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from pathlib import Path

from cannery.cans.manifest import CanManifest
from cannery.errors import ImageError
from cannery.images.recipe import requirements_of
from cannery.indexes import index_environment
from cannery.processes import Finished, run

OLDEST = "3.11"
"""Oldest Python that the serving code runs on."""
_TIMEOUT = 600.0
_GLIBC = range(28, 16, -1)
"""Versions 2.x of the C library that wheels may ask for."""

_HEAD = """\
# Every package by version and hash: pip refuses anything else (--require-hashes).
# The list is complete, so it is installed with --no-deps.
"""


def pin(manifest: CanManifest, path: Path) -> None:
    """Write `requirements.txt` for a can; raises ImageError when something has no version that fits.

    The hashes are those of all wheels of a version, so that the base may have any newer Python.
    """
    # onnxruntime declares packages that it never imports here, so that list is complete as it is.
    alone = manifest.runtime == "onnx"
    wanted = sorted({*requirements_of(manifest.runtime), *manifest.requirements})
    with tempfile.TemporaryDirectory(prefix="cannery-") as name:
        source, target = Path(name) / "requirements.in", Path(name) / "requirements.txt"
        source.write_text("".join(f"{line}\n" for line in wanted))
        words: list[str | Path] = [
            *(_uv(), "pip", "compile", source, "--output-file", target, "--quiet"),
            *("--generate-hashes", "--no-annotate", "--no-header"),
            # One version for every Python: pip would choose among several by its own Python.
            *("--universal", "--fork-strategy", "fewest"),
            *("--python", sys.executable, "--no-python-downloads", "--python-version", OLDEST),
            *(["--no-deps"] if alone else []),
        ]
        environment = {**os.environ, **index_environment()}
        _succeed(run(words, env=environment, cwd=Path(name), timeout=_TIMEOUT))
        path.write_text(_HEAD + target.read_text())


def download_wheels(pinned: Path, folder: Path, python: str) -> None:
    """Fetch the wheels of `requirements.txt` for a Python version on this machine's processor, as pip is configured."""
    machine = platform.machine()
    tags = [f"manylinux_2_{minor}_{machine}" for minor in _GLIBC] + [f"manylinux2014_{machine}"]
    words: list[str | Path] = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-input"),
        *("--disable-pip-version-check", "--require-hashes", "--no-deps"),
        *("--only-binary", ":all:", "--implementation", "cp", "--python-version", python),
        *(word for tag in tags for word in ("--platform", tag)),
        *("--dest", folder, "--requirement", pinned),
    ]
    _succeed(run(words, timeout=_TIMEOUT))


def _uv() -> Path:
    import uv

    try:
        return Path(uv.find_uv_bin())
    except FileNotFoundError as error:
        raise ImageError("the uv program is missing", hint="install Cannery anew") from error


def _succeed(done: Finished) -> None:
    if not done.ok:
        lines = [line for line in done.complaint.splitlines() if not line.startswith("WARNING")]
        raise ImageError(
            f"can't pin the packages: {' '.join(lines) or f'status {done.status}'}",
            hint="check the package index that pip is configured for",
        )
