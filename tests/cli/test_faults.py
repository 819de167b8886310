"""What goes wrong around a build: a clear word, status 2, nothing half-written; and what mends itself."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_registries import State, fake_registry

from cannery.caches import cache_folder
from cannery.processes import Finished, run

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def lock(can: Path, kit: Path, cannery_in: Callable, tmp_path_factory: pytest.TempPathFactory):
    """Return the lock of a build that went well, and the digest of its image; the cache is warm then."""
    folder = tmp_path_factory.mktemp("well")
    words = ("build", can, "-t", "churn:v1", "--engine", "sandbox", "--to", "oci:out", "--json")
    done = cannery_in(folder)(*words)
    assert done.ok, done.complaint
    return folder / "cannery.lock", json.loads(done.stdout)["digest"]


@pytest.fixture
def work(lock: tuple[Path, str], tmp_path: Path) -> Path:
    """Return a folder with that lock."""
    folder = tmp_path / "work"
    folder.mkdir()
    shutil.copy(lock[0], folder)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return a cache of our own with all packages of the user's, and no layers."""
    root = tmp_path / "cache"
    (root / "images").mkdir(parents=True)
    shutil.copytree(
        cache_folder("images", "blobs"), root / "images" / "blobs", copy_function=os.link
    )
    return root


def build_in(sandbox: list[str | Path], work: Path, can: Path, to: str) -> Finished:
    """Build in bubblewrap, with these words for what is other there."""
    words = ["bwrap", "--dev-bind", "/", "/", *sandbox, "--chdir", work]
    command = [sys.executable, "-m", "cannery", "build", can, "-t", "churn:v1"]
    return run([*words, *command, "--engine", "sandbox", "--to", to], timeout=240)


@pytest.mark.bubblewrap
def test_a_full_disk_leaves_no_half_archive(lock, can, work, tmp_path) -> None:
    """The place of the output holds 5 MB: the error names it, and nothing lies there."""
    full = tmp_path / "full"
    full.mkdir()
    listing = tmp_path / "listing"
    shell = f'"$@"; status=$?; ls -A {full} > {listing}; exit $status'
    sandbox = ["--size", str(5 << 20), "--tmpfs", full, "sh", "-c", shell, "sh"]
    words = ["bwrap", "--dev-bind", "/", "/", "--chdir", work, *sandbox]
    command = [sys.executable, "-m", "cannery", "build", can, "-t", "churn:v1"]
    done = run([*words, *command, "--engine", "sandbox", "--to", f"archive:{full}/churn.tar"])
    assert done.status == 2
    assert "No space left on device" in done.complaint
    assert str(full) in done.complaint
    assert "Traceback" not in done.stderr.decode()
    assert listing.read_text() == ""


@pytest.mark.bubblewrap
def test_a_full_cache_is_a_clear_error(lock, can, work, tmp_path, monkeypatch) -> None:
    """Packages don't fit: the hint says how to move the cache, and there is no output."""
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("CANNERY_CACHE", str(cache))
    done = build_in(["--size", str(1 << 20), "--tmpfs", cache], work, can, "oci:out")
    assert done.status == 2
    assert "No space left on device" in done.complaint
    assert "CANNERY_CACHE" in done.complaint
    assert "Traceback" not in done.stderr.decode()
    assert [path.name for path in work.iterdir()] == ["cannery.lock"]


@pytest.mark.bubblewrap
def test_a_read_only_cache_that_has_all_will_do(lock, can, work) -> None:
    """Nothing can be kept in it, and nothing need be."""
    done = build_in(["--ro-bind", cache_folder(), cache_folder()], work, can, "oci:out")
    assert done.ok, done.complaint
    assert json.loads((work / "out/index.json").read_text())["manifests"][0]["digest"] == lock[1]


@pytest.mark.bubblewrap
def test_a_read_only_cache_is_a_clear_error(lock, can, work, cache, monkeypatch) -> None:
    """Nothing can be kept in it: the hint says how to move it."""
    monkeypatch.setenv("CANNERY_CACHE", str(cache))
    done = build_in(["--ro-bind", cache, cache], work, can, "oci:out")
    assert done.status == 2
    assert "Read-only file system" in done.complaint
    assert "CANNERY_CACHE" in done.complaint
    assert "Traceback" not in done.stderr.decode()
    assert [path.name for path in work.iterdir()] == ["cannery.lock"]


def test_two_builds_at_once_make_each_layer_once(lock, can, work, cache, cannery_in) -> None:
    """On one cold cache: both end well, with the digest that anybody gets."""
    ended: list[Finished] = []

    def build(name: str) -> None:
        words = ("build", can, "-t", "churn:v1", "--engine", "sandbox", "--to", f"oci:{name}")
        ended.append(cannery_in(work)(*words, "--json", CANNERY_CACHE=str(cache)))

    threads = [threading.Thread(target=build, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for done in ended:
        assert done.ok, done.complaint
    assert [json.loads(done.stdout)["digest"] for done in ended] == [lock[1]] * 2
    halves = [p.name for p in (cache / "images" / "blobs" / "sha256").iterdir() if len(p.name) < 64]
    assert halves == []


def test_what_was_corrupted_in_the_cache_is_made_again(lock, can, work, cache, cannery_in) -> None:
    """A package and a layer, changed on purpose: found by digest, fetched and made again, the same image."""
    shutil.copytree(cache_folder("images", "memo"), cache / "images" / "memo")
    blobs = cache / "images" / "blobs" / "sha256"
    manifest = lock[0].parent / "out" / "blobs" / "sha256" / lock[1].removeprefix("sha256:")
    layer = json.loads(manifest.read_text())["layers"][2]["digest"].removeprefix("sha256:")
    platform = next(iter(json.loads(lock[0].read_text())["platforms"].values()))
    for name in (layer, platform["wheels"][0]["sha256"]):
        (blobs / name).unlink()  # it may be linked to the user's own
        (blobs / name).write_bytes(b"not what it was")
    words = ("build", can, "-t", "churn:v1", "--engine", "sandbox", "--to", "oci:again", "--json")
    done = cannery_in(work)(*words, CANNERY_CACHE=str(cache))
    assert done.ok, done.complaint
    assert json.loads(done.stdout)["digest"] == lock[1]
    assert (blobs / layer).stat().st_size > 1000


def test_a_registry_that_does_not_know_us_is_found_before_any_work(can, work, cannery_in) -> None:
    """What a long conversion would be in vain for is asked first."""

    def trouble(handler) -> bool:
        handler.answer(401, WWW_Authenticate='Basic realm="x"')
        return True

    with fake_registry(State(trouble=trouble)) as host:
        words = ("build", can, "-t", f"{host}/churn:v1", "--engine", "sandbox", "--to", "registry")
        done = cannery_in(work)(*words)
    assert done.status == 2
    assert f"log in first: docker login {host}" in done.complaint
    assert "compose" not in done.complaint


def test_a_registry_that_dies_in_mid_upload_has_no_tag(lock, can, work, cannery_in) -> None:
    """After several attempts: status 2, its address in the error, and no manifest there."""

    def trouble(handler) -> bool:
        if handler.command == "PUT":
            handler.rfile.read(1000)
            handler.close_connection = True
            handler.connection.close()
            return True
        return False

    state = State(trouble=trouble)
    with fake_registry(state) as host:
        words = ("build", can, "-t", f"{host}/churn:v1", "--engine", "sandbox", "--to", "registry")
        done = cannery_in(work)(*words)
    assert done.status == 2
    assert f"registry '{host}' does not answer" in done.complaint
    assert "Traceback" not in done.stderr.decode()
    assert state.manifests == {}
