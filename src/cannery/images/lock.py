"""`cannery.lock`: every package of an image by digest, so that the same lock gives the same image anywhere."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from cannery.blobs import canonical_json, digest_bytes, parse_json, pretty_json, write_file
from cannery.cans.manifest import Runtime
from cannery.errors import ImageError, UnreachableError
from cannery.images.bases.apt import find_mirrors
from cannery.images.bases.foreign import fetch_base
from cannery.images.packages import DebianPackage, Platform, Wheel
from cannery.images.recipe import (
    BASE_PACKAGES,
    EXTRAS,
    PYTHON,
    PYTHON_PACKAGES,
    RECIPE,
    SUITE,
    Extra,
    linked_by,
    recipe_digest,
    requirements_of,
)
from cannery.images.resolutions import Target, fetch_wheels, resolve_wheels
from cannery.images.store import Store
from cannery.images.wheels import check_libraries
from cannery.oci.descriptors import Architecture
from cannery.parallel import each
from cannery.progress import Event, Progress, quiet, station

if TYPE_CHECKING:
    from cannery.images.bases.archive import Selection

_log = logging.getLogger(__name__)

DEBIAN = "debian"
_TRUST = timedelta(days=7)
"""How long an answer is remembered at most."""
_TAGS = timedelta(hours=1)
"""How long a tag of a registry is believed to name the same image."""


class Lock(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an image is made of, without a word on where it is fetched from."""

    schema_version: Literal[1] = 1
    recipe: int = RECIPE
    created: str
    """`2026-11-21T02:10:46Z`: the date of the archive's newest Release in it, which becomes the image's date."""
    base: str = DEBIAN
    """`debian`, or the image of a registry as the user named it."""
    suite: str = SUITE
    python: str = PYTHON
    runtime: Runtime
    requirements: tuple[str, ...] = ()
    """What was asked for beyond the runtime's own."""
    extras: tuple[Extra, ...] = ()
    platforms: dict[Architecture, Platform]

    @property
    def digest(self) -> str:
        """SHA-256 of the lock in canonical JSON."""
        return digest_bytes(canonical_json(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRequest:
    """What to resolve."""

    base: str = DEBIAN
    """`debian`, or the reference of an image with Python."""
    runtime: Runtime = "onnx"
    requirements: tuple[str, ...] = ()
    """`name==version` beyond the runtime's own: a can's `requirements`."""
    extras: tuple[Extra, ...] = ()
    """What the service is to have beyond what every image has."""
    architectures: tuple[Architecture, ...] = ()
    """Empty: this machine's."""
    mirror: str | None = None
    """Address of a Debian mirror, and after a blank of the security archive; None: as apt is configured."""
    refresh: bool = False
    """Ask the archive and the index again, even where an answer that still holds is remembered."""


def host_architecture() -> Architecture:
    """Return the architecture of this machine; raises ImageError where it is none that images are made for."""
    names: dict[str, Architecture] = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
    machine = platform.machine()
    if machine not in names:
        raise ImageError(
            f"no images are made for '{machine}'", hint="name --platform linux/amd64 or linux/arm64"
        )
    return names[machine]


def resolve(
    request: LockRequest,
    store: Store | None = None,
    *,
    now: datetime | None = None,
    progress: Progress = quiet,
) -> Lock:
    """Return the newest packages that fit; an answer is remembered for as long as the archive's Release holds.

    Where the archive doesn't answer, an older remembered lock is taken, with a warning.
    Raises ImageError, or UnreachableError where nothing is remembered.
    """
    store = store or Store()
    now = now or datetime.now(UTC)
    key = _key(request)
    kept = store.recall(key, _Kept)
    if kept is not None and not request.refresh and now < kept.until:
        return kept.lock
    try:
        with station("lock", progress) as work:
            fresh = _resolve(request, store, now, work.note)
            work.result(_summary(fresh.lock))
    except UnreachableError:
        if kept is None or request.refresh:
            raise
        _log.warning("the mirror does not answer: using the packages resolved before")
        return kept.lock
    store.remember(key, fresh)
    return fresh.lock


def read_lock(path: Path) -> Lock:
    """Read `cannery.lock`; raises ImageError where it is missing, damaged or of another recipe."""
    try:
        lock = parse_json(path.read_bytes(), Lock)
    except OSError as error:
        raise ImageError(f"can't read '{path}': {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ImageError(f"'{path}' is not a lock: {error}") from error
    if lock.recipe != RECIPE:
        raise ImageError(
            f"'{path}' was made for recipe {lock.recipe}; this is recipe {RECIPE}",
            hint="resolve it anew with `cannery lock`",
        )
    return lock


def write_lock(lock: Lock, path: Path) -> None:
    """Write `cannery.lock` (sorted, indented JSON, made for diffs)."""
    with write_file(path) as stream:
        stream.write(pretty_json(lock))


def covers(lock: Lock, request: LockRequest) -> str | None:
    """Return why `lock` can't serve `request`, or None when it can."""
    if lock.base != request.base:
        return f"it stands on {lock.base}, not on {request.base}"
    if lock.runtime != request.runtime:
        return f"it is for runtime {lock.runtime}, not {request.runtime}"
    if set(lock.requirements) != set(request.requirements):
        return "the model needs other packages"
    if set(lock.extras) != set(request.extras):
        return f"its extras are {_listed(lock.extras)}, not {_listed(request.extras)}"
    for architecture in request.architectures or (host_architecture(),):
        if architecture not in lock.platforms:
            return f"it has no packages for {architecture}"
    return None


def kept_lock(request: LockRequest, path: Path, store: Store, progress: Progress) -> Lock:
    """Return the lock at `path` where it serves `request`; else resolve one and write it there.

    Raises ImageError, UnreachableError.
    """
    if path.exists():
        lock = read_lock(path)
        reason = covers(lock, request)
        if reason is None:
            return lock
        progress(Event(station="lock", state="note", text=f"resolving '{path}' anew: {reason}"))
    lock = resolve(request, store, progress=progress)
    write_lock(lock, path)
    return lock


def _listed(extras: Iterable[str]) -> str:
    return ", ".join(sorted(extras)) or "none"


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    lock: Lock
    until: datetime


def _key(request: LockRequest) -> dict[str, object]:
    return {
        "lock": recipe_digest(),
        "base": request.base,
        "runtime": request.runtime,
        "requirements": sorted(_requirements(request)),
        "architectures": sorted(request.architectures or (host_architecture(),)),
        "mirror": request.mirror,
    }


def _requirements(request: LockRequest) -> tuple[str, ...]:
    extras = (requirement for name in set(request.extras) for requirement in EXTRAS[name])
    return (*requirements_of(request.runtime), *request.requirements, *extras)


def _resolve(
    request: LockRequest, store: Store, now: datetime, note: Callable[[str], None]
) -> _Kept:
    platforms: dict[Architecture, Platform] = {}
    dates, limits = [], [now + _TRUST]
    for architecture in request.architectures or (host_architecture(),):
        if request.base == DEBIAN:
            chosen = _select_debian(request, architecture, store, now, note)
            below = Platform(debian=chosen.packages, wheels=())
            dates.append(f"{chosen.date:%Y-%m-%dT%H:%M:%SZ}")
            limits.append(chosen.valid_until or now + _TRUST)
        else:
            from cannery.images.bases.foreign import resolve_base

            image = resolve_base(request.base, architecture, store, note)
            below = Platform(image=image, wheels=())
            dates.append(image.created)
            limits.append(now + _TAGS)
        target = target_of(below, architecture)
        note(f"wheels for {target}")
        alone = request.runtime == "onnx"
        wheels = resolve_wheels(_requirements(request), target, store, alone=alone)
        if below.image is not None:
            check_libraries(wheels, below.image, store)
        platforms[architecture] = msgspec.structs.replace(below, wheels=wheels)
    lock = Lock(
        base=request.base,
        created=max(dates),
        python=_python(platforms, request.base),
        runtime=request.runtime,
        requirements=tuple(sorted(request.requirements)),
        extras=tuple(sorted(set(request.extras))),
        platforms=platforms,
    )
    return _Kept(lock=lock, until=min(limits))


def _select_debian(
    request: LockRequest,
    architecture: Architecture,
    store: Store,
    now: datetime,
    note: Callable[[str], None],
) -> Selection:
    from cannery.images.bases.archive import Archive  # an HTTP client: a lock that holds needs none
    from cannery.images.downloads import Downloads, client_of

    note(f"Debian {SUITE} for {architecture}")
    mirrors = find_mirrors(request.mirror)
    with Downloads(client=client_of(mirrors.proxies)) as downloads:
        archive = Archive(mirrors=mirrors, store=store, downloads=downloads, now=now)
        wanted = (*BASE_PACKAGES, *PYTHON_PACKAGES, *linked_by(request.requirements))
        return archive.select(wanted, SUITE, architecture)


def target_of(platform_: Platform, architecture: Architecture) -> Target:
    """Return what the wheels of a platform are for."""
    image = platform_.image
    if image is None:
        return Target(architecture=architecture)
    return Target(architecture=architecture, python=image.version, glibc=image.glibc)


def _python(platforms: Mapping[Architecture, Platform], base: str) -> str:
    found = {p.image.version if p.image else PYTHON for p in platforms.values()}
    if len(found) > 1:
        raise ImageError(f"the base '{base}' has another Python for each platform: {sorted(found)}")
    return found.pop()


def _summary(lock: Lock) -> str:
    platform_ = next(iter(lock.platforms.values()))
    below = lock.base if platform_.image else f"{len(platform_.debian)} Debian packages"
    return f"{below}, {len(platform_.wheels)} wheels"


def fetch(
    lock: Lock,
    architecture: Architecture,
    store: Store,
    *,
    mirror: str | None = None,
    wheels: bool = True,
    note: Callable[[str], None] = lambda _: None,
) -> Platform:
    """Bring everything that `lock` names for `architecture` into the store, each checked by its hash.

    `wheels`: false leaves them out, as for a platform of which only Python is needed.
    """
    if architecture not in lock.platforms:
        raise ImageError(
            f"the lock has no packages for '{architecture}'",
            hint=f"resolve it for that platform too: it has {', '.join(lock.platforms)}",
        )
    platform_ = lock.platforms[architecture]
    lacking = [p for p in platform_.debian if store.find(f"sha256:{p.sha256}") is None]
    if lacking:
        _fetch_debian(lacking, store, mirror)
    if platform_.image is not None:
        fetch_base(platform_.image, store, note)
    if wheels:
        fetch_wheels(platform_.wheels, target_of(platform_, architecture), store)
    return platform_


def _fetch_debian(packages: list[DebianPackage], store: Store, mirror: str | None) -> None:
    from cannery.images.bases.archive import Archive
    from cannery.images.downloads import Downloads, client_of

    mirrors, now = find_mirrors(mirror), datetime.now(UTC)
    with Downloads(client=client_of(mirrors.proxies)) as downloads:
        archive = Archive(mirrors=mirrors, store=store, downloads=downloads, now=now)
        for _ in each(archive.fetch, packages, at_once=4):
            pass


__all__ = [
    "DebianPackage",
    "Lock",
    "LockRequest",
    "Platform",
    "Wheel",
    "covers",
    "fetch",
    "host_architecture",
    "kept_lock",
    "read_lock",
    "resolve",
    "write_lock",
]
