"""What an image stands on below its model: proven whole once, it is not tried again for every further model."""

from __future__ import annotations

from typing import Any

import msgspec

from cannery.engines.engine import Engine
from cannery.oci.descriptors import Image
from cannery.oci.documents import Config, decode


def foundation_of(image: Image, engine: Engine) -> dict[str, Any]:
    """Return all that decides how `image` starts, whatever model is in it, as a key for a store's memo.

    That is the engine, the layers below the can's, and the settings but for the labels.
    """
    settings = decode(image.config, Config, "the image's config").config
    return {
        "proven in": engine.name,
        "layers": [layer.diff_id for layer in image.layers if layer.name != "can"],
        "settings": msgspec.to_builtins(msgspec.structs.replace(settings, labels=None)),
    }
