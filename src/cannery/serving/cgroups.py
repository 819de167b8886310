"""What this container may use: processors and memory, by affinity and by the limits of its cgroup."""

from __future__ import annotations

import math
import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
EACH = 120 << 20
"""Bytes of one worker without its model."""
TIMES = 20
"""How many times what it opens a worker takes in memory: sessions of trees take 7 to 10, and up to 19 as they open."""


def workers_for(model: int, shared: int = 0, root: Path = ROOT) -> int:
    """Return how many workers fit, at least one: each opens so many bytes, and all map the same `shared` ones."""
    limit = memory(root)
    fitting = math.inf if limit is None else (limit - shared) // (EACH + TIMES * model)
    return int(max(1, min(processors(root), fitting)))


def processors(root: Path = ROOT) -> int:
    """Return how many processors may be used at once, a part of one counting as one."""
    here = len(os.sched_getaffinity(0))
    quota, period = _quota(root)
    return here if quota is None else max(1, min(here, math.ceil(quota / period)))


def memory(root: Path = ROOT) -> int | None:
    """Return the bytes that may be used; None without a limit."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        words = _words(root / name)
        if words and words[0].isdigit() and int(words[0]) < 1 << 60:
            return int(words[0])
    return None


def _quota(root: Path) -> tuple[int | None, int]:
    words = _words(root / "cpu.max")
    if len(words) == 2 and words[0].isdigit() and words[1].isdigit():
        return int(words[0]), max(1, int(words[1]))
    quota = _words(root / "cpu/cpu.cfs_quota_us")
    period = _words(root / "cpu/cpu.cfs_period_us")
    if quota and period and quota[0].isdigit() and period[0].isdigit():
        return int(quota[0]), max(1, int(period[0]))
    return None, 1


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
