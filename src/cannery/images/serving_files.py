"""The part of Cannery that travels into an image."""

from __future__ import annotations

from pathlib import Path

import cannery
from cannery.errors import ImageError
from cannery.images.recipe import LIBRARIES
from cannery.images.trees import Entry, Tree

TRAVELS = (
    "__init__.py",
    "errors.py",
    "addresses.py",
    "blobs.py",
    "bounds",
    "signatures.py",
    "cans",
    "serving",
)
"""Modules and packages of ours that `cannery.serving` imports, itself included."""

_SUFFIXES = frozenset({".py", ".html", ".css", ".js", ".svg", ".json"})


def serving_tree() -> Tree:
    """Return those files, below the folder for libraries."""
    root = Path(cannery.__file__).parent
    tree: Tree = {}
    for name in TRAVELS:
        place = root / name
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        for file in files:
            if file.suffix in _SUFFIXES and "__pycache__" not in file.parts:
                try:
                    data = file.read_bytes()
                except OSError as error:
                    raise ImageError(f"can't read '{file}': {error.strerror}") from error
                tree[f"{LIBRARIES}/cannery/{file.relative_to(root).as_posix()}"] = Entry(data=data)
    return tree
