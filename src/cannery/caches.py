"""Where Cannery keeps what it can make again."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

import platformdirs

from cannery.errors import UsageError


def cache_folder(*parts: str) -> Path:
    """Return (and make) a folder of the user's cache; the environment's CANNERY_CACHE moves its root.

    What lies there is run, and goes into images: a root that is made is the user's alone. Raises
    UsageError for one into which others may write.
    """
    root = Path(os.environ.get("CANNERY_CACHE") or platformdirs.user_cache_dir("cannery"))
    root.parent.mkdir(parents=True, exist_ok=True)
    root.mkdir(mode=0o700, exist_ok=True)
    _check_own(root)
    folder = root.joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def uv_cache() -> dict[str, str]:
    """Return the variable that gives uv a cache in ours, where it can't have its own."""
    if os.environ.get("UV_CACHE_DIR"):
        return {}
    usual = Path(platformdirs.user_cache_dir("uv"))
    with contextlib.suppress(OSError):
        usual.mkdir(parents=True, exist_ok=True)
    return {} if os.access(usual, os.W_OK) else {"UV_CACHE_DIR": str(cache_folder("uv"))}


def _check_own(root: Path) -> None:
    facts = root.stat()
    if facts.st_uid not in (os.geteuid(), 0):
        trouble = "belongs to another user"
    elif facts.st_mode & stat.S_IWOTH:
        trouble = "can be written to by every user"
    else:
        return
    raise UsageError(
        f"the cache '{root}' {trouble}, and what lies in it is run",
        hint="set CANNERY_CACHE to a folder that only you can write to; one that is not there is made",
    )
