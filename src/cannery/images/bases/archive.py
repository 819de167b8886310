"""Find packages in the Debian archive: signature → Release → Packages → the hash of each package."""

from __future__ import annotations

import email.utils
import logging
import lzma
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pysequoia

from cannery.blobs import digest_bytes
from cannery.errors import ImageError, UnreachableError
from cannery.images.bases.apt import Mirrors, parse_stanza
from cannery.images.bases.versions import version_key
from cannery.images.downloads import Downloads, NotFoundError
from cannery.images.packages import DebianPackage
from cannery.images.store import Store

_log = logging.getLogger(__name__)

_RELEASE_LIMIT = 8 << 20
_INDEX_LIMIT = 512 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A verified Release file: what a suite holds, by hash."""

    suite: str
    mirror: str
    security: bool
    date: datetime
    valid_until: datetime | None
    hashes: dict[str, tuple[str, int]]
    """Path below the suite → SHA-256 (hex) and size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The packages asked for, the date of the newest suite they came from, and until when that may be believed."""

    packages: tuple[DebianPackage, ...]
    date: datetime
    valid_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """The archive as the user's mirrors serve it."""

    mirrors: Mirrors
    store: Store
    downloads: Downloads
    now: datetime
    """A Release whose Valid-Until is before this is refused."""

    def select(self, names: Iterable[str], suite: str, architecture: str) -> Selection:
        """Return the newest version of each name in the release `suite`, its updates and its security archive."""
        wanted = frozenset(names)
        best: dict[str, tuple[DebianPackage, Release]] = {}
        releases = list(self._releases(suite))
        for release in releases:
            for package in self._packages(release, wanted, architecture):
                known = best.get(package.name)
                if known is None or version_key(package.version) > version_key(known[0].version):
                    best[package.name] = (package, release)
        missing = sorted(wanted - set(best))
        if missing:
            raise ImageError(f"the mirror has no '{missing[0]}' for {suite} on {architecture}")
        limits = [release.valid_until for release in releases if release.valid_until]
        return Selection(
            packages=tuple(best[name][0] for name in sorted(best)),
            date=max(release.date for _, release in best.values()),
            valid_until=min(limits) if limits else None,
        )

    def fetch(self, package: DebianPackage) -> None:
        """Bring a package into the store, from the first mirror that has those very bytes."""
        digest = f"sha256:{package.sha256}"
        if self.store.find(digest) is not None:
            return
        trouble: Exception | None = None
        for mirror in self.mirrors.of(security=package.security):
            url = f"{mirror}/{package.path}"
            try:
                data = self.downloads.get(url, limit=package.size)
            except (NotFoundError, UnreachableError) as error:
                trouble = error
                continue
            if digest_bytes(data) == digest:
                self.store.add(data)
                return
            trouble = ImageError(
                f"'{url}' has digest {digest_bytes(data)}, but the lock says {digest}"
            )
        if isinstance(trouble, UnreachableError):
            raise trouble
        raise ImageError(
            f"no mirror has '{package.name}' {package.version}: {trouble or 'none is configured'}",
            hint="the archive may have moved on: resolve the lock anew",
        ) from trouble

    def _releases(self, suite: str) -> Iterator[Release]:
        yield self._release(suite, security=False)
        yield self._release(f"{suite}-updates", security=False)
        if self.mirrors.security:
            yield self._release(f"{suite}-security", security=True)
        else:
            _log.warning("no mirror of Debian's security archive is configured")

    def _release(self, suite: str, *, security: bool) -> Release:
        trouble: UnreachableError | NotFoundError | None = None
        for mirror in self.mirrors.of(security=security):
            url = f"{mirror}/dists/{suite}/InRelease"
            try:
                signed = self.downloads.get(url, limit=_RELEASE_LIMIT)
            except (NotFoundError, UnreachableError) as error:
                trouble = error
                continue
            text = verify_signature(signed, url)
            release = read_release(text, suite, mirror, security=security, now=self.now)
            newest = self._newest(release)
            if release.date >= newest:
                return release
            trouble = UnreachableError(
                f"'{url}' is of {release.date:%Y-%m-%d %H:%M}, but was of {newest:%Y-%m-%d %H:%M} before",
                hint="the mirror was rolled back, perhaps by somebody on the way to it: to packages with known holes",
            )
        assert trouble is not None
        raise trouble

    def _newest(self, release: Release) -> datetime:
        """Return the date of the newest Release that this mirror ever showed of that suite, this one among them."""
        key = {"newest release of": release.suite, "at": release.mirror}
        known = datetime.fromtimestamp(self.store.recall(key, float) or 0.0, UTC)
        if release.date > known:
            self.store.remember(key, release.date.timestamp())
        return max(known, release.date)

    def _packages(
        self, release: Release, wanted: frozenset[str], architecture: str
    ) -> Iterator[DebianPackage]:
        path = f"main/binary-{architecture}/Packages.xz"
        if path not in release.hashes:
            raise ImageError(f"'{release.suite}' has no packages for '{architecture}'")
        text = lzma.LZMADecompressor().decompress(self._index(release, path), _INDEX_LIMIT)
        for stanza in text.split(b"\n\n"):
            name = stanza.partition(b"\n")[0].removeprefix(b"Package: ").decode("ascii", "replace")
            if name in wanted:
                yield _package(parse_stanza(stanza.decode()), security=release.security)

    def _index(self, release: Release, path: str) -> bytes:
        """Return a file that the Release names, by its hash (so that an update under way does no harm)."""
        sha256, size = release.hashes[path]
        kept = self.store.read(f"sha256:{sha256}")
        if kept is not None:
            return kept
        root = f"{release.mirror}/dists/{release.suite}"
        try:
            folder = path.rpartition("/")[0]
            data = self.downloads.get(f"{root}/{folder}/by-hash/SHA256/{sha256}", limit=size)
        except NotFoundError:
            data = self.downloads.get(f"{root}/{path}", limit=size)
        if digest_bytes(data) != f"sha256:{sha256}":
            raise ImageError(
                f"'{root}/{path}' has digest {digest_bytes(data)}, but Release says sha256:{sha256}"
            )
        self.store.add(data)
        return data


