"""The content-addressed store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cannery.blobs import digest_bytes
from cannery.errors import OutputError
from cannery.images.store import Store


def test_what_is_added_is_found_by_digest(store: Store) -> None:
    """A blob is read back by the digest that adding it returned."""
    digest = store.add(b"some bytes")
    assert digest == digest_bytes(b"some bytes")
    assert store.read(digest) == b"some bytes"


def test_a_damaged_blob_is_deleted_and_missing(store: Store) -> None:
    """A blob whose bytes no longer have its digest is never returned."""
    digest = store.add(b"some bytes")
    store.path(digest).write_bytes(b"other bytes")
    assert store.find(digest) is None
    assert not store.path(digest).exists()
    assert store.read(digest) is None


def test_a_damaged_blob_can_be_added_again(store: Store) -> None:
    """What was damaged is whole after it was made again."""
    digest = store.add(b"some bytes")
    store.path(digest).write_bytes(b"")
    assert store.add(b"some bytes") == digest
    assert store.read(digest) == b"some bytes"


def test_a_write_that_fails_leaves_nothing(store: Store) -> None:
    """An exception while a blob is written leaves no file behind."""

    def fail() -> None:
        with store.writing() as sink:
            sink.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list((store.root / "blobs" / "sha256").iterdir()) == []


def test_memos_are_recalled_by_equal_keys(store: Store) -> None:
    """A memo is found by an equal key whatever the order of its names, and by no other."""
    store.remember({"a": 1, "b": [2]}, {"digest": "x"})
    assert store.recall({"b": [2], "a": 1}, dict) == {"digest": "x"}
    assert store.recall({"a": 1}, dict) is None


def test_a_memo_of_another_form_is_not_recalled(store: Store) -> None:
    """What an older Cannery remembered in another form is made again, not misread."""
    store.remember("base", [["sha256:a", 1]])
    assert store.recall("base", list[tuple[str, int, str]]) is None


def test_what_cannot_be_remembered_is_made_again(store: Store) -> None:
    """Memos save work and nothing else: a place where none can be written is no error."""
    store.root.mkdir()
    (store.root / "memo").write_text("no folder")
    store.remember("key", "value")
    assert store.recall("key", str) is None


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    """A cache in a place that is no folder is reported with a hint."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't write in") as caught:
        Store(root=tmp_path / "file").add(b"x")
    assert "CANNERY_CACHE" in str(caught.value.hint)


def test_a_cache_that_cannot_be_made_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the user's cache would lie in a place that is no folder, the hint says how to move it."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CANNERY_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="can't keep layers") as caught:
        Store()
    assert "CANNERY_CACHE" in str(caught.value.hint)


def test_what_was_not_used_is_pruned(store: Store) -> None:
    """Old blobs and memos go; what was found or recalled since stays, and half files of old go too."""
    kept, gone = store.add(b"kept"), store.add(b"gone")
    store.remember("kept", 1)
    store.remember("gone", 1)
    part = store.root / "blobs" / "sha256" / ".part-old"
    part.write_bytes(b"half")
    for path in store.root.rglob("*"):
        os.utime(path, (1, 1))
    assert store.find(kept) is not None
    assert store.recall("kept", int) == 1
    assert store.prune(3600) == (3, len(b"gone") + len(b"half") + 2)
    assert store.find(kept) is not None
    assert store.find(gone) is None
    assert (store.recall("kept", int), store.recall("gone", int)) == (1, None)
