"""Where the user's Debian mirrors are: from a setting, the environment, or the configuration of apt."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cannery.errors import ImageError
from cannery.processes import run

_RELEASES = frozenset(
    [
        "stable",
        "oldstable",
        "testing",
        "unstable",
        "sid",
        "buster",
        "bullseye",
        "bookworm",
        "trixie",
        "forky",
        "duke",
    ]
)
_POCKETS = ("", "-updates", "-security", "-backports", "-proposed-updates")
_PROXY = re.compile(r'Acquire::(https?)::Proxy(?:::([^\s"]+))? "([^"]*)";', re.IGNORECASE)
_HINT = (
    "name one as `mirror` under [image] in cannery.toml, or in CANNERY_DEBIAN_MIRROR: "
    "the address of the archive's root, and after a blank that of the security archive"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrors:
    """Addresses without a final slash."""

    main: tuple[str, ...]
    security: tuple[str, ...]
    proxies: Mapping[str, str | None] = field(default_factory=dict)
    """Where apt asks through a proxy: `http://` or `http://host` → its address; None: directly."""

    def of(self, *, security: bool) -> tuple[str, ...]:
        """Return the mirrors of the security archive, or of the archive proper."""
        return self.security if security else self.main


def find_mirrors(
    setting: str | None = None,
    environ: Mapping[str, str] = os.environ,
    apt: Path = Path("/etc/apt"),
    dump: Callable[[], str] = lambda: _dump(),
) -> Mirrors:
    """Return the mirrors: `setting`, else CANNERY_DEBIAN_MIRROR, else apt's; raises ImageError where none is named."""
    given = setting or environ.get("CANNERY_DEBIAN_MIRROR")
    if given:
        return _parse_setting(given)
    main: dict[str, None] = {}
    security: dict[str, None] = {}
    for address, suite in _sources(apt):
        pocket = _pocket(suite)
        if pocket is None or not address.startswith(("http://", "https://")):
            continue
        (security if pocket == "-security" else main)[address.rstrip("/")] = None
    if not main:
        raise ImageError("no Debian mirror is configured", hint=_HINT)
    return Mirrors(main=tuple(main), security=tuple(security), proxies=proxies_of(dump()))


def proxies_of(dump: str) -> dict[str, str | None]:
    """Return the proxies in what `apt-config dump` prints; a host of its own wins over all others."""
    found: dict[str, str | None] = {}
    for line in dump.splitlines():
        told = _PROXY.fullmatch(line.strip())
        if told is not None and told[3]:
            scheme, host, proxy = told[1].lower(), told[2] or "", told[3]
            found[f"{scheme}://{host}"] = None if proxy == "DIRECT" else proxy
    return found


def _dump() -> str:
    if shutil.which("apt-config") is None:
        return ""
    return run(["apt-config", "dump", "Acquire"], timeout=10).stdout.decode(errors="replace")


def _parse_setting(text: str) -> Mirrors:
    words = [word.rstrip("/") for word in text.replace(",", " ").split()]
    if not 1 <= len(words) <= 2 or not all(w.startswith(("http://", "https://")) for w in words):
        raise ImageError(f"'{text}' does not name a Debian mirror", hint=_HINT)
    if len(words) == 1 and words[0].endswith("/debian"):
        words.append(words[0] + "-security")
    return Mirrors(main=(words[0],), security=tuple(words[1:]))


def _pocket(suite: str) -> str | None:
    """Return which part of a Debian release `suite` names; None where it isn't Debian's."""
    suite = suite.replace("/updates", "-security")
    release, dash, rest = suite.partition("-")
    pocket = dash + rest
    return pocket if release in _RELEASES and pocket in _POCKETS else None


def _sources(apt: Path) -> Iterator[tuple[str, str]]:
    """Yield address and suite of every binary source that apt knows."""
    lists = [apt / "sources.list", *sorted(apt.glob("sources.list.d/*.list"))]
    for path in lists:
        for line in _text(path).splitlines():
            yield from _one_line(line)
    for path in sorted(apt.glob("sources.list.d/*.sources")):
        for stanza in _text(path).split("\n\n"):
            yield from _deb822(stanza)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _one_line(line: str) -> Iterator[tuple[str, str]]:
    words = line.partition("#")[0].split()
    if not words or words[0] != "deb":
        return
    rest = words[1:]
    if rest and rest[0].startswith("["):
        while rest and not rest[0].endswith("]"):
            rest.pop(0)
        rest = rest[1:]
    if len(rest) >= 2:
        yield rest[0], rest[1]


def _deb822(stanza: str) -> Iterator[tuple[str, str]]:
    fields = parse_stanza("\n".join(s for s in stanza.splitlines() if not s.startswith("#")))
    fields = {name.lower(): value for name, value in fields.items()}
    if fields.get("enabled", "yes").lower() in {"no", "false", "0"}:
        return
    if "deb" not in fields.get("types", "").split():
        return
    for address in fields.get("uris", "").split():
        for suite in fields.get("suites", "").split():
            yield address, suite


def parse_stanza(text: str) -> dict[str, str]:
    """Return the fields of one paragraph of a Debian control file; continued lines keep their line ends."""
    fields: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line[:1] in (" ", "\t"):
            fields[name] = fields.get(name, "") + "\n" + line.strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
    return fields
