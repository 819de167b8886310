"""Binary packages of Debian."""

from __future__ import annotations

import io
import lzma
import tarfile

import pytest
from debs import make_deb, make_tar

from cannery.errors import ImageError
from cannery.images.bases.debs import read_deb


def test_a_package_gives_its_stanza_and_its_files() -> None:
    """The control stanza and every file, folder and link are read."""
    deb = read_deb(
        make_deb({"./usr/bin/": None, "./usr/bin/x": b"run", "./bin": "usr/bin"}), "x.deb"
    )
    assert deb.control.startswith("Package: x")
    assert deb.tree["usr/bin"].folder
    assert deb.tree["usr/bin/x"].data == b"run"
    assert deb.tree["bin"].target == "usr/bin"


def test_setuid_bits_are_left_behind() -> None:
    """A file with setuid loses it; /tmp keeps its sticky bit."""
    info = tarfile.TarInfo("./usr/bin/su")
    info.mode = 0o4755
    folder = tarfile.TarInfo("./tmp")
    folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
    deb = read_deb(make_deb({}, extra=[info, folder]), "x.deb")
    assert deb.tree["usr/bin/su"].mode == 0o755
    assert deb.tree["tmp"].mode == 0o1777


@pytest.mark.parametrize("name", ["../etc/passwd", "/etc/passwd", "./a/../../b"])
def test_a_path_that_escapes_is_refused(name: str) -> None:
    """No file of a package may stand outside the image."""
    with pytest.raises(ImageError, match="is not a path inside the package"):
        read_deb(make_deb({name: b"x"}), "x.deb")


def test_a_device_is_refused() -> None:
    """A package that brings a device is refused."""
    info = tarfile.TarInfo("./dev/sda")
    info.type = tarfile.BLKTYPE
    with pytest.raises(ImageError, match="neither file, folder nor link"):
        read_deb(make_deb({}, extra=[info]), "x.deb")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a package",
        b"!<arch>\n",
        make_deb({"./x": b"y"})[:-200],
        make_deb({}, suffix=".zst"),
    ],
)
def test_what_is_no_package_is_a_clear_error(data: bytes) -> None:
    """Anything damaged, cut off or unreadable is an ImageError that names the package."""
    with pytest.raises(ImageError, match=r"x\.deb"):
        read_deb(data, "x.deb")


def test_a_damaged_stream_is_a_clear_error() -> None:
    """Bytes changed inside the compressed tar are noticed."""
    data = bytearray(make_deb({"./x": b"y" * 5000}))
    data[-60:-40] = bytes(20)
    with pytest.raises(ImageError):
        read_deb(bytes(data), "x.deb")


def test_the_helper_makes_what_tar_reads() -> None:
    """The tar made for these tests is one."""
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(make_tar({"./x": b"y"}, [])))) as tar:
        assert tar.getnames() == ["./x"]
