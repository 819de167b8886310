"""Which known vulnerabilities the packages of an image have, by advisories in OSV's format that lie on this machine.

https://ossf.github.io/osv-schema/
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from cannery.blobs import parse_json
from cannery.errors import SourceError
from cannery.images.bases.versions import version_key

LIMIT = 64 << 20
"""Bytes; a longer document is not read."""
MALWARE = "MAL-"
"""What begins so is no flaw of a package: the package itself is the attack."""

_RELEASES = {
    "bookworm": "Debian:12",
    "trixie": "Debian:13",
    "forky": "Debian:14",
    "jammy": "Ubuntu:22.04:LTS",
    "noble": "Ubuntu:24.04:LTS",
}
_REBUILT = re.compile(r"\+b\d+$")
"""At the end of a version that Debian built again from the same source."""
_HINT = (
    "give OSV's export of an ecosystem (a zip), one of its records (.json), or a folder of either"
)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One package of the image that an advisory speaks of."""

    advisory: str
    aliases: tuple[str, ...]
    package: str
    version: str
    fixed: str | None
    """The first version without it; None: there is none yet."""
    summary: str
    accepted: str | None = None
    """Why it is lived with, in the words of the settings."""

    @property
    def names(self) -> frozenset[str]:
        """All names of the vulnerability."""
        return frozenset((self.advisory, *self.aliases))

    @property
    def refused(self) -> bool:
        """Whether an image must not have it: something can be done about it, and nobody accepted it."""
        acts = self.fixed is not None or self.advisory.startswith(MALWARE)
        return acts and self.accepted is None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was found."""

    advisories: int
    """How many were read."""
    newest: str
    """When the newest of them was last changed."""
    packages: int
    """How many of the image were looked up."""
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advisories:
    """Where they lie, and what of them is lived with."""

    paths: tuple[Path, ...]
    accepted: Mapping[str, str] = field(default_factory=dict)
    """Name of an advisory, or an alias of it → the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A package in the words of an ecosystem."""

    ecosystem: str
    source: str
    """The name under which advisories speak of it: Debian's of the source package."""
    package: str
    version: str


class _Event(msgspec.Struct, frozen=True):
    introduced: str | None = None
    fixed: str | None = None
    last_affected: str | None = None


class _Range(msgspec.Struct, frozen=True):
    type_: str = msgspec.field(name="type")
    events: tuple[_Event, ...] = ()


class _Package(msgspec.Struct, frozen=True):
    ecosystem: str
    name: str


class _Affected(msgspec.Struct, frozen=True):
    package: _Package | None = None
    ranges: tuple[_Range, ...] = ()
    versions: tuple[str, ...] = ()
    ecosystem_specific: dict[str, Any] | None = None


class _Record(msgspec.Struct, frozen=True):
    id: str
    modified: str
    aliases: tuple[str, ...] | None = None
    upstream: tuple[str, ...] | None = None
    summary: str = ""
    withdrawn: str | None = None
    affected: tuple[_Affected, ...] | None = None


class _Answer(msgspec.Struct, frozen=True):
    """What OSV's service answers to a query."""

    vulns: tuple[_Record, ...]


_DOCUMENT = msgspec.json.Decoder(_Record | list[_Record])


def report_of(libraries: Sequence[Mapping[str, Any]], advisories: Advisories) -> Report:
    """Hold packages, as components of a bill of materials, against the advisories; one without a fix is found too.

    Raises SourceError for what can't be read, and where no advisory speaks of an ecosystem at all:
    then nothing could be said of its packages.
    """
    parts = [_part(component) for component in libraries]
    known: dict[tuple[str, str], list[_Part]] = {}
    for part in parts:
        known.setdefault((part.ecosystem, part.source), []).append(part)
    count, newest, seen = 0, "", set()
    found: list[Finding] = []
    for record in _records(advisories.paths):
        count, newest = count + 1, max(newest, record.modified)
        for entry in record.affected or ():
            if entry.package is None:
                continue
            seen.add(entry.package.ecosystem)
            if record.withdrawn is None:
                name = _source_name(entry.package)
                for part in known.get((entry.package.ecosystem, name), ()):
                    found += _findings(record, entry, part, advisories.accepted)
    missing = sorted({part.ecosystem for part in parts} - seen)
    if missing:
        raise SourceError(f"no advisory speaks of {missing[0]}", hint=_HINT)
    return Report(
        advisories=count, newest=newest, packages=len(parts), findings=tuple(_merged(found))
    )


