"""Sources of randomness: the place at which they stand in their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cannery.bounds.things import Items, Thing, integer

_PLACES = {"MT19937": ("pos", 624), "Philox": ("buffer_pos", 4)}


def source(thing: Thing) -> str | None:
    """Judge the state of a bit generator, or of what holds one."""
    for state in _states(thing.state):
        key, limit = _PLACES.get(str(state.get("bit_generator")), ("", 0))
        inner = state.get("state")
        if not key:
            continue
        place = state.get(key, inner.get(key) if isinstance(inner, Mapping) else None)
        if not 0 <= integer(place) <= limit:
            return "stands at a place that it has not"
    return None


def _states(state: Any) -> list[Mapping[str, Any]]:
    """Return the dictionaries of a state; before numpy 1.17 it was a tuple, as is a state with its seed."""
    if isinstance(state, Mapping):
        return [state]
    if isinstance(state, Items) and len(state) >= 3 and isinstance(state[0], str):
        return [{"bit_generator": state[0], "pos": state[2]}]
    if isinstance(state, Items):
        return [part for part in state if isinstance(part, Mapping)]
    return []
