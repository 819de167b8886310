"""Unpack Debian packages into the files of an image: no package manager, no shell, only what runs."""

from __future__ import annotations

from collections.abc import Iterable

from cannery.errors import ImageError
from cannery.images.bases.debs import Deb, read_deb
from cannery.images.packages import DebianPackage
from cannery.images.recipe import DEBIAN_CUTS, PYTHON_CUTS, USER, Cut
from cannery.images.store import Store
from cannery.images.trees import (
    FOLDER,
    Entry,
    LeftOut,
    Parts,
    Tree,
    leave_out,
    merge,
    with_parents,
)

_DOCUMENTATION = tuple(
    Cut(pattern=f"usr/share/doc/*/{rest}", reason="documentation (licences are kept)")
    for rest in ("[!c]*", "c[!o]*")
)
_LINKED = frozenset({"bin", "lib", "lib64", "sbin"})
_BUNDLE = "etc/ssl/certs/ca-certificates.crt"


def base_tree(packages: Iterable[DebianPackage], store: Store) -> Parts:
    """Return the files of the operating system's packages and the few that their scripts would have made."""
    debs = [(package.name, _load(package, store)) for package in packages]
    whole = merge([deb.tree for _, deb in debs], "the base")
    made = {**_accounts(), **_certificates(whole), **_status(debs)}
    tree, left_out = leave_out({**whole, **made}, (*DEBIAN_CUTS, *_DOCUMENTATION))
    return _parts(tree, debs, left_out)


def python_tree(
    packages: Iterable[DebianPackage], store: Store, cuts: Iterable[Cut] = PYTHON_CUTS
) -> Parts:
    """Return the files of Debian's Python, without bytecode."""
    debs = [(package.name, _load(package, store)) for package in packages]
    whole = merge([deb.tree for _, deb in debs], "Python")
    all_cuts = (*cuts, *DEBIAN_CUTS, *_DOCUMENTATION)
    tree, left_out = leave_out({**whole, **_status(debs)}, all_cuts)
    return _parts(tree, debs, left_out)


def _parts(tree: Tree, debs: list[tuple[str, Deb]], left_out: list[LeftOut]) -> Parts:
    owners = {_moved(path): name for name, deb in debs for path in deb.tree}
    owners |= {_record(name): name for name, _ in debs} | {_BUNDLE: "ca-certificates"}
    return Parts(tree=with_parents(_merged_usr(tree)), owners=owners, left_out=tuple(left_out))


def _load(package: DebianPackage, store: Store) -> Deb:
    data = store.read(f"sha256:{package.sha256}")
    if data is None:
        raise ImageError(f"'{package.name}' is not in the store", hint="fetch the lock first")
    return read_deb(data, package.path.rpartition("/")[2])


def _status(debs: list[tuple[str, Deb]]) -> Tree:
    """Return dpkg's record of each package, where scanners of images look for it."""
    return {_record(name): Entry(data=_installed(deb.control).encode()) for name, deb in debs}


def _record(name: str) -> str:
    return f"var/lib/dpkg/status.d/{name}"


def _installed(control: str) -> str:
    package, newline, rest = control.strip().partition("\n")
    return f"{package}{newline}Status: install ok installed\n{rest}\n"


def _accounts() -> Tree:
    """Return the accounts: root, nobody and the one that serves."""
    passwd = (
        "root:x:0:0:root:/root:/usr/sbin/nologin\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
        f"cannery:x:{USER}:{USER}:cannery:/tmp:/usr/sbin/nologin\n"
    )
    group = f"root:x:0:\nnogroup:x:65534:\ncannery:x:{USER}:\n"
    switch = "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n"
    return {
        "etc/passwd": Entry(data=passwd.encode()),
        "etc/group": Entry(data=group.encode()),
        "etc/nsswitch.conf": Entry(data=switch.encode()),
        "tmp": Entry(mode=0o1777),
        "opt": FOLDER,
    }


def _certificates(tree: Tree) -> Tree:
    """Return the one bundle of certificate authorities, in the order in which Debian's own script joins them."""
    found = [
        entry.data.rstrip(b"\n") + b"\n"
        for path, entry in sorted(tree.items())
        if path.startswith("usr/share/ca-certificates/") and entry.data and path.endswith(".crt")
    ]
    if not found:
        return {}
    return {
        _BUNDLE: Entry(data=b"".join(found)),
        "usr/lib/ssl/cert.pem": Entry(mode=0o777, target=f"/{_BUNDLE}"),
        "usr/lib/ssl/certs": Entry(mode=0o777, target="/etc/ssl/certs"),
    }


def _merged_usr(tree: Tree) -> Tree:
    """Move what a package still ships in /lib or /bin to where the links of base-files point."""
    return {
        _moved(path): entry
        for path, entry in tree.items()
        if path not in _LINKED or entry.target is not None
    }


def _moved(path: str) -> str:
    first, slash, _ = path.partition("/")
    return f"usr/{path}" if slash and first in _LINKED else path
