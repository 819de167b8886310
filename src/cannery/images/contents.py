"""What a layer holds and what was kept out of it, package by package: an image carries it in its config."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

import msgspec

from cannery.images.packages import DebianPackage, Wheel
from cannery.images.recipe import reason_of
from cannery.images.trees import LeftOut, Tree


class Included(msgspec.Struct, frozen=True, kw_only=True):
    """A package in a layer, as much of it as is in there."""

    name: str
    version: str
    reason: str
    files: int = 0
    bytes: int = 0


CONTENTS = "dev.cannery.contents"
"""Field of a config, which readers that don't know it pass over: contents by layer."""


class Contents(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a layer holds and what was kept out of it."""

    packages: tuple[Included, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


def included(packages: Iterable[DebianPackage | Wheel]) -> tuple[Included, ...]:
    """Return packages with the reason for each, not yet measured."""
    return tuple(
        Included(name=p.name, version=p.version, reason=reason_of(p.name)) for p in packages
    )


def measured(
    packages: Iterable[Included], tree: Tree, owners: Mapping[str, str]
) -> tuple[Included, ...]:
    """Return the packages with the files and bytes that each has in `tree`; bytecode counts for its source's owner."""
    files: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for path, entry in tree.items():
        owner = owners.get(path) or owners.get(_source(path))
        if owner is not None and not entry.folder:
            files[owner] += 1
            sizes[owner] += len(entry.data or b"")
    return tuple(
        msgspec.structs.replace(p, files=files[p.name], bytes=sizes[p.name]) for p in packages
    )


def _source(path: str) -> str:
    """Return which source the bytecode at `path` was compiled from, beside it or in its cache folder."""
    if not path.endswith(".pyc"):
        return path
    place = PurePosixPath(path)
    if place.parent.name == "__pycache__":
        return str(place.parent.parent / f"{place.name.partition('.')[0]}.py")
    return path.removesuffix("c")
