"""Pack files into layers: the same tree, the same bytes, on any machine."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from zlib_ng import zlib_ng

from cannery.blobs import CHUNK, Blob
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


def layer_of_files(name: str, folder: str, files: Mapping[str, Blob]) -> Layer:
    """Return a layer of files on disk, read-only files under `folder`: neither copied nor compressed.

    It is put together as it is read. Each file is read once for it, and must be what its blob says;
    raises ImageError naming the one that is not.
    """
    tree = with_parents({f"{folder}/{name}": Entry(data=b"") for name in files})
    parts: list[bytes | Path] = []
    between = b""
    hasher = hashlib.sha256()
    for path in sorted(tree):
        if tree[path].folder:
            between += header(path, tree[path])
            continue
        blob = files[path.removeprefix(f"{folder}/")]
        between += header(path, Entry(mode=0o444, data=b""), blob.size)
        hasher.update(between)
        _check(blob, hasher)
        parts += [between, blob.path]
        between = bytes(-blob.size % tarfile.BLOCKSIZE)
    between += bytes(2 * tarfile.BLOCKSIZE)
    hasher.update(between)
    content = Content.of(*parts, between)
    digest = "sha256:" + hasher.hexdigest()
    return Layer(
        name=name,
        content=content,
        digest=digest,
        size=content.size,
        diff_id=digest,
        unpacked=content.size,
        compression="none",
    )


def _check(blob: Blob, hasher: Hash) -> None:
    """Feed a file to `hasher`; raises ImageError where it is not what its blob says."""
    own, size = hashlib.sha256(), 0
    try:
        with blob.path.open("rb") as stream:
            while piece := stream.read(CHUNK):
                own.update(piece)
                hasher.update(piece)
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
