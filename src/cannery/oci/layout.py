"""An OCI layout: a folder with one file per blob, as skopeo, podman and containerd read it.

https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import gzip
import hashlib
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, cast

import msgspec

from cannery.blobs import CHUNK, digest_bytes, digest_file, hex_of, refuse_foreign, write_folder
from cannery.errors import ImageError, SourceError
from cannery.oci.artifacts import EMPTY, Attached, artifact_entry
from cannery.oci.contents import Content
from cannery.oci.descriptors import (
    INDEX,
    INDEXES,
    LAYER_TYPES,
    MANIFEST,
    Architecture,
    Compression,
    Descriptor,
    Image,
    Layer,
)
from cannery.oci.documents import LIMIT, Config, Entry, Index, Manifest, decode
from cannery.oci.references import Reference

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
MARK = "oci-layout"
"""The file by which a folder is known for a layout."""
NAME = "org.opencontainers.image.ref.name"
_COMPRESSIONS = {kind: compression for (_, compression), kind in LAYER_TYPES.items()}
OURS = "cannery: "
"""What stands before a layer's name in the history of an image that Cannery composed."""


def entry_of(image: Image) -> dict[str, Any]:
    """Return what an index says of an image."""
    platform = {"architecture": image.architecture, "os": "linux"}
    if image.architecture == "arm64":
        platform["variant"] = "v8"
    return {
        "mediaType": MANIFEST[image.media],
        "digest": image.digest,
        "size": len(image.manifest),
        "platform": platform,
    }


def platforms_of(images: Sequence[Image]) -> bytes:
    """Return the index of one image for several platforms, the same bytes every time.

    It is OCI's whatever the images are: tools look for no other in a layout, and registries take it.
    """
    entries = [entry_of(image) for image in images]
    return msgspec.json.encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})


def index_of(
    images: Sequence[Image], reference: Reference | None, attached: Sequence[dict[str, Any]] = ()
) -> bytes:
    """Return `index.json` of an image, named in the two ways in which tools look for it, and of what is attached."""
    entry = entry_of(images[0])
    if len(images) > 1:
        data = platforms_of(images)
        entry = {"mediaType": INDEX, "digest": digest_bytes(data), "size": len(data)}
    if reference is not None and reference.tag:
        # skopeo and podman look for the second name, containerd and newer Docker for the first.
        entry["annotations"] = {"io.containerd.image.name": reference.full, NAME: reference.tag}
    entries = [entry, *attached]
    return msgspec.json.encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})


def write_layout(
    image: Image | Sequence[Image],
    folder: Path,
    reference: Reference | None = None,
    *,
    attached: Attached = MappingProxyType({}),
    force: bool = False,
) -> Path:
    """Write `image` as an OCI layout that appears whole or not at all; raises OutputError.

    Several are one image for several platforms; `attached` is what refers to them, by digest. With `force` it replaces a layout, and nothing else.
    """
    refuse_foreign(folder, MARK, "an OCI layout", force=force)
    with write_folder(folder, force=force) as target:
        blobs = target / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        images = (image,) if isinstance(image, Image) else tuple(image)
        documents = [d for each in images for d in (each.manifest, each.config)]
        if len(images) > 1:
            documents.append(platforms_of(images))
        tied = [(a, i.descriptor) for i in images for a in attached.get(i.digest, ())]
        documents += [d for a, to in tied for d in (EMPTY, a.payload, a.manifest(to))]
        for document in documents:
            (blobs / hex_of(digest_bytes(document))).write_bytes(document)
        for layer in {x.digest: x for each in images for x in each.layers}.values():
            with (blobs / hex_of(layer.digest)).open("xb") as out:
                for piece in layer.content.pieces():
                    out.write(piece)
        (target / "index.json").write_bytes(
            index_of(images, reference, [artifact_entry(a, to) for a, to in tied])
        )
        (target / MARK).write_bytes(LAYOUT)
    return folder


def read_layout(folder: Path, tag: str | None = None, architecture: str | None = None) -> Image:
    """Read an OCI layout and check every digest in it, those of the unpacked layers too.

    `tag` chooses among several images, `architecture` among several platforms. Raises SourceError
    when the folder is no layout or lacks the image, ImageError when something in it is damaged.
    """
    manifest, config = read_documents(folder, tag, architecture)
    return image_of(manifest, config, lambda d: blob_path(folder, d.digest))


def read_documents(
    folder: Path, tag: str | None = None, architecture: str | None = None
) -> tuple[bytes, bytes]:
    """Return manifest and config of an image in a layout, checked by digest; its layers are not looked at."""
    if not (folder / MARK).is_file():
        raise SourceError(f"'{folder}' is no OCI layout: it has no file '{MARK}'")
    path = folder / "index.json"
    entry = _choose(decode(read_json(path), Index, f"'{path}'"), tag, folder)
    manifest = read_document(folder, entry.digest)
    if entry.media_type in INDEXES:
        chosen = choose_platform(manifest, architecture, f"'{folder}'")
        manifest = read_document(folder, chosen.digest)
    config = read_document(folder, decode(manifest, Manifest, f"blob {entry.digest}").config.digest)
    return manifest, config


def blob_path(folder: Path, digest: str) -> Path:
    """Return where a layout keeps a blob."""
    return folder / "blobs" / "sha256" / hex_of(digest)


