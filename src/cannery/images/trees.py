"""Files of an image before they are packed: paths, bytes, links and modes, with owners and times left behind."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import PurePosixPath

import msgspec

from cannery.errors import ImageError
from cannery.images.recipe import Cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file, a folder (neither data nor target) or a symbolic link."""

    mode: int = 0o644
    data: bytes | None = None
    target: str | None = None

    @property
    def folder(self) -> bool:
        """Whether it is a folder."""
        return self.data is None and self.target is None


Tree = dict[str, Entry]
"""Path without a leading slash → entry."""

FOLDER = Entry(mode=0o755)


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """What one pattern took away."""

    pattern: str
    reason: str
    files: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The files of several packages, which package brought each, and what was left out."""

    tree: Tree
    owners: Mapping[str, str] = field(default_factory=dict)
    """Path → name of the package that brought it."""
    left_out: tuple[LeftOut, ...] = ()


def safe_path(name: str, origin: str) -> str:
    """Return `name` as a plain relative path; raises ImageError when it is absolute or escapes."""
    path = name.removeprefix("./").rstrip("/")
    if path in ("", "."):
        return ""
    parts = path.split("/")
    if path.startswith("/") or "\\" in path or "\0" in path or {"", ".", ".."} & set(parts):
        raise ImageError(f"'{name}' in '{origin}' is not a path inside the package")
    return path


@cache
def _matcher(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern))


def leave_out(tree: Tree, cuts: Iterable[Cut], below: str = "") -> tuple[Tree, list[LeftOut]]:
    """Return the tree without what the patterns match (paths relative to the folder `below`), and what they took."""
    kept = dict(tree)
    taken = []
    prefix = f"{below}/" if below else ""
    for cut in cuts:
        matches = _matcher(cut.pattern).match
        found = [path for path in kept if path.startswith(prefix) and matches(path[len(prefix) :])]
        size = sum(len(kept[path].data or b"") for path in found)
        files = sum(not kept[path].folder for path in found)
        for path in found:
            del kept[path]
        if files:
            taken.append(LeftOut(pattern=cut.pattern, reason=cut.reason, files=files, bytes=size))
    return without_empty_folders(kept, tree), taken


def without_empty_folders(tree: Tree, before: Mapping[str, Entry]) -> Tree:
    """Drop folders that held something before and hold nothing now."""
    once = {str(parent) for path in before for parent in PurePosixPath(path).parents}
    while True:
        full = {str(PurePosixPath(path).parent) for path in tree}
        empty = [p for p, e in tree.items() if e.folder and p in once and p not in full]
        if not empty:
            return tree
        tree = {path: entry for path, entry in tree.items() if path not in set(empty)}


def with_parents(tree: Tree) -> Tree:
    """Return the tree with every parent folder made explicit (mode 0755 where nothing else is said)."""
    parents = {str(parent) for path in tree for parent in PurePosixPath(path).parents}
    return {**dict.fromkeys(parents - {"."}, FOLDER), **tree}


def merge(trees: Iterable[Tree], what: str) -> Tree:
    """Lay trees over one another; raises ImageError where two bring different files under one path."""
    merged: Tree = {}
    for tree in trees:
        for path, entry in tree.items():
            other = merged.get(path)
            if other is not None and other != entry and not (other.folder and entry.folder):
                raise ImageError(f"two packages of {what} bring different files '/{path}'")
            merged[path] = entry
    return merged
