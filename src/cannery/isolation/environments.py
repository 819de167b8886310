"""An environment of its own for the worker: the library versions with which the model was trained."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import uv

from cannery.audits.findings import Audit
from cannery.blobs import canonical_json, digest_bytes, hex_of, write_file
from cannery.caches import cache_folder, uv_cache
from cannery.errors import IsolationError, UnreachableError
from cannery.indexes import UNUSED, index_environment
from cannery.isolation.pythons import OLDEST, Interpreter, fetch, find, minor_of, nearest, own
from cannery.isolation.requirements import assumed, requirements_of
from cannery.processes import Finished, run
from cannery.settings import EnvironmentSettings
from cannery.sources.source import Source

log = logging.getLogger(__name__)

_RECIPE = 2
"""Raised when the way in which an environment is made changes."""

_FETCHED = b"Failed to fetch"
"""What uv says when an index gives no answer, or none that helps: another Python would not either."""
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A folder of installed packages, and the interpreter for which they were chosen."""

    folder: Path
    python: Interpreter
    digest: str
    """Of the resolved lock with its hashes, the interpreter and the platform."""
    packages: dict[str, str]
    """Every package and its version."""
    assumed: tuple[str, ...] = ()
    """The libraries of the model of which nothing told the version: their newest."""


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    """What decides how an environment is resolved."""

    recipe: int
    python: str
    """Ours: of the others, the nearest is looked for from there."""
    wanted: int | None
    """Minor version of the Python that trained the model, where it is known."""
    only: bool
    """Whether no other Python will do."""
    platform: str
    requirements: tuple[str, ...]


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    """What a request came to."""

    digest: str
    python: Interpreter


def prepare(
    requirements: tuple[str, ...], *, python: str | None = None, only: bool = False
) -> Environment:
    """Return the environment that holds `requirements`: from the cache, or resolved and installed by uv.

    It is for the version of Python that is asked for (default: ours), or, unless `only` that will
    do, for the nearest that has wheels of them. A second call with equal requirements starts no
    program and asks no index. Raises IsolationError, naming the packages and versions that can't be
    had, and the Pythons for which they could; UnreachableError where the index does not answer.
    """
    request = _Request(
        recipe=_RECIPE,
        python=str(own()),
        wanted=minor_of(python),
        only=only,
        platform=sysconfig.get_platform(),
        requirements=requirements,
    )
    try:
        return _prepare(request, cache_folder("environments"))
    except OSError as error:
        raise IsolationError(
            f"can't keep environments in '{error.filename}': {error.strerror}",
            hint="name another folder for the cache: CANNERY_CACHE",
        ) from error


def environment_for(
    source: Source, audit: Audit, told: EnvironmentSettings | None = None
) -> Environment:
    """Return the environment for opening this model; see `prepare` and `requirements_of`."""
    told = told or EnvironmentSettings()
    wanted = requirements_of(source, audit, told.versions)
    return prepare(wanted, python=told.python or source.python, only=told.python is not None)


def _prepare(request: _Request, root: Path) -> Environment:
    memo = root / "requests" / hex_of(digest_bytes(canonical_json(request)))
    if (made := _known(root, memo, request)) is not None:
        return made
    with _locked(root / "lock"):
        if (made := _known(root, memo, request)) is not None:
            return made
        log.info("resolving an environment with %s", ", ".join(request.requirements))
        python, lock = _resolved(request)
        digest = digest_bytes(lock + canonical_json([_RECIPE, str(python), request.platform]))
        if not (root / hex_of(digest)).is_dir():
            _install(lock, root / hex_of(digest), python)
        known = _Known(digest=digest, python=python)
        with write_file(memo) as stream:
            stream.write(canonical_json(known))
        return _environment(root, known, request)


def _known(root: Path, memo: Path, request: _Request) -> Environment | None:
    try:
        known = msgspec.json.decode(memo.read_bytes(), type=_Known)
        if not os.access(known.python.path, os.X_OK):
            return None
        return _environment(root, known, request)
    except (OSError, msgspec.DecodeError):
        return None


