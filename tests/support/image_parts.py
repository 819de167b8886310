"""Images made by intent: layers are lists of entries, and the image is what they make."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

from cannery.blobs import digest_bytes, hex_of
from cannery.oci.contents import Content
from cannery.oci.descriptors import Image, Layer, Media, manifest_of


def file(name: str, data: bytes = b"", mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    """Return a regular file for a layer."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), mode
    return member, data


def folder(name: str, mode: int = 0o755) -> tuple[tarfile.TarInfo, bytes]:
    """Return a folder for a layer."""
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, mode
    return member, b""


def link(name: str, target: str, *, hard: bool = False) -> tuple[tarfile.TarInfo, bytes]:
    """Return a symbolic or hard link for a layer."""
    member = tarfile.TarInfo(name)
    member.type = tarfile.LNKTYPE if hard else tarfile.SYMTYPE
    member.linkname = target
    return member, b""


def make_layer(
    store: Path, *entries: tuple[tarfile.TarInfo, bytes], compressed: bool = True
) -> Layer:
    """Write a layer with these entries into the folder `store`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member, data in entries:
            tar.addfile(member, io.BytesIO(data))
    plain = buffer.getvalue()
    packed = gzip.compress(plain, mtime=0) if compressed else plain
    store.mkdir(parents=True, exist_ok=True)
    path = store / hex_of(digest_bytes(packed))
    path.write_bytes(packed)
    return Layer(
        name="files",
        content=Content.of(path),
        digest=digest_bytes(packed),
        size=len(packed),
        diff_id=digest_bytes(plain),
        unpacked=len(plain),
        compression="gzip" if compressed else "none",
    )


def make_image(*layers: Layer, media: Media = "docker", **settings: object) -> Image:
    """Return an image of these layers; `settings` is the `config` part of its config."""
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2026-01-01T00:00:00Z",
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [{"created_by": layer.name} for layer in layers],
        }
    ).encode()
    return Image(
        config=config, manifest=manifest_of(config, layers, media), layers=layers, media=media
    )
