"""What a user is shown to fill in: tables of `cannery.toml`, with what is known."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from cannery.signatures import Feature

_SHOWN = 40


def features_table(features: Sequence[Feature]) -> str:
    """Return the `[features]` table of `cannery.toml` with what is known of each column."""
    lines = [f"{_key(f.name)} = {_told(f)}" for f in features[:_SHOWN]]
    if len(features) > _SHOWN:
        lines.append(f"# and {len(features) - _SHOWN} more")
    return "\n".join(["[features]", *lines])


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _told(feature: Feature) -> str:
    if feature.categories is None:
        return json.dumps(feature.type)
    values = json.dumps(list(feature.categories), ensure_ascii=False)
    return f'{{ type = "{feature.type}", categories = {values} }}'
