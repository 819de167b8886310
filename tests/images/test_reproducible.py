"""The same inputs give the same digest, whoever composes, wherever and whenever."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

import pytest
from image_runs import MakeCan

import cannery
from cannery.images.compose import Composition
from cannery.images.lock import Lock, write_lock
from cannery.images.store import Store
from cannery.processes import run

SYSTEM = Path(f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")
OTHER_PYTHON = str(SYSTEM) if SYSTEM.exists() else sys.executable
"""The system's own of the same version, where it has one: the same packages can be imported by it."""

PROGRAM = """
import os, sys
from pathlib import Path
os.umask(int(sys.argv[1], 8))
from cannery.cans.manifest import read_manifest
from cannery.images.compose import compose
from cannery.images.lock import read_lock
from cannery.images.plan import Plan
from cannery.images.store import Store
can = Path(sys.argv[3])
manifest = read_manifest((can / "can.json").read_bytes())
plan = Plan(lock=read_lock(Path(sys.argv[2])), can=can, manifest=manifest)
sys.stdout.write(compose(plan, Store(root=Path(sys.argv[4]))).digest)
"""


@pytest.mark.network
@pytest.mark.slow
def test_two_builds_that_share_nothing_but_their_inputs_are_equal(
    composition: Composition,
    lock: Lock,
    user_store: Store,
    make_can: MakeCan,
    tmp_path: Path,
) -> None:
    """Another Python, umask, zone, locale, folder, hash seed and clock; every layer made anew: the same image.

    `benchmarks/reproducible.py` does it a hundred times, as several users too.
    """
    del composition  # composing it brought all packages into the user's store
    folder, _ = make_can("a model that is built three times")
    write_lock(lock, tmp_path / "cannery.lock")
    code = Path(cannery.__file__).parent
    snapshot = tmp_path / "snapshot"
    shutil.copytree(code, snapshot / "cannery", ignore=shutil.ignore_patterns("__pycache__"))
    digests = []
    for python, umask, zone, locale, seed in (
        (sys.executable, "0022", "UTC", "C", "0"),
        (OTHER_PYTHON, "0077", "Pacific/Auckland", "C.UTF-8", "4242"),
    ):
        place = tmp_path / f"build {seed}"
        store = fresh_store(place / "store", lock, user_store)
        package = shutil.copytree(snapshot, place / "package")
        environ = {
            **os.environ,
            "PYTHONPATH": f"{package}:{sysconfig.get_path('purelib')}",
            "TZ": zone,
            "LC_ALL": locale,
            "PYTHONHASHSEED": seed,
        }
        words = [python, "-c", PROGRAM, umask, str(tmp_path / "cannery.lock"), str(folder)]
        done = run([*words, str(store.root)], env=environ, cwd=place, timeout=300)
        assert done.ok, done.complaint
        digests.append(done.stdout)
    assert digests[0] == digests[1]
    assert digests[0].startswith(b"sha256:")


def fresh_store(root: Path, lock: Lock, user_store: Store) -> Store:
    """Return a store that has the packages, and no layer."""
    store = Store(root=root)
    for platform in lock.platforms.values():
        for package in (*platform.debian, *platform.wheels):
            store.take(user_store.path(f"sha256:{package.sha256}"))
    return store
