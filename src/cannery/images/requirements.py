"""Pin what an ejected image needs, by the hashes of its wheels for every Python and processor."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

from cannery.cans.manifest import CanManifest
from cannery.errors import ImageError
from cannery.images import resolutions
from cannery.images.bases.pythons import SUPPORTED
from cannery.images.lock import host_architecture
from cannery.images.recipe import requirements_of
from cannery.images.resolutions import Since, Target, pin_wheels, written
from cannery.oci.descriptors import Architecture
from cannery.parallel import each

_HEAD = """\
# Every package by version and hash: pip refuses anything else (--require-hashes).
# The list is complete, so it is installed with --no-deps.
"""


def pin(manifest: CanManifest, path: Path) -> None:
    """Write `requirements.txt` for a can; raises ImageError when something has no version that fits.

    The hashes are those of all wheels of a version, so that the base may have any newer Python.
    """
    wanted = {*requirements_of(manifest.runtime), *manifest.requirements}
    # onnxruntime declares packages that it never imports here, so that list is complete as it is.
    pins = pin_wheels(wanted, Since(python=SUPPORTED[0]), alone=manifest.runtime == "onnx")
    versions = tuple(f"{pin.version}{pin.marker}" for pin in pins)
    hashes = {pin.version: pin.hashes for pin in pins}
    for found in each(partial(_hashes, versions), _targets(), at_once=4):
        for version, more in found.items():
            hashes[version] |= more
    path.write_text(_HEAD + written(replace(pin, hashes=hashes[pin.version]) for pin in pins))


def _targets() -> list[Target]:
    architectures: tuple[Architecture, ...] = get_args(Architecture)
    return [Target(architecture=a, python=p) for a in architectures for p in SUPPORTED]


def _hashes(versions: tuple[str, ...], target: Target) -> dict[str, frozenset[str]]:
    """Return the hashes of the wheels for one target; none where something has no wheel for it.

    Where several indexes have a version, uv lists the wheels of one of them: the first with a wheel that fits.
    """
    try:
        return {pin.version: pin.hashes for pin in pin_wheels(versions, target, alone=True)}
    except ImageError:
        return {}


def download_wheels(pinned: Path, folder: Path, python: str) -> None:
    """Fetch the wheels of `requirements.txt` for a Python version on this machine's processor, as pip is configured."""
    target = Target(architecture=host_architecture(), python=python)
    resolutions.download_wheels(pinned, target, folder)
