"""One tar that `docker load`, podman and every OCI tool read: an OCI layout whose blobs `manifest.json` points at too."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec

from cannery.blobs import hex_of, write_file
from cannery.errors import ImageError
from cannery.oci.descriptors import Image, Layer
from cannery.oci.layout import LAYOUT, index_of
from cannery.oci.references import Reference


def stream_archive(image: Image, reference: Reference | None, out: BinaryIO) -> None:
    """Write the archive of `image` to a stream; the same image and name give the same bytes.

    Without a reference the image has no name: container tools know it by its id alone.
    """
    documents = {
        "oci-layout": LAYOUT,
        "index.json": index_of((image,), reference),
        "manifest.json": _docker_manifest(image, reference),
        _blob(image.digest): image.manifest,
        _blob(image.id): image.config,
    }
    _stream(documents, image.layers, out)


def stream_last_layer(image: Image, reference: Reference | None, out: BinaryIO) -> None:
    """Write what `docker load` needs where it has all layers but the last; it refuses this where it has not.

    There is no index in it, so that no OCI tool takes it for a whole image.
    """
    documents = {
        "manifest.json": _docker_manifest(image, reference),
        _blob(image.id): image.config,
    }
    _stream(documents, image.layers[-1:], out)


def write_archive(
    image: Image, path: Path, reference: Reference | None = None, *, force: bool = False
) -> Path:
    """Write the archive of `image` to a file that appears whole or not at all; raises OutputError."""
    with write_file(path, force=force) as stream:
        stream_archive(image, reference, stream)
    return path


def _stream(documents: Mapping[str, bytes], layers: Iterable[Layer], out: BinaryIO) -> None:
    # PAX so that a layer may be larger than 8 GiB; below that its bytes are plain ustar.
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for name, data in documents.items():
            tar.addfile(_member(name, len(data)), io.BytesIO(data))
        written = set(documents)
        for layer in layers:
            name = _blob(layer.digest)
            if name not in written:
                _add(tar, name, layer)
            written.add(name)


def _docker_manifest(image: Image, reference: Reference | None) -> bytes:
    names = [f"{reference.name}:{reference.tag}"] if reference and reference.tag else None
    return msgspec.json.encode(
        [
            {
                "Config": _blob(image.id),
                "RepoTags": names,
                "Layers": [_blob(layer.digest) for layer in image.layers],
            }
        ]
    )


def _blob(digest: str) -> str:
    return f"blobs/sha256/{hex_of(digest)}"


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o644
    return member


def _add(tar: tarfile.TarFile, name: str, layer: Layer) -> None:
    if layer.content.size != layer.size:
        raise ImageError(f"layer '{layer.name}' has {layer.content.size} bytes, not {layer.size}")
    with layer.content.open() as content:
        tar.addfile(_member(name, layer.size), content)
