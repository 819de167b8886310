"""Build one image many times as different as can be, and see whether it is one image.

    python benchmarks/reproducible.py [--builds 10] [--python PROGRAM]...

Each build makes every layer anew from the same packages, under another umask, time zone, locale,
hash seed, folder and (run as root) user; each `--python` is a further interpreter, with what Cannery
needs beside it or of the version of this one, whose packages it then takes. Exit code 1 where two
digests differ.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from images import make_can

import cannery
from cannery.images.compose import compose
from cannery.images.lock import Lock, LockRequest, resolve, write_lock
from cannery.images.plan import Plan
from cannery.images.store import Store

PROGRAM = """
import os, sys
from pathlib import Path
umask, user, lock, can, store = sys.argv[1:]
from cannery.cans.manifest import read_manifest
from cannery.images.compose import compose
from cannery.images.lock import read_lock
from cannery.images.plan import Plan
from cannery.images.store import Store
os.umask(int(umask, 8))
if int(user):  # only now: the interpreter may lie where that user may not read
    os.setgid(int(user))
    os.setuid(int(user))
can = Path(can)
manifest = read_manifest((can / "can.json").read_bytes())
plan = Plan(lock=read_lock(Path(lock)), can=can, manifest=manifest)
sys.stdout.write(compose(plan, Store(root=Path(store))).digest)
"""
QUESTION = """
import platform, sysconfig, msgspec, zlib_ng
print(platform.python_version(), sysconfig.get_path("purelib"))
"""
UMASKS = ("0022", "0077", "0002", "0000")
ZONES = ("UTC", "Pacific/Auckland", "America/Caracas")
LOCALES = ("C", "C.UTF-8", "POSIX")


def fresh_store(root: Path, lock: Lock, full: Store, user: int) -> None:
    """Fill a store with the packages alone, readable and writable by `user`."""
    store = Store(root=root)
    for platform in lock.platforms.values():
        for package in (*platform.debian, *platform.wheels):
            store.take(full.path(f"sha256:{package.sha256}"))
    if user:
        for path in (root, *root.rglob("*")):
            os.chown(path, user, user)


@dataclass(frozen=True, slots=True)
class Python:
    """An interpreter and the folder of the packages that it takes."""

    program: str
    version: str
    packages: str

    @classmethod
    def of(cls, program: str) -> Python:
        """Ask an interpreter; raises CalledProcessError where it has not what Cannery needs."""
        own = sysconfig.get_path("purelib")
        for packages in ("", own):
            environment = {**os.environ, "PYTHONPATH": packages}
            done = subprocess.run(
                [program, "-c", QUESTION], env=environment, capture_output=True, text=True
            )
            if done.returncode == 0:
                version, found = done.stdout.split()
                return cls(program, version, packages or found)
        raise subprocess.CalledProcessError(done.returncode, program, done.stdout, done.stderr)

    @property
    def open_to_all(self) -> bool:
        """Whether every user may read it."""
        folders = (Path(self.program).resolve().parent, Path(self.packages))
        return all(
            place.stat().st_mode & 0o005 == 0o005
            for folder in folders
            for place in (folder, *folder.parents)
        )


def main() -> int:
    """Build, compare, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--builds", type=int, default=10)
    parser.add_argument("--python", action="append", default=[sys.executable])
    given = parser.parse_args()
    full = Store()
    lock = resolve(LockRequest(), full)
    found: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        top.chmod(0o755)
        manifest = make_can(top / "can", 1)
        compose(Plan(lock=lock, can=top / "can", manifest=manifest), full)  # brings every package
        # What is built from must not change meanwhile, as it does where somebody works on it.
        source = Path(cannery.__file__).parent
        shutil.copytree(source, top / "code" / "cannery")
        about = Path(str(importlib.metadata.distribution("cannery").locate_file("")))
        for folder in about.glob("cannery-*.dist-info"):
            shutil.copytree(folder, top / "code" / folder.name)
        write_lock(lock, top / "cannery.lock")
        (top / "cannery.lock").chmod(0o644)
        pythons = [Python.of(program) for program in given.python]
        open_pythons = [python for python in pythons if python.open_to_all]
        others = os.getuid() == 0 and bool(open_pythons)
        if not others:
            sys.stdout.write("one user: not run as root, or others may not read its Python\n")
        ways = zip(
            range(given.builds),
            itertools.cycle(UMASKS),
            itertools.cycle(ZONES),
            itertools.cycle(LOCALES),
            itertools.cycle(pythons),
            strict=False,
        )
        for number, umask, zone, locale, python in ways:
            user = 20000 + number if others and number % 2 else 0
            if user:
                python = open_pythons[number // 2 % len(open_pythons)]
            store = top / f"store {number}" / ("x" * (number % 3 + 1))
            fresh_store(store, lock, full, user)
            environment = {
                **os.environ,
                "PYTHONPATH": f"{top / 'code'}:{python.packages}",
                "TZ": zone,
                "LC_ALL": locale,
                "PYTHONHASHSEED": str(number * 7919),
                "HOME": str(store),
                "PYTHONDONTWRITEBYTECODE": "1",
            }
            words = [
                python.program,
                "-c",
                PROGRAM,
                umask,
                str(user),
                top / "cannery.lock",
                top / "can",
            ]
            done = subprocess.run(
                [*words, store], env=environment, capture_output=True, text=True, check=False
            )
            result = done.stdout if done.returncode == 0 else done.stderr.strip()[-300:]
            way = f"umask {umask}, {zone}, {locale}, user {user}, Python {python.version}"
            found.setdefault(result, []).append(way)
            sys.stdout.write(f"{number + 1:>4} {result[:19]}  {way}\n")
            sys.stdout.flush()
            shutil.rmtree(top / f"store {number}")
    sys.stdout.write(f"{given.builds} builds, {len(found)} different results\n")
    return 0 if len(found) == 1 and next(iter(found)).startswith("sha256:") else 1


if __name__ == "__main__":
    sys.exit(main())
