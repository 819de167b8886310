"""Open a can: only if every byte is what `can.json` says."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec

from cannery.blobs import digest_bytes, digest_file, parse_json
from cannery.cans.manifest import CanManifest, File, read_manifest
from cannery.errors import CanError
from cannery.signatures import Canary

MANIFEST = "can.json"
CANARY = "canary.json"
MANIFEST_LIMIT = 16 << 20
"""Bytes; a longer `can.json` is not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Can:
    """A sealed model package whose every digest held when it was opened."""

    folder: Path
    manifest: CanManifest
    digest: str
    """SHA-256 of `can.json` as it lies there: the can's name."""

    @property
    def model_path(self) -> Path:
        """Where the model file lies."""
        return self.folder / self.manifest.model

    def read(self, name: str) -> bytes:
        """Return a file's bytes, checked once more; raises CanError when they changed since opening."""
        if name not in self.manifest.files:
            raise CanError(f"the can '{self.folder}' has no file '{name}'")
        try:
            data = (self.folder / name).read_bytes()
        except OSError as error:
            raise CanError(f"can't read '{name}': {error.strerror}") from error
        _hold(name, self.manifest.files[name], digest=digest_bytes(data), size=len(data))
        return data

    def model(self) -> bytes:
        """Return the model file's bytes."""
        return self.read(self.manifest.model)

    def canary(self) -> Canary:
        """Return the golden records; raises CanError when there are none or they can't be read."""
        try:
            canary = parse_json(self.read(CANARY), Canary)
        except msgspec.DecodeError as error:
            raise CanError(f"'{CANARY}' is no canary: {error}") from error
        if not canary.records or len(canary.records) != len(canary.outputs):
            raise CanError(
                f"'{CANARY}' has {len(canary.records)} records and {len(canary.outputs)} answers"
            )
        return canary


def open_can(folder: Path) -> Can:
    """Check every file of a can against `can.json` and return it.

    Raises CanError, naming the file, for a missing, additional, linked or damaged one.
    """
    if not folder.is_dir():
        raise CanError(f"no can at '{folder}'", hint="a can is a folder with a can.json in it")
    try:
        data = _manifest_bytes(folder)
        manifest = read_manifest(data)
    except FileNotFoundError as error:
        raise CanError(
            f"'{folder}' is no can: it has no {MANIFEST}", hint="`cannery pack` makes one"
        ) from error
    except OSError as error:
        raise CanError(f"can't read '{folder / MANIFEST}': {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise CanError(
            f"'{folder / MANIFEST}' can't be read: {error}",
            hint="it is damaged, or was made by another version of Cannery",
        ) from error
    _check(folder, manifest)
    return Can(folder=folder, manifest=manifest, digest=digest_bytes(data))


def copy_can(can: Can, folder: Path) -> Can:
    """Copy an opened can into an empty folder and open it there.

    Raises CanError where it was changed since it was opened.
    """
    for name in (MANIFEST, *can.manifest.files):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(can.folder / name, place)
    copy = open_can(folder)
    if copy.digest != can.digest:
        raise CanError(f"the can '{can.folder}' became another one while it was copied")
    return copy


def check_names(manifest: CanManifest) -> None:
    """Raise CanError for a file name that leaves the folder, or a manifest without model or canary."""
    for name in manifest.files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or str(path) != name or "\0" in name:
            raise CanError(f"the file name '{name}' in {MANIFEST} leaves the can")
    for name in (manifest.model, CANARY):
        if name not in manifest.files:
            raise CanError(f"{MANIFEST} does not list '{name}'")


def _manifest_bytes(folder: Path) -> bytes:
    status = (folder / MANIFEST).lstat()
    if not stat.S_ISREG(status.st_mode):
        raise CanError(f"'{folder / MANIFEST}' is not a plain file")
    if status.st_size > MANIFEST_LIMIT:
        raise CanError(f"'{folder / MANIFEST}' has {status.st_size} bytes: too long")
    return (folder / MANIFEST).read_bytes()


def _check(folder: Path, manifest: CanManifest) -> None:
    check_names(manifest)
    present = set(_files(folder, folder)) - {MANIFEST}
    for name in sorted(manifest.files.keys() - present):
        raise CanError(f"the can '{folder}' lacks '{name}', which {MANIFEST} lists")
    for name in sorted(present - manifest.files.keys()):
        raise CanError(f"the can '{folder}' has '{name}', which {MANIFEST} does not list")
    for name, file in manifest.files.items():
        path = folder / name
        try:
            size = path.stat().st_size
            _hold(name, file, digest=digest_file(path), size=size)
        except OSError as error:
            raise CanError(f"can't read '{path}': {error.strerror}") from error


def _files(folder: Path, root: Path) -> Iterator[str]:
    """Yield every file below `folder` by its path relative to `root`; raises CanError for a link or a device."""
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise CanError(f"can't read '{folder}': {error.strerror}") from error
    for entry in entries:
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from _files(path, root)
        elif entry.is_file(follow_symlinks=False):
            yield path.relative_to(root).as_posix()
        else:
            raise CanError(f"'{path}' is a link or a device: a can holds plain files alone")


def _hold(name: str, file: File, *, digest: str, size: int) -> None:
    if digest != file.digest or size != file.size:
        raise CanError(
            f"'{name}' is damaged: {MANIFEST} says {file.digest} ({file.size} bytes),"
            f" the file is {digest} ({size} bytes)",
            hint="fetch or pack the can again",
        )
