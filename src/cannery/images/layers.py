"""Pack files into layers: the same tree, the same bytes, on any machine."""

from __future__ import annotations

import hashlib
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from zlib_ng import zlib_ng

from cannery.blobs import CHUNK, Blob, digest_bytes, digest_file
from cannery.errors import ImageError
from cannery.images.contents import Contents, Included, measured
from cannery.images.recipe import recipe_digest
from cannery.images.store import Store
from cannery.images.trees import Entry, Parts, Tree, with_parents
from cannery.oci.contents import Content
from cannery.oci.descriptors import Layer

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

_LEVEL = 6
_LARGE = 1 << 20
"""Bytes from which on a file that was hashed is known by its times."""
_SECOND = 1_000_000_000
_TICK = 200_000_000
"""Nanoseconds within which two changes of a file may bear one time."""
_COARSE = 2 * _SECOND
"""The same on file systems that know whole seconds."""
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""gzip without a name, with time 0 and operating system unknown (RFC 1952)."""


class Writes(Protocol):
    """Something that takes bytes."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Take `data`."""


class _Gzip:
    """A gzip stream whose bytes depend on nothing but what is written, if in equal pieces."""

    def __init__(self, sink: Writes) -> None:
        self._sink = sink
        self._deflate = zlib_ng.compressobj(_LEVEL, zlib_ng.DEFLATED, -15)
        self._sum = 0
        self._size = 0
        self._rest = bytearray()
        sink.write(_HEADER)

    def write(self, data: bytes | memoryview) -> None:
        """Compress, in pieces of one size: deflate's output may depend on how its input is cut."""
        self._rest += data
        while len(self._rest) >= CHUNK:
            self._compress(bytes(self._rest[:CHUNK]))
            del self._rest[:CHUNK]

    def _compress(self, piece: bytes) -> None:
        self._sum = zlib_ng.crc32(piece, self._sum)
        self._size += len(piece)
        self._sink.write(self._deflate.compress(piece))

    def close(self) -> None:
        """Write what is left, and the trailer."""
        self._compress(bytes(self._rest))
        self._sink.write(self._deflate.flush())
        self._sink.write(
            self._sum.to_bytes(4, "little") + (self._size % (1 << 32)).to_bytes(4, "little")
        )


class _Counted:
    """Passes bytes on, knowing their digest and number."""

    def __init__(self, sink: Writes) -> None:
        self._sink = sink
        self.hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        self.hash.update(data)
        self.size += len(data)
        self._sink.write(data)


def header(path: str, entry: Entry, size: int | None = None) -> bytes:
    """Return the tar header of an entry: owner 0:0, time 0, no names; PAX where a path is long.

    `size` overrides the number of bytes in `entry`.
    """
    info = tarfile.TarInfo(path)
    info.mode = entry.mode
    info.mtime = 0
    if entry.target is not None:
        info.type, info.linkname = tarfile.SYMTYPE, entry.target
    elif entry.folder:
        info.type = tarfile.DIRTYPE
    else:
        info.size = len(entry.data or b"") if size is None else size
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def pieces_of(tree: Tree) -> Iterator[bytes]:
    """Yield the bytes of the tar of `tree`, sorted by path, without its end."""
    for path in sorted(tree):
        entry = tree[path]
        yield header(path, entry)
        if entry.data:
            yield entry.data
            yield bytes(-len(entry.data) % tarfile.BLOCKSIZE)


def layer_of_files(
    name: str, folder: str, files: Mapping[str, Blob], store: Store | None = None
) -> Layer:
    """Return a layer of files on disk, read-only files under `folder`: neither copied nor compressed.

    It is put together as it is read. Each file is read once for it, and must be what its blob says;
    raises ImageError naming the one that is not. What `store` has seen, and nobody touched since, is
    not read again.
    """
    tree = with_parents({f"{folder}/{name}": Entry(data=b"") for name in files})
    parts: list[bytes | Blob] = []
    between = b""
    for path in sorted(tree):
        if tree[path].folder:
            between += header(path, tree[path])
            continue
        blob = files[path.removeprefix(f"{folder}/")]
        parts += [between + header(path, Entry(mode=0o444, data=b""), blob.size), blob]
        between = bytes(-blob.size % tarfile.BLOCKSIZE)
    parts.append(between + bytes(2 * tarfile.BLOCKSIZE))
    digest = _hashed(parts) if store is None else _seen(parts, store)
    content = Content.of(*(part if isinstance(part, bytes) else part.path for part in parts))
    return Layer(
        name=name,
        content=content,
        digest=digest,
        size=content.size,
        diff_id=digest,
        unpacked=content.size,
        compression="none",
    )


