"""An image of somebody else's as a base, with one package that dpkg installed in it."""

from __future__ import annotations

from cannery.images.packages import BaseImage, Installed


def foreign_base(
    source_version: str, *, distribution: str = "debian", suite: str = "trixie"
) -> BaseImage:
    """Return a base with libgcc-s1 of this version of its source."""
    package = Installed(
        name="libgcc-s1",
        version="14.2.0-19+b1",
        architecture="amd64",
        source="gcc-14",
        source_version=source_version,
        distribution=distribution,
        suite=suite,
    )
    return BaseImage(
        reference="r/python:1",
        digest="sha256:" + "c" * 64,
        created="",
        python="/usr/bin/python3.13",
        version="3.13",
        glibc=41,
        libraries=(),
        installed=(package,),
    )
