"""Open layers."""

from __future__ import annotations

import gzip
import io
import tarfile

from cannery.oci.descriptors import Layer


def tar_of(layer: Layer) -> tarfile.TarFile:
    """Open a layer's tar."""
    data = b"".join(layer.content.pieces())
    return tarfile.open(fileobj=io.BytesIO(gzip.decompress(data) if layer.compressed else data))