def _environment(root: Path, known: _Known, request: _Request) -> Environment:
    folder = root / hex_of(known.digest)
    lock = (folder / "cannery.lock").read_text()
    return Environment(
        folder=folder,
        python=known.python,
        digest=known.digest,
        packages={match[1]: match[2] for match in _PINNED.finditer(lock)},
        assumed=assumed(request.requirements),
    )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock file at `path`: two builds at once make one environment after the other."""
    with path.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _resolved(request: _Request) -> tuple[Interpreter, bytes]:
    """Return the first Python, from the nearest, that is here and has all wheels, and what they are.

    Where none is here, uv may download one, if the user's settings of uv let it.
    """
    wanted = own().minor if request.wanted is None else request.wanted
    absent: list[tuple[int, bytes]] = []
    refusal: Finished | None = None
    for minor in [wanted] if request.only else nearest(wanted):
        python = find(minor)
        done = _compiled(request, minor, python)
        if _FETCHED in done.stderr:
            raise UnreachableError(
                f"the package index does not answer: {done.complaint}",
                hint="is its address right (pip's index-url and extra-index-url; `cannery doctor` shows "
                "them), and can this machine reach it?",
            )
        refusal = refusal or (None if done.ok else done)
        if done.ok and python is not None:
            return python, done.stdout
        if done.ok:
            absent.append((minor, done.stdout))
    for minor, lock in absent:
        if (python := fetch(minor)) is not None:
            return python, lock
    raise _unresolved(request, refusal, [minor for minor, _ in absent])


def _uv(*words: str | Path, stdin: bytes | None = None) -> Finished:
    env = (
        os.environ
        | index_environment()
        | uv_cache()
        | {"UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}
    )
    env.pop("VIRTUAL_ENV", None)
    # Wheels only: building a source distribution would run its code here, outside any sandbox.
    pip = ["pip", *words, "--only-binary", ":all:", "--no-progress"]
    return run([uv.find_uv_bin(), *pip], env=env, stdin=stdin)


def _compiled(request: _Request, minor: int, python: Interpreter | None) -> Finished:
    """Resolve for a Python, which needs not be here for that."""
    left = [word for name in UNUSED for word in ("--no-emit-package", name)]
    place = ["--python", (python or own()).path]
    place += [] if python is not None else ["--python-version", f"3.{minor}"]
    plain = ("--generate-hashes", "--no-header", "--no-annotate")
    return _uv(
        "compile", "-", *plain, *left, *place, stdin="\n".join(request.requirements).encode()
    )


def _unresolved(request: _Request, refusal: Finished | None, absent: list[int]) -> IsolationError:
    text = refusal.stderr.decode(errors="replace") if refusal else ""
    pins = [pin for pin in request.requirements if "==" in pin]
    named = ", ".join([p for p in pins if p in text] or pins or request.requirements)
    if absent:
        ours = f"Python 3.{absent[0]}"
        return IsolationError(
            f"{named} would need {ours}, which is not on this host (it has {own()})",
            hint=f"install it, with `uv python install 3.{absent[0]}` or by other means, and try again",
        )
    asked = f"Python 3.{request.wanted}" if request.only else f"{own()} or one from 3.{OLDEST} on"
    complaint = refusal.complaint if refusal else ""
    return IsolationError(
        f"no environment holds {named} on {asked}: {complaint}",
        hint="point pip (index-url, extra-index-url, find-links) at an index that has wheels of these "
        "versions, or say in cannery.toml which others will do: [environment] versions",
    )


def _install(lock: bytes, folder: Path, python: Interpreter) -> None:
    """Install the locked wheels into a temporary folder that then takes its name at once."""
    temporary = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        file = temporary / "cannery.lock"
        file.write_bytes(lock)
        target = temporary / "packages"
        done = _uv(
            *("install", "--target", target, "--requirements", file, "--no-deps"),
            *("--require-hashes", "--compile-bytecode", "--python", python.path),
        )
        if not done.ok:
            raise IsolationError(
                f"can't install the environment of the model: {done.complaint}",
                hint="check the package indexes that pip is configured for, and the free disk space",
            )
        temporary.chmod(0o755)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
