"""Addresses as people write them: their parts, and what of them may be told."""

from __future__ import annotations

import re
import urllib.parse

from cannery.errors import SourceError

_USER = re.compile(r"//[^/@\s]*@")


def bare(address: str) -> str:
    """Return an address without name, password and query: for messages."""
    return _USER.sub("//", address).partition("?")[0]


def parts_of(address: str) -> urllib.parse.SplitResult:
    """Return the parts of an address; raises SourceError for one that can't be read."""
    try:
        parts = urllib.parse.urlsplit(address)
        address.encode()
    except ValueError as error:
        raise SourceError(f"'{bare(address)}' is no address: {error}") from error
    return parts
