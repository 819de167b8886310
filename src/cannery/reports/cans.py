"""A can as a person reads it."""

from __future__ import annotations

from cannery.cans.open import Can
from cannery.reports.text import human_bytes


def can_text(can: Can) -> str:
    """Return a few lines on what the can holds, where it is from and what was proven."""
    manifest = can.manifest
    parity = manifest.parity
    rows = [
        ("can", f"{can.folder}"),
        ("digest", can.digest),
        ("model", f"{manifest.name} {manifest.version}, a {manifest.task}"),
        ("source", manifest.source.resolved),
        ("runtime", f"{manifest.runtime}, {human_bytes(manifest.files[manifest.model].size)}"),
        ("takes", ", ".join(feature.name for feature in manifest.signature.features)),
        ("answers", ", ".join(output.name for output in manifest.signature.outputs)),
    ]
    if parity is not None:
        rows.append(
            (
                "parity",
                f"{parity.rows} rows, {parity.flips} labels changed, largest difference {parity.maximum:.1e}",
            )
        )
    rows += [("note", note) for note in manifest.notes]
    return "\n".join(f"{name:<8} {text}" for name, text in rows)
