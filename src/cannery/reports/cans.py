"""A can as a person reads it, in a few lines."""

from __future__ import annotations

from collections.abc import Sequence

from cannery.cans.open import Can
from cannery.packs import parity_text
from cannery.reports.text import human_bytes

_SHOWN = 12
"""Columns that are named; of more, the rest is counted."""


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def can_text(can: Can) -> str:
    """Return a few lines on what the can holds, where it is from and what was proven."""
    manifest = can.manifest
    parity = manifest.parity
    rows = [
        ("can", f"{can.folder}"),
        ("digest", can.digest),
        ("model", f"{manifest.name} {manifest.version} ({manifest.task})"),
        ("source", manifest.source.resolved),
        ("runtime", f"{manifest.runtime}, {human_bytes(manifest.files[manifest.model].size)}"),
        ("takes", _listed([feature.name for feature in manifest.signature.features])),
        ("answers", _listed([output.name for output in manifest.signature.outputs])),
    ]
    if parity is not None:
        rows.append(("parity", parity_text(parity, manifest.task)))
    rows += [("note", note) for note in manifest.notes]
    return "\n".join(f"{name:<8} {text}" for name, text in rows)
