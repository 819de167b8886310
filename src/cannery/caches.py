"""Where Cannery keeps what it can make again."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder(*parts: str) -> Path:
    """Return (and make) a folder of the user's cache; the environment's CANNERY_CACHE moves its root."""
    root = os.environ.get("CANNERY_CACHE") or platformdirs.user_cache_dir("cannery")
    folder = Path(root).joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
