"""An image of two layers with a small can in the upper one, or without any can."""

from __future__ import annotations

from pathlib import Path

from image_parts import file, folder, make_image, make_layer
from small_cans import make_can

from cannery.blobs import Blob
from cannery.images.layers import layer_of_files
from cannery.images.recipe import CAN
from cannery.oci.descriptors import Image


def model_image(place: Path, *, baked: bool = True) -> Image:
    """Return an image of a small model, or of none."""
    system = make_layer(place / "store", folder("opt"), file("usr/bin/x", b"one"))
    labels = {"dev.cannery.model.name": "Churn_Model", "dev.cannery.runtime": "onnx"}
    if not baked:
        return make_image(system, Labels=labels)
    can = make_can(place / "small.can")
    files = {path.name: Blob.of(path) for path in can.folder.iterdir()}
    return make_image(system, layer_of_files("can", CAN, files), Labels=labels)