def _part(component: Mapping[str, Any]) -> _Part:
    """Return a component as advisories speak of it."""
    name, version = component["name"], component["version"]
    kind, _, rest = component["purl"].removeprefix("pkg:").partition("/")
    if kind == "pypi":
        return _Part(ecosystem="PyPI", source=name, package=name, version=version)
    terms = parse_qs(rest.partition("?")[2])
    suite = terms.get("distro", [""])[0]
    source, _, told = terms.get("upstream", [name])[0].partition("@")
    distribution = rest.partition("/")[0].capitalize()
    return _Part(
        ecosystem=_RELEASES.get(suite, f"{distribution}:{suite}"),
        source=source,
        package=name,
        version=_REBUILT.sub("", told or version),
    )


def _source_name(package: _Package) -> str:
    return canonicalize_name(package.name) if package.ecosystem == "PyPI" else package.name


def _records(paths: Sequence[Path]) -> Iterator[_Record]:
    for path in paths:
        files = [path]
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.suffix in (".json", ".zip"))
        if not files:
            raise SourceError(f"'{path}' holds no advisories", hint=_HINT)
        for file in files:
            try:
                if zipfile.is_zipfile(file):
                    yield from _packed(file)
                else:
                    with file.open("rb") as stream:
                        yield from _decoded(stream.read(LIMIT + 1), str(file))
            except OSError as error:
                raise SourceError(f"can't read '{file}': {error.strerror or error}") from error


def _packed(path: Path) -> Iterator[_Record]:
    """Yield the records in a zip of them."""
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.filename.endswith(".json"):
                    with archive.open(member) as stream:
                        yield from _decoded(stream.read(LIMIT + 1), f"{path}:{member.filename}")
    except (zipfile.BadZipFile, RuntimeError, EOFError) as error:
        raise SourceError(f"'{path}' is a damaged zip: {error}") from error


def _decoded(data: bytes, place: str) -> Sequence[_Record]:
    if len(data) > LIMIT:
        raise SourceError(f"'{place}' has more than {LIMIT} bytes: too long for advisories")
    try:
        try:
            document = _DOCUMENT.decode(data)
        except msgspec.ValidationError:
            if b'"vulns"' not in data:
                raise
            return parse_json(data, _Answer).vulns
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(
            f"'{place}' is no advisory in OSV's format: {error}", hint=_HINT
        ) from error
    return document if isinstance(document, list) else (document,)


def _findings(
    record: _Record, entry: _Affected, part: _Part, accepted: Mapping[str, str]
) -> Iterator[Finding]:
    """Yield a finding where the version of a package is among the affected ones."""
    if (entry.ecosystem_specific or {}).get("urgency") == "unimportant":
        return  # Debian's word for what is no matter of security in how it builds the package
    hit, fixed = _affects(entry, part)
    if not hit:
        return
    aliases = tuple(sorted({*(record.aliases or ()), *(record.upstream or ())}))
    reasons = (accepted[name] for name in (record.id, *aliases) if name in accepted)
    yield Finding(
        advisory=record.id,
        aliases=aliases,
        package=part.package,
        version=part.version,
        fixed=fixed,
        summary=record.summary[:200],
        accepted=next(reasons, None),
    )


def _affects(entry: _Affected, part: _Part) -> tuple[bool, str | None]:
    """Return whether a version is affected, and the first later one that is not.

    A version that can't be compared counts as affected: somebody should look.
    """
    order: Callable[[str], Any] = Version if part.ecosystem == "PyPI" else version_key
    hit, fixed = part.version in entry.versions, None
    for each in entry.ranges:
        if each.type_ not in ("ECOSYSTEM", "SEMVER"):
            continue
        try:
            within, after = _within(each.events, part.version, order)
        except InvalidVersion:
            within, after = True, None
        hit, fixed = hit or within, after if within else fixed
    return hit, fixed


def _within(
    events: tuple[_Event, ...], version: str, order: Callable[[str], Any]
) -> tuple[bool, str | None]:
    own = order(version)
    starts = [e.introduced for e in events if e.introduced is not None]
    ends = [e.fixed for e in events if e.fixed is not None]
    lasts = [e.last_affected for e in events if e.last_affected is not None]
    began = max((order(v) for v in starts if order(v) <= own), default=None)
    if began is None:
        return False, None
    over = any(began <= order(v) <= own for v in ends)
    over = over or any(began <= order(v) < own for v in lasts)
    later = sorted((v for v in ends if order(v) > own), key=order)
    return not over, later[0] if later else None


def _merged(found: Sequence[Finding]) -> Iterator[Finding]:
    """Yield each vulnerability of a package once, though several databases speak of it; with a fix, if one knows it."""
    kept: list[Finding] = []
    for one in sorted(found, key=lambda f: (f.package, f.fixed is None, f.advisory)):
        same = [f for f in kept if f.package == one.package and f.names & one.names]
        if not same:
            kept.append(one)
    return iter(kept)