def image_of(manifest: bytes, config: bytes, where: Callable[[Descriptor], Path]) -> Image:
    """Put an image together from its documents and files; every layer is read and checked.

    Raises ImageError when a digest does not hold, or manifest and config disagree.
    """
    document = decode(manifest, Manifest, "the manifest")
    facts = decode(config, Config, "the config")
    if document.media_type not in MANIFEST.values():
        raise ImageError(f"'{document.media_type}' is no manifest of an image")
    if len(facts.rootfs.diff_ids) != len(document.layers):
        raise ImageError(
            f"the manifest names {len(document.layers)} layers, the config {len(facts.rootfs.diff_ids)}"
        )
    notes = [h.created_by.removeprefix(OURS) for h in facts.history if not h.empty_layer]
    if len(notes) != len(document.layers):
        notes = [""] * len(document.layers)
    return Image(
        config=config,
        manifest=manifest,
        layers=tuple(
            _layer(where(descriptor), descriptor, diff_id, note or f"layer {i}")
            for i, (descriptor, diff_id, note) in enumerate(
                zip(document.layers, facts.rootfs.diff_ids, notes, strict=True), 1
            )
        ),
        media="docker" if document.media_type == MANIFEST["docker"] else "oci",
        architecture=cast("Architecture", facts.architecture),
    )


@contextmanager
def open_layer(layer: Layer) -> Iterator[IO[bytes]]:
    """Open the uncompressed tar of a layer for reading; raises ImageError for zstd without its library."""
    with layer.content.open() as packed, _open(packed, layer.compression) as stream:
        yield stream


def _open(stream: IO[bytes], compression: Compression) -> IO[bytes]:
    """Open a packed tar for reading; raises ImageError for zstd without its library."""
    if compression == "zstd":
        return cast("IO[bytes]", zstandard().open(stream, "rb"))
    return cast("IO[bytes]", gzip.open(stream, "rb")) if compression == "gzip" else stream


def damages() -> tuple[type[Exception], ...]:
    """Return what reading a layer that is missing or damaged may raise."""
    library = sys.modules.get("zstandard")
    more = (library.ZstdError,) if library else ()
    return (OSError, EOFError, tarfile.TarError, zlib.error, *more)


def zstandard() -> Any:
    """Return the library of zstd; raises ImageError where it is not installed."""
    try:
        import zstandard as library
    except ImportError as error:
        raise ImageError(
            "layers of zstd need the package 'zstandard'", hint="pip install 'cannery[zstd]'"
        ) from error
    return library


def _choose(index: Index, tag: str | None, folder: Path) -> Entry:
    images = [entry for entry in index.manifests if entry.artifact_type is None]
    if tag is None and len(images) == 1:
        return images[0]
    for entry in index.manifests:
        if tag is not None and entry.annotations.get(NAME) == tag:
            return entry
    names = sorted(e.annotations[NAME] for e in index.manifests if NAME in e.annotations)
    wanted = f"no image '{tag}'" if tag else f"{len(images)} images; one must be named"
    raise SourceError(f"'{folder}' holds {wanted}", hint=f"its tags: {', '.join(names) or 'none'}")


def choose_platform(index: bytes, architecture: str | None, place: str) -> Entry:
    """Return the entry for an architecture (None: the only one); raises ImageError naming what there is."""
    entries = [e for e in decode(index, Index, place).manifests if e.platform.get("os") == "linux"]
    names = [str(entry.platform.get("architecture")) for entry in entries]
    if architecture is None and len(entries) == 1:
        return entries[0]
    if architecture not in names:
        wanted = f"no image for '{architecture}'" if architecture else f"{len(entries)} platforms"
        raise ImageError(f"{place} has {wanted}", hint=f"it has: {', '.join(names) or 'none'}")
    return entries[names.index(architecture)]


def _layer(path: Path, descriptor: Descriptor, diff_id: str, name: str) -> Layer:
    compression = _COMPRESSIONS.get(descriptor.media_type)
    if compression is None:
        raise ImageError(
            f"layers of type '{descriptor.media_type}' can't be read",
            hint="only gzip, zstd and plain layers are",
        )
    try:
        found = digest_file(path)
        if found != descriptor.digest or path.stat().st_size != descriptor.size:
            raise ImageError(f"the blob {descriptor.digest} is damaged: its bytes are {found}")
        content, unpacked = _measure(path, compression)
    except damages() as error:
        raise ImageError(f"can't read the layer {descriptor.digest}: {error}") from error
    if content != diff_id:
        raise ImageError(f"layer {descriptor.digest} unpacks to {content}, not {diff_id}")
    return Layer(
        name=name,
        content=Content.of(path),
        digest=descriptor.digest,
        size=descriptor.size,
        diff_id=diff_id,
        unpacked=unpacked,
        compression=compression,
    )


def _measure(path: Path, compression: Compression) -> tuple[str, int]:
    content, size = hashlib.sha256(), 0
    with path.open("rb") as packed, _open(packed, compression) as stream:
        while chunk := stream.read(CHUNK):
            content.update(chunk)
            size += len(chunk)
    return "sha256:" + content.hexdigest(), size


def read_document(folder: Path, digest: str) -> bytes:
    """Return a manifest, index or config of a layout, checked by digest."""
    data = read_json(blob_path(folder, digest))
    if digest_bytes(data) != digest:
        raise ImageError(f"the blob {digest} in '{folder}' is damaged")
    return data


def read_json(path: Path) -> bytes:
    """Return the bytes of a document; raises ImageError for one that is missing or too long."""
    try:
        if path.stat().st_size > LIMIT:
            raise ImageError(f"'{path}' has more than {LIMIT} bytes")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"can't read '{path}': {error.strerror}") from error
