"""Pin what an ejected image needs, by the hashes of its wheels for every Python and processor."""

from __future__ import annotations

from pathlib import Path

from cannery.cans.manifest import CanManifest
from cannery.images import resolutions
from cannery.images.lock import host_architecture
from cannery.images.recipe import requirements_of

OLDEST = "3.11"
"""Oldest Python that the serving code runs on."""
_HEAD = """\
# Every package by version and hash: pip refuses anything else (--require-hashes).
# The list is complete, so it is installed with --no-deps.
"""


def pin(manifest: CanManifest, path: Path) -> None:
    """Write `requirements.txt` for a can; raises ImageError when something has no version that fits.

    The hashes are those of all wheels of a version, so that the base may have any newer Python.
    """
    wanted = {*requirements_of(manifest.runtime), *manifest.requirements}
    # One version for every Python: pip would choose among several by its own Python.
    words = ("--universal", "--fork-strategy", "fewest", "--python-version", OLDEST)
    # onnxruntime declares packages that it never imports here, so that list is complete as it is.
    alone = manifest.runtime == "onnx"
    pinned = resolutions.pin_wheels(wanted, words, f"Python {OLDEST} and later", alone=alone)
    path.write_text(_HEAD + pinned)


def download_wheels(pinned: Path, folder: Path, python: str) -> None:
    """Fetch the wheels of `requirements.txt` for a Python version on this machine's processor, as pip is configured."""
    target = resolutions.Target(architecture=host_architecture(), python=python)
    resolutions.download_wheels(pinned, target, folder)
