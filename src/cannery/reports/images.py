"""An image as a person and as a program reads it."""

from __future__ import annotations

from typing import Any

import msgspec

from cannery.builds import Built
from cannery.images.plan import Mode
from cannery.oci.descriptors import Image
from cannery.reports.text import human_bytes


def layers_text(image: Image) -> list[str]:
    """Return one line a layer: name, bytes as they travel, bytes unpacked, digest."""
    return [
        f"  {layer.name:<13} {human_bytes(layer.size):>9} {human_bytes(layer.unpacked):>9}"
        f"  {layer.digest[:19]}"
        for layer in image.layers
    ]


def built_text(built: Built) -> str:
    """Return what was built, layer by layer, and where it is."""
    image = built.image
    lines = [
        f"image    {built.reference}",
        f"digest   {image.digest}",
        f"model    {built.manifest.name} {built.manifest.version}, can {built.can_digest[:19]}",
        f"size     {human_bytes(image.size)}, unpacked {human_bytes(image.unpacked)}",
        *layers_text(image),
    ]
    if built.proof is None:
        lines.append(f"proof    not tried: this machine starts no {image.architecture} programs")
    return "\n".join(lines + [f"in       {place}" for place in built.delivered])


def next_words(built: Built, mode: Mode) -> tuple[str, ...]:
    """Return the command that uses the image where it is now."""
    place = built.delivered[0]
    for engine in ("docker", "podman"):
        if place.startswith(f"{engine} image "):
            uri = ("-e", "MODEL_URI=models:/NAME@ALIAS") if mode == "pull" else ()
            flags = ("--rm", "--read-only", *uri, "-p", "8080:8080")
            return (engine, "run", *flags, str(built.reference))
    if place.startswith("archive "):
        return ("docker", "load", "-i", place.removeprefix("archive "))
    if place.startswith("registry "):
        return ("cannery", "manifest", place.removeprefix("registry "))
    return ("cannery", "inspect", place.removeprefix("OCI layout "))


def built_document(built: Built) -> dict[str, Any]:
    """Return what was built as plain JSON values."""
    image = built.image
    return {
        "reference": str(built.reference),
        "digest": image.digest,
        "id": image.id,
        "size": image.size,
        "unpacked": image.unpacked,
        "architecture": image.architecture,
        "layers": [
            {
                "name": layer.name,
                "digest": layer.digest,
                "diff_id": layer.diff_id,
                "size": layer.size,
                "unpacked": layer.unpacked,
            }
            for layer in image.layers
        ],
        "can": {"digest": built.can_digest, **msgspec.to_builtins(built.manifest)},
        "proof": msgspec.to_builtins(built.proof),
        "advisories": msgspec.to_builtins(built.advisories),
        "delivered": list(built.delivered),
    }
