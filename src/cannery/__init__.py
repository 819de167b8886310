"""Cannery: from a trained model to a sealed image that scores.

    can = cannery.pack(pipeline, sample=frame, output="churn.can")
    built = cannery.build(can, tag="churn-model:v1")
    cannery.Client("http://churn:8080").predict(rows)

The names are imported when they are first used: this file travels into images, the line does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cannery.builds import BuildOptions as BuildOptions
    from cannery.client import AsyncClient as AsyncClient
    from cannery.client import Client as Client
    from cannery.errors import CanneryError as CanneryError
    from cannery.line import build as build
    from cannery.line import pack as pack
    from cannery.packs import PackOptions as PackOptions

_HOMES = {
    "AsyncClient": "cannery.client",
    "BuildOptions": "cannery.builds",
    "CanneryError": "cannery.errors",
    "Client": "cannery.client",
    "PackOptions": "cannery.packs",
    "build": "cannery.line",
    "pack": "cannery.line",
}

__all__ = ["AsyncClient", "BuildOptions", "CanneryError", "Client", "PackOptions", "build", "pack"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cannery' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
