"""Archives of images, as `docker save`, Podman, skopeo and Cannery write them, read back."""

from __future__ import annotations

import posixpath
import shutil
import tarfile
import zlib
from lzma import LZMAError
from pathlib import Path

import msgspec

from cannery.blobs import digest_bytes, digest_file, parse_json
from cannery.errors import ImageError, SourceError
from cannery.oci.descriptors import CONFIG, LAYER_TYPES, MANIFEST, Compression, Image, Media
from cannery.oci.layout import MARK, image_of, read_json, read_layout

DAMAGES = (tarfile.TarError, EOFError, zlib.error, LZMAError)
"""What reading an archive that is damaged, or none, may raise."""
_MAGIC: dict[bytes, Compression] = {b"\x1f\x8b": "gzip", b"\x28\xb5": "zstd"}


class Saved(msgspec.Struct, frozen=True, rename="pascal"):
    """An image in `manifest.json`."""

    config: str
    layers: tuple[str, ...]


def only_saved(data: bytes | None, place: str) -> Saved:
    """Return the one image of `manifest.json`; raises ImageError where there is none, or another number."""
    if data is None:
        raise ImageError(f"'{place}' is no archive of an image: it has no manifest.json")
    try:
        found = parse_json(data, list[Saved])
    except msgspec.DecodeError as error:
        raise ImageError(f"'{place}' holds no image: its manifest.json: {error}") from error
    if len(found) != 1:
        raise ImageError(f"'{place}' holds no single image, but {len(found)}")
    return found[0]


def read_archive(path: Path, folder: Path, architecture: str) -> Image:
    """Unpack an archive into the new `folder` and return its image, every digest checked.

    Raises SourceError, and ImageError for what is no archive of a single image.
    """
    files = _unpack(path, folder)
    if MARK in files:
        return read_layout(folder, architecture=architecture)
    listing = files.get("manifest.json")
    saved = only_saved(read_json(listing) if listing else None, str(path))
    for name in (saved.config, *saved.layers):
        if name not in files:
            raise ImageError(f"'{path}' lacks '{name}', which it names")
    return _put_together(read_json(files[saved.config]), [files[name] for name in saved.layers])


def _unpack(path: Path, folder: Path) -> dict[str, Path]:
    """Write the regular files of an archive below `folder`; return them by name, links to them included."""
    files: dict[str, Path] = {}
    links = {}
    try:
        with tarfile.open(path, "r|*") as tar:
            for member in tar:
                name = posixpath.normpath(member.name)
                if member.issym() or member.islnk():
                    beside = posixpath.dirname(name) if member.issym() else ""
                    links[name] = posixpath.normpath(posixpath.join(beside, member.linkname))
                content = tar.extractfile(member) if member.isreg() else None
                if content is None or name.startswith(("/", "..")) or member.issparse():
                    continue
                files[name] = folder / name
                files[name].parent.mkdir(parents=True, exist_ok=True)
                with files[name].open("wb") as out:
                    shutil.copyfileobj(content, out)
    except DAMAGES as error:
        raise ImageError(f"'{path}' is no archive of an image: {error}") from error
    except OSError as error:
        raise SourceError(f"can't unpack '{path}': {error.strerror or error}") from error
    return {**files, **{name: files[to] for name, to in links.items() if to in files}}


def _put_together(config: bytes, files: list[Path]) -> Image:
    """Return the image of a config and its layers, which have no manifest of their own."""
    digests = {file: digest_file(file) for file in files}
    by_digest = {digest: file for file, digest in digests.items()}
    kinds = {file: _compression(file) for file in files}
    # Docker's own types, where they know the compression: with others Podman loses the health check.
    media: Media = "oci" if "zstd" in kinds.values() else "docker"
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST[media],
        "config": _descriptor(CONFIG[media], digest_bytes(config), len(config)),
        "layers": [
            _descriptor(LAYER_TYPES[media, kinds[file]], digests[file], file.stat().st_size)
            for file in files
        ],
    }
    return image_of(msgspec.json.encode(manifest), config, lambda d: by_digest[d.digest])


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _compression(file: Path) -> Compression:
    with file.open("rb") as stream:
        return _MAGIC.get(stream.read(2), "none")
