"""Where the can comes from: asked at start, and again while it is watched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cannery.cans.open import Can, open_can
from cannery.errors import UsageError
from cannery.serving.settings import Settings, found_can


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Says which can should be served by now."""

    find: Callable[[], Can]
    """Fetch and open it, every byte verified."""
    keep: Callable[[Can], None] = lambda _: None
    """Remember that this can's canary came out right: it is the one to fall back to."""


def origin_of(settings: Settings, env: Mapping[str, str]) -> Origin:
    """Return the address that `MODEL_URI` names, else the folder of the can.

    Raises UsageError where a key is set that would vouch for nothing.
    """
    uri = settings.model_uri
    if uri is None and env.get("PULL_KEY"):
        raise UsageError(
            "PULL_KEY is set, but MODEL_URI is not: a can that lies in the image or is mounted "
            "would be served without a look at who signed it",
            hint="name a mounted can in MODEL_URI; one in the image is covered by the image's signature",
        )
    if uri is None:
        return Origin(find=lambda: open_can(found_can(settings.can, env)))

    def find() -> Can:
        from cannery.serving.pull import fetch  # an HTTP client: a baked can needs none

        return fetch(uri, settings.cache, env)

    def keep(can: Can) -> None:
        from cannery.serving.pull import remember

        remember(uri, can, settings.cache, env)

    return Origin(find=find, keep=keep)
