"""The lock names every package by digest, and no host."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from cannery.blobs import pretty_json
from cannery.errors import ImageError, UnreachableError
from cannery.images.lock import Lock, LockRequest, covers, read_lock, resolve, write_lock
from cannery.images.packages import DebianPackage, Platform, Wheel
from cannery.images.resolutions import Target, resolve_wheels
from cannery.images.store import Store

SMALL = Lock(
    created="2026-11-21T02:10:46Z",
    runtime="onnx",
    platforms={
        "amd64": Platform(
            debian=(
                DebianPackage(
                    name="x",
                    version="1",
                    architecture="all",
                    path="pool/x.deb",
                    sha256="0" * 64,
                    size=7,
                ),
            ),
            wheels=(
                Wheel(name="y", version="2", filename="y-2-py3-none-any.whl", sha256="1" * 64),
            ),
        )
    },
)


def test_a_lock_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Writing and reading gives an equal lock, by an equal digest."""
    write_lock(SMALL, tmp_path / "cannery.lock")
    assert read_lock(tmp_path / "cannery.lock") == SMALL
    assert read_lock(tmp_path / "cannery.lock").digest == SMALL.digest


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"schema_version": 2}', b"\xff"])
def test_what_is_no_lock_is_a_clear_error(data: bytes, tmp_path: Path) -> None:
    """Damaged locks are named."""
    (tmp_path / "cannery.lock").write_bytes(data)
    with pytest.raises(ImageError, match=r"cannery\.lock' is not a lock"):
        read_lock(tmp_path / "cannery.lock")


def test_a_lock_of_another_recipe_is_refused(tmp_path: Path) -> None:
    """Recipes change which packages are needed, so the lock must be resolved anew."""
    write_lock(msgspec.structs.replace(SMALL, recipe=99), tmp_path / "cannery.lock")
    with pytest.raises(ImageError, match="was made for recipe 99"):
        read_lock(tmp_path / "cannery.lock")


def test_a_lock_says_why_it_does_not_cover_a_request() -> None:
    """Another runtime, other packages, another platform: each is told."""
    amd64 = LockRequest(architectures=("amd64",))
    assert covers(SMALL, amd64) is None
    assert "runtime" in str(covers(SMALL, LockRequest(runtime="skops", architectures=("amd64",))))
    assert "packages" in str(covers(SMALL, LockRequest(requirements=("z==1",))))
    assert "arm64" in str(covers(SMALL, LockRequest(architectures=("arm64",))))


def test_an_unreachable_mirror_is_a_clear_error(store: Store) -> None:
    """With nothing remembered, a mirror that does not answer is an UnreachableError."""
    with pytest.raises(UnreachableError, match="can't fetch"):
        resolve(LockRequest(mirror="http://127.0.0.1:9/debian"), store)


@pytest.mark.network
def test_the_lock_names_no_host(lock: Lock) -> None:
    """Neither a mirror nor an index is named: those are the user's own."""
    text = pretty_json(lock).decode()
    assert "://" not in text
    assert re.findall(r"\b[a-z0-9-]+\.(?:com|org|net|io|dev)\b", text) == []


@pytest.mark.network
def test_the_answer_is_remembered(lock: Lock, user_store: Store) -> None:
    """The same request gives the same lock, while the archive's Release holds."""
    assert resolve(LockRequest(), user_store) == lock


@pytest.mark.network
def test_a_mirror_that_went_away_does_not_stop_a_build(user_store: Store, lock: Lock) -> None:
    """After the remembered lock has run out, it still serves where the clock says the mirror is held back."""
    later = datetime.now(UTC) + timedelta(days=60)
    with pytest.raises(ImageError, match="was valid until"):
        resolve(LockRequest(), user_store, now=later)
    assert resolve(LockRequest(), user_store) == lock


@pytest.mark.network
def test_a_version_without_wheels_is_named(store: Store) -> None:
    """What has no wheel for the image's Python is told by name."""
    with pytest.raises(ImageError, match="no wheels for Python") as caught:
        resolve_wheels(["httptools==0.1.1"], Target(architecture="amd64"), store, alone=True)
    assert "httptools" in str(caught.value)


@pytest.mark.network
def test_a_package_without_wheels_for_one_architecture_is_named(store: Store) -> None:
    """What is made for one processor alone is resolved for it, and told by name for the other."""
    found = resolve_wheels(
        ["intel-openmp==2024.0.0"], Target(architecture="amd64"), store, alone=True
    )
    assert [wheel.name for wheel in found] == ["intel-openmp"]
    with pytest.raises(ImageError, match=r"no wheels for Python .* on arm64") as caught:
        resolve_wheels(["intel-openmp==2024.0.0"], Target(architecture="arm64"), store, alone=True)
    assert "intel-openmp" in str(caught.value)


@pytest.mark.network
def test_a_python_that_a_package_is_too_old_for_is_named(store: Store) -> None:
    """On one line: the package, and that there is none for this Python."""
    target = Target(architecture="amd64", python="3.14")
    with pytest.raises(ImageError, match=r"no wheels for Python 3\.14 .*msgspec") as caught:
        resolve_wheels(["msgspec==0.19.0"], target, store, alone=True)
    assert "\n" not in caught.value.message
    assert "error:" not in caught.value.message


def test_an_unreachable_index_is_a_clear_error(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index that does not answer is an UnreachableError."""
    for name, value in {
        "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
        "UV_INDEX": "",
        "UV_FIND_LINKS": "",
        "UV_HTTP_RETRIES": "0",
        "UV_NO_CACHE": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UnreachableError, match="the package index does not answer"):
        resolve_wheels(["httptools"], Target(architecture="amd64"), store, alone=True)
