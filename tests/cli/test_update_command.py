"""`cannery update` shows what is newer before anything is written; `prune` empties the cache."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cannery.images.lock import LockRequest, resolve, write_lock
from cannery.images.store import Store
from cannery.processes import Finished

Command = Callable[..., Finished]


@pytest.mark.network
def test_update_shows_before_it_writes(
    cannery_in: Callable[[Path], Command], tmp_path: Path
) -> None:
    """An old version is named with the new one; nothing is written until that is wanted."""
    path = tmp_path / "cannery.lock"
    write_lock(resolve(LockRequest(), Store()), path)
    newest = path.read_text()
    document = json.loads(newest)
    (platform,) = document["platforms"].values()
    numpy = next(w for w in platform["wheels"] if w["name"] == "numpy")
    numpy["version"] = "1.0"
    old = json.dumps(document)
    path.write_text(old)
    cannery = cannery_in(tmp_path)
    shown = cannery("update")
    assert shown.status == 1
    assert "numpy                        1.0 → " in shown.stdout.decode()
    assert path.read_text() == old
    written = cannery("update", "--yes", "--json")
    assert written.status == 0
    assert json.loads(written.stdout)["changed"].keys() == {"numpy"}
    # The archive may have moved meanwhile, which the lock's time tells.
    assert json.loads(path.read_text())["platforms"] == json.loads(newest)["platforms"]


def test_update_needs_a_lock(cannery_in: Callable[[Path], Command], tmp_path: Path) -> None:
    """Without one there is nothing to update."""
    done = cannery_in(tmp_path)("update")
    assert done.status == 2
    assert "can't read 'cannery.lock'" in done.complaint


def test_prune_says_what_it_deleted(cannery_in: Callable[[Path], Command], tmp_path: Path) -> None:
    """In a cache of its own: everything with --days 0."""
    store = Store(root=tmp_path / "cache" / "images")
    store.add(b"12345")
    done = cannery_in(tmp_path)(
        "prune", "--days", "0", "--json", CANNERY_CACHE=str(tmp_path / "cache")
    )
    assert json.loads(done.stdout) == {"folder": str(store.root), "files": 1, "bytes": 5}
