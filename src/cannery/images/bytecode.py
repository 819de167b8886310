"""Compile Python ahead of time, with the image's own interpreter, to bytes that never vary."""

from __future__ import annotations

import marshal
import re
import shutil
import stat
import struct
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from threading import Lock as Mutex
from typing import IO, cast

from cannery.blobs import digest_bytes
from cannery.errors import CanneryError, ImageError
from cannery.images.bases.debian import python_tree
from cannery.images.bases.foreign import unpack_base
from cannery.images.layers import pieces_of
from cannery.images.packages import BaseImage, DebianPackage
from cannery.images.recipe import (
    COMPILING_PACKAGES,
    LOADERS,
    PYTHON,
    PYTHON_PACKAGES,
    TRIPLETS,
    recipe_digest,
)
from cannery.images.store import Sink, Store
from cannery.images.trees import Entry, LeftOut, Tree
from cannery.oci.descriptors import Architecture
from cannery.processes import run

_TIMEOUT = 300.0
_PROGRAM = Path(__file__).parent / "inside.py"
_IDLE = re.compile(r"\./usr/share|.*/(site|dist)-packages|.*/python3[^/]*/test")
"""Folders of a base that hold nothing that compiling needs."""
_FLAGS = ("-S", "-s", "-P", "-B", "-W", "ignore")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A Python that compiles, as files; bytecode does not depend on the architecture that it runs on."""

    version: str
    """By which its bytecode is known from that of others."""
    minor: str
    """`3.13`."""
    write: Callable[[Path], None]
    """Write its files below a folder."""
    words: Callable[[Path], list[str | Path]]
    """Return the command line that runs `inside.py` with it, once its files are below that folder."""
    home: str = ""
    """Where its library stands below that folder, if it must be told."""


def debian_interpreter(
    packages: Iterable[DebianPackage], architecture: Architecture, store: Store
) -> Interpreter:
    """Return Debian's Python, started through its own loader: it is verified from the signature down."""
    by_name = {package.name: package for package in packages}

    chosen = [by_name[name] for name in COMPILING_PACKAGES]
    key = {"packed": [package.sha256 for package in chosen], "made by": recipe_digest()}

    def pack(sink: Sink) -> None:
        for piece in pieces_of(python_tree(chosen, store).tree):
            sink.write(piece)

    def write(root: Path) -> None:
        _extract(_packed(key, store, pack), root)

    def words(root: Path) -> list[str | Path]:
        return [
            root / LOADERS[architecture],
            *("--library-path", root / "usr/lib" / TRIPLETS[architecture]),
            *(root / f"usr/bin/python{PYTHON}", *_FLAGS, _PROGRAM),
        ]

    version = by_name[PYTHON_PACKAGES[-1]].version
    return Interpreter(version=version, minor=PYTHON, write=write, words=words, home="usr")


def _packed(key: object, store: Store, pack: Callable[[Sink], None]) -> Path:
    """Return the tar that `pack` writes, kept from the last time: what it is made of is slow to unpack."""
    kept = store.recall(key, str)
    found = None if kept is None else store.find(kept)
    if found is not None:
        return found
    with store.writing() as sink:
        pack(sink)
    store.remember(key, sink.digest)
    return store.path(sink.digest)


def _extract(packed: Path, root: Path) -> None:
    with tarfile.open(packed, "r:") as tar:
        # What was packed here is taken as it is; Pythons before 3.11.4 know no other way.
        tar.extraction_filter = lambda member, _: member
        tar.extractall(root)