def _package(fields: dict[str, str], *, security: bool) -> DebianPackage:
    try:
        return DebianPackage(
            name=fields["Package"],
            version=fields["Version"],
            architecture=fields["Architecture"],
            path=fields["Filename"],
            sha256=fields["SHA256"],
            size=int(fields["Size"]),
            security=security,
        )
    except (KeyError, ValueError) as error:
        raise ImageError(f"the package list is damaged at '{fields.get('Package')}'") from error


@cache
def _certificates() -> list[pysequoia.Cert]:
    """Return the keys of Debian's archive that travel with Cannery."""
    files = sorted((Path(__file__).parent / "keys").glob("*.gpg"))
    return [cert for file in files for cert in pysequoia.Cert.split_bytes(file.read_bytes())]


def verify_signature(signed: bytes, url: str) -> str:
    """Return the signed text of an InRelease file; raises ImageError unless a key of Debian's archive signed it."""
    try:
        verified = pysequoia.verify(bytes=signed, store=lambda _: _certificates())
        return bytes(verified.bytes or b"").decode()
    except (RuntimeError, UnicodeDecodeError) as error:
        first = str(error).partition("\n")[0]
        raise ImageError(
            f"'{url}' is not signed by Debian's archive keys: {first}",
            hint="the mirror, or something on the way to it, serves files that are not Debian's",
        ) from error


def read_release(text: str, suite: str, mirror: str, *, security: bool, now: datetime) -> Release:
    """Read a verified Release file; raises ImageError when it is of another suite or no longer valid."""
    fields = parse_stanza(text)
    if suite not in (fields.get("Codename"), fields.get("Suite")):
        raise ImageError(f"'{mirror}' serves '{fields.get('Codename')}' as '{suite}'")
    until = _date(fields["Valid-Until"]) if "Valid-Until" in fields else None
    if until is not None and until < now:
        raise ImageError(
            f"the Release file of '{suite}' at '{mirror}' was valid until {until:%Y-%m-%d %H:%M} UTC",
            hint="the mirror is out of date (or this machine's clock is wrong)",
        )
    hashes = {}
    for line in fields.get("SHA256", "").splitlines():
        words = line.split()
        if len(words) == 3 and words[1].isdigit():
            hashes[words[2]] = (words[0], int(words[1]))
    return Release(
        suite=suite,
        mirror=mirror,
        security=security,
        date=_date(fields.get("Date", "")),
        valid_until=until,
        hashes=hashes,
    )


def _date(text: str) -> datetime:
    try:
        return email.utils.parsedate_to_datetime(text).replace(tzinfo=UTC)
    except ValueError as error:
        raise ImageError(f"'{text}' in a Release file is not a date") from error
