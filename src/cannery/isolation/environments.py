"""An environment of its own for the worker: the library versions with which the model was trained."""

from __future__ import annotations

import fcntl
import logging
import os
import platform
import re
import shutil
import sys
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
from cannery.caches import cache_folder
from cannery.errors import IsolationError
from cannery.indexes import UNUSED, index_environment
from cannery.processes import Finished, run
from cannery.serving.boosters import LIBRARIES
from cannery.sources.source import Source

log = logging.getLogger(__name__)

_RECIPE = 1
"""Raised when the way in which an environment is made changes."""

_OWN = ("joblib", "msgspec", "numpy", "onnx", "pandas", "scikit-learn", "skops")
"""What opening and converting need, whatever the model says."""

_KEPT = frozenset({*_OWN, "cloudpickle", "scipy", "threadpoolctl"} - {"onnx"})
"""The recorded names whose versions matter to opening and converting.

So does a package that has the name of a module which the model names: one that the user trusts."""

_XGBOOST = re.compile(rb"L\0{7}\x07version\[#L\0{7}\x03i(.)i(.)i(.)", re.DOTALL)
"""The version in a booster's UBJSON, as its files and pickles hold it: three small integers."""
_WRITTEN = {
    "catboost": re.compile(rb"Branch: tags/v([0-9]+(?:\.[0-9]+)+)\n"),
    "xgboost": re.compile(rb'"version": ?\[([0-9]+, ?[0-9]+, ?[0-9]+)\]'),
}
"""The version in a booster's file, where it is written as text."""
_LIGHT = (2, 1, 1)
"""The first version of XGBoost that comes without code for graphics cards too, as `xgboost-cpu`."""

_VERSION = re.compile(r"[0-9][0-9A-Za-z.!+_-]*")
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A folder of installed packages, and the interpreter for which they were chosen."""

    folder: Path
    python: str
    """Path of the interpreter, outside any virtual environment."""
    digest: str
    """Of the resolved lock with its hashes, the interpreter and the platform."""
    packages: dict[str, str]
    """Every package and its version."""


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    """What decides how an environment is resolved."""

    recipe: int
    python: str
    platform: str
    requirements: tuple[str, ...]


def _pins(source: Source, audit: Audit) -> dict[str, str]:
    """Return name → exact version as recorded beside the model, and, ranking higher, inside it."""
    pins: dict[str, str] = {}
    kept = _KEPT | {r.name.partition(".")[0].replace("_", "-").lower() for r in audit.names}
    kept |= {package for name in _named(audit) for package in (name, f"{name}-cpu")}
    recorded = [line.partition("==")[::2] for line in source.requirements]
    for name, version in [*recorded, *audit.versions.items()]:
        name = re.sub(r"[-_.]+", "-", name.strip()).lower()
        version = version.partition(";")[0].strip()
        if name in kept and _VERSION.fullmatch(version):
            pins[name] = version
    return pins


def requirements_of(source: Source, audit: Audit) -> tuple[str, ...]:
    """Return the requirements of a worker for this model, sorted: exact where a version is known."""
    pins = _pins(source, audit)
    wanted = dict.fromkeys(_OWN, "") | {name: f"=={version}" for name, version in pins.items()}
    for name in _named(audit):
        if name not in pins and f"{name}-cpu" not in pins:
            version = _written(source.blob.path, name)
            wanted[name] = f"=={version}" if version else ""
    if "xgboost" in wanted and _is_light(wanted["xgboost"].removeprefix("==")):
        wanted["xgboost-cpu"] = wanted.pop("xgboost")
    if "numpy" not in pins and any(r.name.startswith("numpy._core") for r in audit.names):
        wanted["numpy"] = ">=2"
    if source.format == "joblib" and _starts_with(source.blob.path, b"\x04\x22\x4d\x18"):
        wanted["lz4"] = ""
    return tuple(sorted(name + version for name, version in wanted.items()))


def _named(audit: Audit) -> list[str]:
    """Return the boosters' libraries that opening the model needs."""
    return [
        b
        for b in LIBRARIES
        if audit.format == b or any(r.name.startswith(f"{b}.") for r in audit.names)
    ]


def _written(path: Path, library: str) -> str:
    """Return the version of the library that wrote a booster; empty where it doesn't say."""
    data = path.read_bytes()
    if library == "xgboost" and (found := _XGBOOST.search(data)):
        return ".".join(str(part[0]) for part in found.groups())
    known = _WRITTEN[library].search(data) if library in _WRITTEN else None
    return re.sub(r", ?", ".", known[1].decode()) if known else ""