def base_interpreter(base: BaseImage, store: Store) -> Interpreter:
    """Return the Python of somebody's image, started in namespaces of its own: nobody here has verified it."""

    def words(root: Path) -> list[str | Path]:
        program = shutil.which("bwrap")
        if program is None:
            raise ImageError(
                f"the Python of '{base.reference}' compiles in a sandbox, and bubblewrap is not installed",
                hint='install bubblewrap, or take base = "debian"',
            )
        return [
            *(program, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
            *("--uid", "65534", "--gid", "65534", "--ro-bind", root, "/", "--dev", "/dev"),
            *("--tmpfs", "/tmp", "--ro-bind", _PROGRAM, "/tmp/inside.py", "--chdir", "/"),
            *(base.python, *_FLAGS, "/tmp/inside.py"),
        ]

    def pack(sink: Sink) -> None:
        with tempfile.TemporaryDirectory(prefix="cannery-base-") as name:
            root = Path(name).resolve() / "root"
            unpack_base(base, store, root)
            with tarfile.open(fileobj=cast("IO[bytes]", sink), mode="w|") as tar:
                tar.add(root, ".", filter=_compiling)

    def write(root: Path) -> None:
        key = {"unpacked": base.digest, "without": _IDLE.pattern}
        _extract(_packed(key, store, pack), root)
        for name in ("dev", "tmp"):
            (root / name).mkdir(exist_ok=True)

    return Interpreter(version=base.digest, minor=base.version, write=write, words=words)


def _compiling(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Return what of a base its Python may need to compile; None for the rest, and for what we may not read."""
    needed = stat.S_IRUSR | stat.S_IXUSR if member.isdir() else stat.S_IRUSR
    readable = member.issym() or member.mode & needed == needed
    return member if readable and not _IDLE.fullmatch(member.name) else None


@dataclass(slots=True)
class Compiler:
    """An interpreter, unpacked when it is first needed."""

    interpreter: Interpreter
    stack: ExitStack
    """Takes the unpacked files away."""
    store: Store
    """Remembers bytecode."""
    _root: Path | None = None
    _mutex: Mutex = field(default_factory=Mutex)

    @property
    def version(self) -> str:
        """By which its bytecode is known from that of others."""
        return self.interpreter.version

    def with_bytecode(self, tree: Tree, *, remembered: bool = False) -> Tree:
        """Return the tree with a `.pyc` beside each `.py` that compiles.

        `remembered`: file by file, for a tree of which few files change at a time.
        """
        compile_ = self._remembered if remembered else self._compile
        compiled = compile_(_sources(tree))
        tag = "cpython-" + self.interpreter.minor.replace(".", "")
        return {**tree, **{_cached(p, tag): Entry(data=data) for p, data in compiled.items()}}

    def as_bytecode(self, tree: Tree) -> tuple[Tree, LeftOut]:
        """Return the tree with each `.py` that compiles replaced by a `.pyc` in its place, and what that took away.

        Tracebacks still name file and line; the text of the line is what they lose.
        """
        sources = _sources(tree)
        compiled = self._compile(sources)
        made: Tree = {}
        for path, entry in tree.items():
            if path in compiled:
                made[f"{path}c"] = Entry(data=compiled[path])
            elif path.endswith(".py") and entry.target is not None and entry.target.endswith(".py"):
                made[f"{path}c"] = replace(entry, target=f"{entry.target}c")
            else:
                made[path] = entry
        size = sum(len(sources[path]) for path in compiled)
        reason = "sources of the standard library: its bytecode is inside"
        return made, LeftOut(pattern="*.py", reason=reason, files=len(compiled), bytes=size)

    def _remembered(self, sources: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return the same as `_compile`, which is asked only for what it was not asked before."""
        keys = {
            path: {
                "bytecode of": [path, digest_bytes(source)],
                "compiled by": self.version,
                "made by": recipe_digest(),
            }
            for path, source in sources.items()
        }
        kept = {path: self.store.recall(key, str) for path, key in keys.items()}
        known = {path: digest and self.store.read(digest) for path, digest in kept.items()}
        lacking = {path: sources[path] for path, data in known.items() if data is None}
        fresh = self._compile(lacking) if lacking else {}
        for path in lacking:
            self.store.remember(keys[path], self.store.add(fresh.get(path, b"")))
        return {path: data for path, data in {**known, **fresh}.items() if data}

    def _compile(self, sources: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return path of the source → content of its `.pyc`; what is not valid Python is missing."""
        given = marshal.dumps([(f"/{path}", data) for path, data in sources.items()], 2)
        root = self._unpacked()
        words = self.interpreter.words(root)
        environment = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}
        if self.interpreter.home:
            environment["PYTHONHOME"] = str(root / self.interpreter.home)
        try:
            done = run(words, env=environment, cwd=root, stdin=given, timeout=_TIMEOUT)
        except CanneryError as error:
            raise ImageError(f"can't run the image's Python: {error}") from error
        if not done.ok:
            raise ImageError(f"the image's Python can't compile: {done.complaint}")
        return dict(_parse(done.stdout, sources))

    def _unpacked(self) -> Path:
        """Return the folder that the interpreter was unpacked into."""
        with self._mutex:
            if self._root is None:
                name = self.stack.enter_context(
                    tempfile.TemporaryDirectory(prefix="cannery-python-")
                )
                self._root = Path(name).resolve()
                self.interpreter.write(self._root)
            return self._root


def _sources(tree: Tree) -> dict[str, bytes]:
    """Return every module's source by path, sorted."""
    return {
        path: entry.data
        for path, entry in sorted(tree.items())
        if path.endswith(".py") and entry.data is not None
    }


def _parse(output: bytes, sources: Iterable[str]) -> Iterable[tuple[str, bytes]]:
    at = 0
    for path in sources:
        if at + 8 > len(output):
            raise ImageError(f"the image's Python ended before it compiled '/{path}'")
        (size,) = struct.unpack_from("<Q", output, at)
        if size:
            yield path, output[at + 8 : at + 8 + size]
        at += 8 + size


def _cached(path: str, tag: str) -> str:
    """Return where Python looks for the bytecode of the source at `path`."""
    source = PurePosixPath(path)
    return str(source.parent / "__pycache__" / f"{source.stem}.{tag}.pyc")
