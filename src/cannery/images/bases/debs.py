"""Read binary packages of Debian (deb(5)): an ar archive of two tars."""

from __future__ import annotations

import io
import lzma
import tarfile
import zlib
from dataclasses import dataclass

from cannery.errors import ImageError
from cannery.images.trees import Entry, Tree, safe_path

_LIMIT = 1 << 30
"""Unpacked bytes of one package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deb:
    """The stanza that describes a package, and its files."""

    control: str
    tree: Tree


def read_deb(data: bytes, name: str) -> Deb:
    """Read a package; owners, times and setuid bits are left behind; raises ImageError naming `name`."""
    members = dict(_ar(data, name))
    control = ""
    tree: Tree = {}
    try:
        for member, content in members.items():
            if member.startswith("control.tar"):
                with tarfile.open(fileobj=_open(member, content, name)) as tar:
                    control = _control(tar)
            elif member.startswith("data.tar"):
                with tarfile.open(fileobj=_open(member, content, name)) as tar:
                    tree = _tree(tar, name)
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError) as error:
        raise ImageError(f"'{name}' is damaged: {error}") from error
    if not control or not tree:
        raise ImageError(f"'{name}' is not a Debian package")
    return Deb(control=control, tree=tree)


def _ar(data: bytes, name: str) -> list[tuple[str, bytes]]:
    if not data.startswith(b"!<arch>\n"):
        raise ImageError(f"'{name}' is not a Debian package")
    members = []
    at = 8
    while at + 60 <= len(data):
        header = data[at : at + 60]
        size = header[48:58].strip()
        if header[58:60] != b"`\n" or not size.isdigit() or at + 60 + int(size) > len(data):
            raise ImageError(f"'{name}' is damaged at byte {at}")
        end = at + 60 + int(size)
        members.append((header[:16].decode("ascii", "replace").rstrip(" /"), data[at + 60 : end]))
        at = end + end % 2
    return members


def _open(member: str, content: bytes, name: str) -> io.BytesIO:
    suffix = member.partition(".tar")[2]
    if suffix == ".xz":
        plain = lzma.LZMADecompressor().decompress(content, _LIMIT)
    elif suffix == ".gz":
        plain = zlib.decompressobj(31).decompress(content, _LIMIT)
    elif suffix == "":
        plain = content
    else:
        raise ImageError(f"'{member}' of '{name}' is compressed in a way that is not read here")
    return io.BytesIO(plain)


def _control(tar: tarfile.TarFile) -> str:
    for member in tar:
        if member.name.removeprefix("./") == "control":
            stream = tar.extractfile(member)
            return stream.read(1 << 20).decode() if stream else ""
    return ""


def _tree(tar: tarfile.TarFile, name: str) -> Tree:
    tree: Tree = {}
    for member in tar:
        path = safe_path(member.name, name)
        mode = member.mode & 0o1777
        if not path:
            continue
        if member.isdir():
            tree[path] = Entry(mode=mode)
        elif member.issym():
            tree[path] = Entry(mode=0o777, target=member.linkname)
        elif member.islnk():
            tree[path] = tree[safe_path(member.linkname, name)]
        elif member.isreg():
            stream = tar.extractfile(member)
            tree[path] = Entry(mode=mode & 0o755, data=stream.read() if stream else b"")
        else:
            raise ImageError(f"'{member.name}' in '{name}' is neither file, folder nor link")
    return tree
