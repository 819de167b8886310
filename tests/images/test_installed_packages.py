"""The Debian packages of a base, as dpkg wrote them down."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_parts import file, folder, link, make_image, make_layer

from cannery.errors import ImageError
from cannery.images.bases.installed import LIMIT, find_installed
from cannery.images.packages import Installed
from cannery.oci.unpack import unpack

RELEASE = b'PRETTY_NAME="Debian"\nID=debian\nVERSION_CODENAME="trixie"\nVERSION_ID="13"\n'
STATUS = b"""Package: libssl3t64
Status: install ok installed
Source: openssl
Architecture: amd64
Version: 3.5.1-1+deb13u1
Description: a library
 with a line that says Package: nothing

Package: gcc-14-base
Status: install ok installed
Source: gcc-14 (14.2.0-19)
Architecture: amd64
Version: 14.2.0-19+b1

Package: removed
Status: deinstall ok config-files
Architecture: all
Version: 1
"""


def root_of(tmp_path: Path, *entries: object) -> Path:
    """Unpack an image of these entries."""
    unpack(make_image(make_layer(tmp_path / "store", *entries)), tmp_path / "root")
    return tmp_path / "root"


def package(name: str, version: str, source: str, built: str = "") -> Installed:
    """Return a package as the lock has it."""
    return Installed(
        name=name,
        version=version,
        architecture="amd64",
        source=source,
        source_version=built or version,
        distribution="debian",
        suite="trixie",
    )


OPENSSL = package("libssl3t64", "3.5.1-1+deb13u1", "openssl")
GCC = package("gcc-14-base", "14.2.0-19+b1", "gcc-14", "14.2.0-19")


def test_what_is_installed_is_found_with_its_source(tmp_path: Path) -> None:
    """Of the packages that dpkg knows, those that are there; the suite is that of the system."""
    root = root_of(
        tmp_path,
        folder("etc"),
        file("usr/lib/os-release", RELEASE),
        link("etc/os-release", "../usr/lib/os-release"),
        file("var/lib/dpkg/status", STATUS),
    )
    assert find_installed(root, "b") == (GCC, OPENSSL)


def test_packages_without_a_manager_are_found(tmp_path: Path) -> None:
    """Images without dpkg keep one file for each package, and the sums of its files beside it."""
    stanza = STATUS.partition(b"\n\n")[0].replace(b"Status: install ok installed\n", b"")
    root = root_of(
        tmp_path,
        folder("var/lib/dpkg/status.d"),
        file("etc/os-release", RELEASE),
        file("var/lib/dpkg/status.d/libssl3t64", stanza),
        file("var/lib/dpkg/status.d/libssl3t64.md5sums", b"0  usr/lib/libssl.so.3\n"),
    )
    assert find_installed(root, "b") == (OPENSSL,)


def test_a_base_without_dpkg_has_none(tmp_path: Path) -> None:
    """Other distributions are none of ours to read."""
    assert find_installed(root_of(tmp_path, file("etc/os-release", b"ID=fedora\n")), "b") == ()


@pytest.mark.parametrize(
    "status",
    [
        b"Package: x\nArchitecture: amd64\n",
        b"Package: x\nVersion: 1 2\nArchitecture: amd64\n",
        b"Package: \xff\nVersion: 1\nArchitecture: amd64\n",
        b"Package: " + b"x" * 100 + b"/\nVersion: 1\nArchitecture: amd64\n",
    ],
)
def test_a_damaged_list_is_refused(status: bytes, tmp_path: Path) -> None:
    """A package of which nothing can be said is not passed over."""
    root = root_of(tmp_path, file("var/lib/dpkg/status", status))
    with pytest.raises(ImageError, match="the base 'b' lists the package"):
        find_installed(root, "b")


def test_a_list_without_end_is_refused(tmp_path: Path) -> None:
    """It is measured before it is read."""
    root = root_of(tmp_path, file("var/lib/dpkg/status", b""))
    with (root / "var/lib/dpkg/status").open("wb") as stream:
        stream.truncate(LIMIT + 1)
    with pytest.raises(ImageError, match="has more than"):
        find_installed(root, "b")


def test_a_list_is_not_sought_outside(tmp_path: Path) -> None:
    """A link is followed as in the image: what it means outside is not read."""
    (tmp_path / "outside").write_bytes(STATUS)
    place = str(tmp_path / "outside")
    root = root_of(tmp_path, folder("var/lib/dpkg"), link("var/lib/dpkg/status", place))
    assert find_installed(root, "b") == ()
