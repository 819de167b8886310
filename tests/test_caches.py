"""The cache holds what is run: nobody else may write to it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from cannery.caches import cache_folder, uv_cache
from cannery.errors import UsageError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return where the cache will be, with a umask that forbids nothing."""
    monkeypatch.setenv("CANNERY_CACHE", str(tmp_path / "some" / "cache"))
    before = os.umask(0)
    yield tmp_path / "some" / "cache"
    os.umask(before)


def test_a_cache_that_is_made_is_the_users_alone(root: Path) -> None:
    """Whatever the umask, nobody else gets in."""
    assert cache_folder("a", "b") == root / "a" / "b"
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_a_cache_for_everybody_is_refused(root: Path) -> None:
    """Whoever can write to it could have another Python run, or other layers in an image."""
    root.mkdir(parents=True)
    root.chmod(0o1777)
    with pytest.raises(UsageError, match="can be written to by every user") as caught:
        cache_folder("images")
    assert "CANNERY_CACHE" in str(caught.value.hint)
    assert list(root.iterdir()) == []


def test_a_cache_of_somebody_else_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner could change what is run; only root may own it for others."""
    root.mkdir(parents=True)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    if os.getuid() == 0:
        os.chown(root, 2, -1)
    with pytest.raises(UsageError, match="belongs to another user"):
        cache_folder("images")


def test_uv_gets_a_cache_where_the_home_is_read_only(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Naming our cache is enough then; elsewhere uv keeps its own, which others of its users share."""
    monkeypatch.delenv("UV_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert uv_cache() == {}
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert uv_cache() == {"UV_CACHE_DIR": str(root / "uv")}
