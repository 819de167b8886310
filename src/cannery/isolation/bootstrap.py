"""The first thing that runs in a worker: raise the fences, then load the rest from where it may read.

Started as a file by a bare interpreter (`-S -s -B`, and `-P` where it has that), with its settings as JSON in the first
argument. The channel is standard input and output; both are moved away at once, so that nothing
that runs later can write into it by printing.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def take_channel() -> tuple[int, int]:
    """Return private descriptors for input and output; the usual ones lead to nothing and to stderr."""
    channel = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return channel


def graft(folder: str) -> None:
    """Make `cannery` importable from `folder` alone, without the packages that lie beside it."""
    package = ModuleType("cannery")
    package.__path__ = [folder]
    package.__spec__ = ModuleSpec("cannery", None, is_package=True)
    package.__spec__.submodule_search_locations = [folder]
    sys.modules["cannery"] = package


def raise_fences(settings: dict[str, Any]) -> None:
    """Raise the fences of the level; those that make the level must hold, the others are added where they can."""
    from cannery.isolation import fences

    fences.die_with_parent()
    level = settings["level"]
    if level == "landlock":
        fences.leave_network()
    fences.limit_resources(settings["memory"], settings["cpu"])
    fences.forgo_privileges()
    if level == "landlock" or (level == "bubblewrap" and fences.landlock_version()):
        fences.restrict_files(settings["readable"])
    fences.filter_calls()


def main() -> None:
    """Fence this process in, then try the fences or serve requests."""
    settings = json.loads(sys.argv[1])
    sys.path[:] = [p for p in sys.path if p != os.path.dirname(__file__)]  # noqa: PTH120 - before 3.11
    channel = take_channel()
    graft(settings["cannery"])
    raise_fences(settings)
    if settings["probe"] is not None:
        from cannery.isolation.attempts import attempt

        attempt(channel[1], settings["probe"])
        return
    sys.path.append(settings["packages"])
    from cannery.isolation.inside import serve

    serve(*channel)


if __name__ == "__main__":
    main()
