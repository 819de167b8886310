"""A parity certificate as text for people."""

from __future__ import annotations

import json

from cannery.cans.manifest import CanManifest
from cannery.conversions.nouns import Parity
from cannery.errors import harmless


def certificate_text(manifest: CanManifest, parity: Parity) -> str:
    """Return the verdict, the differences by kind of row, and the row that is furthest off."""
    verdict = "equal" if parity.equal else "not equal"
    lines = [
        f"model    {manifest.name} {manifest.version} as {parity.runtime}",
        f"verdict  {verdict} on {parity.rows} rows (allowed: {parity.tolerance:g})",
        f"{'kind':10} {'rows':>6} {'largest':>9} {'99.9 %':>9} {'labels changed':>15}",
    ]
    lines += [
        f"{d.kind:10} {d.rows:>6} {d.maximum:>9.1e} {d.percentile999:>9.1e} {d.flips:>15}"
        for d in parity.differences
    ]
    if parity.decided:
        lines.append(f"labels   also {', '.join(parity.decided)}, decided from scores")
    if parity.worst is not None:
        record = json.dumps(parity.worst["record"], ensure_ascii=False)
        lines.append(f"furthest {record}")
        lines += [
            f"         {name}: {json.dumps(value)} by the original, "
            f"{json.dumps(parity.worst['converted'].get(name))} converted"
            for name, value in parity.worst["original"].items()
        ]
    lines += [f"refuses  {reason}" for reason in parity.refused]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(parity.versions.items()))
    lines.append(f"by       {versions}")
    return "\n".join(harmless(line) for line in lines)
