"""How large and how slow an image may be, and what grew when it is over."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cannery.errors import BudgetError, UsageError
from cannery.images.store import Store
from cannery.oci.descriptors import Image
from cannery.oci.references import Reference
from cannery.proofs.nouns import Proof

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20}
_UNITS["gib"] = 2**30
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """Limits of an image; None: no limit."""

    size: int | None = None
    """Bytes of all layers as they travel."""
    start: float | None = None
    """Seconds from the start of the container to its first healthy answer."""
    memory: int | None = None
    """Resident bytes after the canary."""


def parse_size(text: str | int | None, place: str) -> int | None:
    """Return bytes of `60 MB`, `0.5 GiB` or a plain number; raises UsageError naming `place`."""
    if text is None or isinstance(text, int):
        return text
    told = _SIZE.fullmatch(text.strip())
    if told is None or told[2].lower() not in _UNITS:
        raise UsageError(f"'{text}' at {place} is no size", hint='write it like "60 MB"')
    return round(float(told[1]) * _UNITS[told[2].lower()])


def check_budgets(
    budgets: Budgets, image: Image, proof: Proof | None, reference: Reference, store: Store
) -> None:
    """Raise BudgetError where an image is over a limit, saying what grew since the last one of that name.

    One that is within them is remembered, to be compared with the next.
    """
    sizes = {layer.name: layer.size for layer in image.layers}
    key = {"within budget": reference.name, "architecture": image.architecture}
    measured: list[tuple[str, float | None, float | None, str]] = [
        ("size", image.size, budgets.size, "bytes"),
        ("start", proof.cold_start if proof else None, budgets.start, "s"),
        ("memory", proof.memory if proof else None, budgets.memory, "bytes"),
    ]
    over = [
        f"{name} is {_shown(found, unit)}, {_shown(limit, unit)} allowed"
        for name, found, limit, unit in measured
        if limit is not None and found is not None and found > limit
    ]
    if over:
        before = store.recall(key, dict[str, int]) or {}
        grown = _grown(before, sizes)
        raise BudgetError(
            f"'{reference}' is over budget: {'; '.join(over)}{grown}",
            hint="`cannery inspect` shows what each layer holds; the limits stand under [image]",
        )
    store.remember(key, sizes)


def _grown(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """Return which layer grew most since the last image that was within its budgets."""
    growth = {name: size - before.get(name, 0) for name, size in after.items()}
    name = max(growth, key=lambda n: growth[n], default=None)
    if not before:
        largest = max(after, key=lambda n: after[n], default=None)
        return f"; the largest layer is '{largest}'" if largest else ""
    if name is None or growth[name] <= 0:
        return "; no layer grew since the last one"
    return f"; since the last one the layer '{name}' grew by {_shown(growth[name], 'bytes')}"


def _shown(value: float | None, unit: str) -> str:
    if value is None:
        return "unknown"
    return f"{value / 1e6:.1f} MB" if unit == "bytes" else f"{value:.2f} s"
