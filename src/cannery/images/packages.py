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

    @property
    def source(self) -> str:
        """The source package that it is built from: the archive's pool is sorted by it."""
        return self.path.split("/")[-2]


class Wheel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A wheel of a package index."""

    name: str
    """Normalised: lower case, words joined by `-`."""
    version: str
    filename: str
    sha256: str
    """64 hex digits."""


class Installed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A package of a distribution that came with a base: known by its word alone, without a digest."""

    name: str
    version: str
    architecture: str
    source: str
    """The source package that it is built from."""
    source_version: str
    distribution: str
    """`debian`, or one made of it, as its `os-release` says."""
    suite: str
    """`trixie`, `noble`."""


class BaseImage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An image of a registry that others are built on, and the Python in it."""

    reference: str
    """As the user named it."""
    digest: str
    """Of its manifest for this platform."""
    created: str
    python: str
    """Absolute path of the program."""
    version: str
    """`3.13`."""
    glibc: int
    """Minor version of its C library."""
    libraries: tuple[str, ...]
    """Shared libraries that every program in it finds, by name."""
    installed: tuple[Installed, ...] = ()
    """What dpkg installed in it."""


class Platform(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Everything that an image of one architecture is made of."""

    debian: tuple[DebianPackage, ...] = ()
    image: BaseImage | None = None
    """Instead of Debian packages."""
    wheels: tuple[Wheel, ...]