def _is_light(version: str) -> bool:
    """Whether XGBoost has a package without code for graphics cards: the same library, and a tenth of it."""
    numbers = [int(n) for n in re.findall(r"\d+", version)[:3]]
    return not version or tuple(numbers) >= _LIGHT


def _starts_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(magic)) == magic


def base_python() -> str:
    """Return the interpreter beneath this one, outside any virtual environment."""
    return str(Path(getattr(sys, "_base_executable", None) or sys.executable).resolve())


def _request(requirements: tuple[str, ...]) -> _Request:
    return _Request(
        recipe=_RECIPE,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        platform=sysconfig.get_platform(),
        requirements=requirements,
    )


def prepare(requirements: tuple[str, ...]) -> Environment:
    """Return the environment that holds `requirements`: from the cache, or resolved and installed by uv.

    A second call with equal requirements starts no program and asks no index. Raises
    IsolationError, naming the package and version, when they can't be resolved together.
    """
    try:
        return _prepare(_request(requirements), cache_folder("environments"))
    except OSError as error:
        raise IsolationError(
            f"can't keep environments in '{error.filename}': {error.strerror}",
            hint="name another folder for the cache: CANNERY_CACHE",
        ) from error


def _prepare(request: _Request, root: Path) -> Environment:
    memo = root / "requests" / hex_of(digest_bytes(canonical_json(request)))
    known = _known(root, memo)
    if known is not None:
        return known
    with _locked(root / "lock"):
        known = _known(root, memo)
        if known is not None:
            return known
        log.info("resolving an environment with %s", ", ".join(request.requirements))
        lock = _resolve(request)
        digest = digest_bytes(lock + canonical_json([_RECIPE, request.python, request.platform]))
        if not (root / hex_of(digest)).is_dir():
            _install(lock, root / hex_of(digest))
        with write_file(memo) as stream:
            stream.write(digest.encode())
        return _environment(root / hex_of(digest), digest)


def environment_for(source: Source, audit: Audit) -> Environment:
    """Return the environment for opening this model; see `prepare`."""
    return prepare(requirements_of(source, audit))


def _known(root: Path, memo: Path) -> Environment | None:
    try:
        digest = memo.read_text()
        return _environment(root / hex_of(digest), digest)
    except OSError:
        return None


def _environment(folder: Path, digest: str) -> Environment:
    lock = (folder / "cannery.lock").read_text()
    return Environment(
        folder=folder,
        python=base_python(),
        digest=digest,
        packages={match[1]: match[2] for match in _PINNED.finditer(lock)},
    )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock file at `path`: two builds at once make one environment after the other."""
    with path.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _uv(*words: str | Path, stdin: bytes | None = None) -> Finished:
    env = os.environ | index_environment() | {"UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}
    env.pop("VIRTUAL_ENV", None)
    # Wheels only: building a source distribution would run its code here, outside any sandbox.
    pip = ["pip", *words, "--python", base_python(), "--only-binary", ":all:", "--no-progress"]
    return run([uv.find_uv_bin(), *pip], env=env, stdin=stdin)


def _resolve(request: _Request) -> bytes:
    wanted = "\n".join(request.requirements).encode()
    left = [word for name in UNUSED for word in ("--no-emit-package", name)]
    plain = ("--generate-hashes", "--no-header", "--no-annotate")
    done = _uv("compile", "-", *plain, *left, stdin=wanted)
    if not done.ok:
        raise _unresolved(request, done)
    return done.stdout


def _unresolved(request: _Request, done: Finished) -> IsolationError:
    text = done.stderr.decode(errors="replace")
    pins = [pin for pin in request.requirements if "==" in pin]
    named = [pin for pin in pins if pin in text] or pins or list(request.requirements)
    return IsolationError(
        f"no environment holds {', '.join(named)} on {request.python}: {done.complaint}",
        hint="run cannery with the Python that trained the model, or point pip (index-url, "
        "extra-index-url, find-links) at an index that has these versions",
    )


def _install(lock: bytes, folder: Path) -> None:
    """Install the locked wheels into a temporary folder that then takes its name at once."""
    temporary = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        file = temporary / "cannery.lock"
        file.write_bytes(lock)
        target = temporary / "packages"
        done = _uv(
            *("install", "--target", target, "--requirements", file, "--no-deps"),
            *("--require-hashes", "--compile-bytecode"),
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
