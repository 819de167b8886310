"""Unpacked images in the cache: those that differ in their last layer alone share all other files."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cannery.blobs import canonical_json, digest_bytes, hex_of
from cannery.caches import cache_folder
from cannery.errors import EngineError
from cannery.oci.descriptors import Image
from cannery.oci.unpack import unpack

LENT = ("/etc/resolv.conf", "/etc/hosts")
"""What every engine lends a container so that it finds other hosts."""
_KEPT = 6
"""Unpacked images that stay; the longest unused goes first."""
_IN_USE = 3600.0
"""Seconds after its last use during which an unpacked image stays anyhow."""


def place_of(digest: str) -> Path:
    """Return the folder of an unpacked image by its id; it may not be there."""
    return cache_folder("sandbox", "images") / hex_of(digest)


def unpack_once(image: Image) -> Path:
    """Unpack an image, unless it is there: `root/` with its files, `config.json`.

    Raises EngineError when the cache can't be written, ImageError for a damaged layer.
    """

    def fill(folder: Path) -> None:
        root = folder / "root"
        if len(image.layers) > 1:
            _link(_shared(image) / "root", root)
        unpack(replace(image, layers=image.layers[-1:]), root)
        prepare(root)
        (folder / "config.json").write_bytes(image.config)

    return _once(place_of(image.id), fill)


def prepare(root: Path) -> None:
    """Make the places on which a container's own file systems are mounted."""
    for name in ("proc", "dev", "tmp", "etc"):
        folder = root / name
        if folder.is_symlink() or not folder.is_dir():
            folder.unlink(missing_ok=True)
            folder.mkdir()
    for lent in LENT:
        target = root / lent.lstrip("/")
        if target.is_symlink() or not target.is_file():
            target.unlink(missing_ok=True)
            target.touch()


def _shared(image: Image) -> Path:
    """Unpack all layers but the last one."""
    below = replace(image, layers=image.layers[:-1])
    name = digest_bytes(canonical_json([layer.diff_id for layer in below.layers]))
    return _once(
        cache_folder("sandbox", "layers") / hex_of(name),
        lambda folder: unpack(below, folder / "root"),
    )


def _once(place: Path, fill: Callable[[Path], None]) -> Path:
    if not place.is_dir():
        temporary = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
        try:
            temporary.mkdir()
            fill(temporary)
            temporary.rename(place)
        except OSError as error:
            if not place.is_dir():  # where it is one, another build was quicker
                raise EngineError(
                    f"can't unpack the image into '{place}': {error.strerror or error}",
                    hint="free some space, or set CANNERY_CACHE to a folder that you can write to",
                ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    used(place)
    _forget_old(place)
    return place


def used(place: Path) -> None:
    """Note that an unpacked image is still of use; where that can't be noted, it is only forgotten earlier."""
    with contextlib.suppress(OSError):
        os.utime(place)


def _link(source: Path, target: Path) -> None:
    """Copy a tree by hard links: nobody writes to either, and `unpack` replaces files whole."""

    def link(one: str, other: str) -> None:
        try:
            os.link(one, other, follow_symlinks=False)
        except OSError:
            shutil.copy2(one, other, follow_symlinks=False)

    shutil.copytree(source, target, symlinks=True, copy_function=link)


def _forget_old(current: Path) -> None:
    ages = {}
    for place in current.parent.iterdir():
        with contextlib.suppress(OSError):  # another build may be removing it
            ages[place] = place.stat().st_mtime
    by_age = sorted(ages, key=lambda place: ages[place], reverse=True)
    for place in [p for p in by_age if p != current][_KEPT - 1 :]:
        if time.time() - ages[place] > _IN_USE:
            shutil.rmtree(place, ignore_errors=True)
