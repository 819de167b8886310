"""What a lock names: packages of Debian and wheels, each by digest and without saying on which host they stand."""

from __future__ import annotations

import msgspec


class DebianPackage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A binary package of the Debian archive."""

    name: str
    version: str
    architecture: str
    """`amd64`, `arm64` or `all`."""
    path: str
    """Below a mirror's root: `pool/main/…`."""
    sha256: str
    """64 hex digits."""
    size: int
    security: bool = False
    """Whether it stands in the security archive."""


class Wheel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A wheel of a package index."""

    name: str
    """Normalised: lower case, words joined by `-`."""
    version: str
    filename: str
    sha256: str
    """64 hex digits."""


class Platform(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that an image of one architecture is made of."""

    debian: tuple[DebianPackage, ...]
    wheels: tuple[Wheel, ...]