def _seen(parts: Sequence[bytes | Blob], store: Store) -> str:
    """Return the digest of these parts, from the store where no file was touched since it was hashed."""
    key = _stamped(parts)
    known = None if key is None else store.recall(key, str)
    if known is not None:
        return known
    before = time.time_ns()
    digest = _hashed(parts)
    if key is not None and key == _stamped(parts) and _settled(parts, before):
        store.remember(key, digest)
    return digest


def _stamped(parts: Sequence[bytes | Blob]) -> list[Any] | None:
    """Return what is different once a part is: small files by digest, large ones by place and times.

    None where a file can't be read.
    """
    try:
        return [
            digest_bytes(part) if isinstance(part, bytes) else [part.digest, _stamp(part)]
            for part in parts
        ]
    except OSError:
        return None


def _stamp(blob: Blob) -> str | list[int]:
    found = blob.path.stat()
    if found.st_size < _LARGE:
        return digest_file(blob.path)
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _settled(parts: Sequence[bytes | Blob], before: int) -> bool:
    """Tell whether a change after the time `before` would show in the stamp: clocks of files are coarse."""
    found = (part.path.stat() for part in parts if isinstance(part, Blob))
    changes = (status.st_ctime_ns for status in found if status.st_size >= _LARGE)
    return all(at + (_COARSE if at % _SECOND == 0 else _TICK) < before for at in changes)


def _hashed(parts: Sequence[bytes | Blob]) -> str:
    """Return the digest of all parts; raises ImageError where a file is not what its blob says."""
    whole = hashlib.sha256()
    with ThreadPoolExecutor(1) as beside:
        for part in parts:
            if isinstance(part, bytes):
                whole.update(part)
            else:
                _check(part, whole, beside)
    return "sha256:" + whole.hexdigest()


def _check(blob: Blob, whole: Hash, beside: ThreadPoolExecutor) -> None:
    """Feed a file to `whole`, and to a hash of its own at the same time; raises ImageError."""
    own, size = hashlib.sha256(), 0
    try:
        with blob.path.open("rb") as stream:
            while piece := stream.read(CHUNK):
                fed = beside.submit(own.update, piece)
                whole.update(piece)
                fed.result()
                size += len(piece)
    except OSError as error:
        raise ImageError(f"can't read '{blob.path}': {error.strerror}") from error
    found = "sha256:" + own.hexdigest()
    if (found, size) != (blob.digest, blob.size):
        raise ImageError(
            f"'{blob.path}' has digest {found}, but the can says {blob.digest}",
            hint="the can is damaged: pack the model again",
        )


def pack(name: str, pieces: Iterable[bytes], store: Store) -> Layer:
    """Write the tar made of `pieces` into the store as a compressed layer."""
    with store.writing() as sink:
        squeezed = _Gzip(sink)
        plain = _Counted(squeezed)
        for piece in pieces:
            plain.write(piece)
        plain.write(bytes(2 * tarfile.BLOCKSIZE))
        squeezed.close()
    return Layer(
        name=name,
        content=Content.of(store.path(sink.digest)),
        digest=sink.digest,
        size=sink.size,
        diff_id="sha256:" + plain.hash.hexdigest(),
        unpacked=plain.size,
        compression="gzip",
    )


class _Memo(msgspec.Struct, frozen=True, kw_only=True):
    """What the store remembers of a layer."""

    digest: str
    size: int
    diff_id: str
    unpacked: int
    contents: Contents


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to make a layer: what it is made from (its key in the store), and the function that makes its tree."""

    name: str
    inputs: Any
    """JSON values; the same inputs give the same layer."""
    build: Callable[[], Parts]
    packages: tuple[Included, ...] = ()


def find_layer(recipe: Recipe, store: Store) -> tuple[Layer, Contents] | None:
    """Return the layer that was made before from the same inputs, checked; None where there is none."""
    memo = store.recall(_key(recipe), _Memo)
    path = None if memo is None else store.find(memo.digest)
    if memo is None or path is None:
        return None
    layer = Layer(
        name=recipe.name,
        content=Content.of(path),
        digest=memo.digest,
        size=memo.size,
        diff_id=memo.diff_id,
        unpacked=memo.unpacked,
        compression="gzip",
    )
    return layer, memo.contents


def make_layer(recipe: Recipe, store: Store) -> tuple[Layer, Contents]:
    """Make the layer and remember it."""
    parts = recipe.build()
    layer = pack(recipe.name, pieces_of(with_parents(parts.tree)), store)
    contents = Contents(
        packages=measured(recipe.packages, parts.tree, parts.owners), left_out=parts.left_out
    )
    memo = _Memo(
        digest=layer.digest,
        size=layer.size,
        diff_id=layer.diff_id,
        unpacked=layer.unpacked,
        contents=contents,
    )
    store.remember(_key(recipe), memo)
    return layer, contents


def _key(recipe: Recipe) -> dict[str, Any]:
    return {
        "layer": recipe.name,
        "inputs": recipe.inputs,
        "made by": recipe_digest(),
        "level": _LEVEL,
    }
