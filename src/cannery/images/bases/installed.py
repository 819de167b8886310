"""What dpkg wrote down in an unpacked base: the packages of its distribution."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from cannery.errors import ImageError
from cannery.images.bases.apt import parse_stanza
from cannery.images.packages import Installed
from cannery.oci.unpack import resolve_inside

STATUS = "var/lib/dpkg/status"
"""Of all packages; images without a package manager have a file for each in the folder `status.d` beside it."""
LIMIT = 64 << 20
"""Bytes of such a file."""
_WORD = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+:~-]*")
_SOURCE = re.compile(r"(\S+)(?: \((\S+)\))?")


def find_installed(root: Path, name: str) -> tuple[Installed, ...]:
    """Return the Debian packages of an unpacked image, sorted; none where it has no dpkg.

    Raises ImageError for a list that can't be read; `name` is the image's.
    """
    release = parse_release(_text(root, "etc/os-release", name))
    distribution = release.get("ID", "debian")
    suite = release.get("VERSION_CODENAME") or release.get("VERSION_ID", "")
    found = {
        _package(fields, distribution, suite, name)
        for text in _lists(root, name)
        for fields in map(parse_stanza, re.split(r"\n\s*\n", text))
        if "Package" in fields and fields.get("Status", "installed").endswith("installed")
    }
    return tuple(sorted(found, key=lambda p: (p.name, p.architecture, p.version)))


def parse_release(text: str) -> dict[str, str]:
    """Return the words of an `os-release` file."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {key.strip(): value.strip().strip("\"'") for key, sign, value in pairs if sign}


def _lists(root: Path, name: str) -> Iterator[str]:
    yield _text(root, STATUS, name)
    folder = resolve_inside(root, (*STATUS.split("/")[:-1], "status.d"), name)
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not file.name.endswith(".md5sums"):
            yield _text(root, file.relative_to(root).as_posix(), name)


def _text(root: Path, place: str, name: str) -> str:
    """Return a file of the image; nothing where it is none."""
    path = resolve_inside(root, tuple(place.split("/")), name)
    if not path.is_file():
        return ""
    if path.stat().st_size > LIMIT:
        raise ImageError(f"'/{place}' of the base '{name}' has more than {LIMIT} bytes")
    return path.read_text("utf-8", "replace")


def _package(fields: dict[str, str], distribution: str, suite: str, name: str) -> Installed:
    words = {key: fields.get(key, "") for key in ("Package", "Version", "Architecture")}
    for key, word in words.items():
        if not _WORD.fullmatch(word):
            raise ImageError(
                f"the base '{name}' lists the package '{words['Package'][:80]}'"
                f" with '{word[:80]}' as its {key.lower()}",
                hint="its list of packages is damaged: choose another base",
            )
    source = _SOURCE.match(fields.get("Source", ""))
    return Installed(
        name=words["Package"],
        version=words["Version"],
        architecture=words["Architecture"],
        source=source[1] if source else words["Package"],
        source_version=(source[2] if source else None) or words["Version"],
        distribution=distribution,
        suite=suite,
    )
