"""Compare versions of Debian packages (deb-version(7))."""

from __future__ import annotations

import re
from functools import cmp_to_key
from itertools import zip_longest

_PARTS = re.compile(r"(\D*)(\d*)")
_Part = tuple[tuple[int, ...], int]
_END: _Part = ((0,), 0)


def compare(first: str, second: str) -> int:
    """Return a negative number, 0 or a positive one as `first` is older than `second`, equal, or newer."""
    for one, other in zip(_split(first), _split(second), strict=True):
        for left, right in zip_longest(_parts(one), _parts(other), fillvalue=_END):
            if left != right:
                return 1 if left > right else -1
    return 0


version_key = cmp_to_key(compare)
"""Makes `sorted` and `max` order versions."""


def _split(version: str) -> tuple[str, str, str]:
    """Return epoch, upstream version and revision."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    return (epoch, upstream, revision) if dash else (epoch, rest, "")


def _parts(text: str) -> list[_Part]:
    """Return pairs of a word (as it sorts) and the number that follows it."""
    return [
        ((*(_order(character) for character in word), 0), int(number or 0))
        for word, number in _PARTS.findall(text)
        if word or number
    ]


def _order(character: str) -> int:
    """Return where a character sorts: `~` before the end of a word, letters before the rest."""
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256
