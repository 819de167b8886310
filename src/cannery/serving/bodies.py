"""The body of a request: whole, within its limits, and unpacked."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from cannery.errors import MalformedError
from cannery.serving.patience import Patience

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

SHARES = 4
"""How many of the longest bodies may be here at once: their memory is bounded, whoever sends them."""
MEMBERS = 256
"""Of a gzip body, which callers send in one, or in a few."""


class TooLarge(Exception):  # noqa: N818 - a message between two functions, never seen outside
    """The body is over the limit."""


class Crowded(Exception):  # noqa: N818 - the same
    """The bodies that are here already fill the memory that they may take."""


class Gone(Exception):  # noqa: N818 - the same
    """The caller hung up before its body was here."""


class Budget:
    """The memory that all bodies of this process may take together."""

    def __init__(self, limit: int) -> None:
        """Take the length of the longest body, in bytes."""
        self.limit = limit
        self.left = SHARES * limit

    def take(self, size: int) -> None:
        """Reserve bytes; raises Crowded."""
        if size > self.left:
            raise Crowded
        self.left -= size

    def give(self, size: int) -> None:
        """Return reserved bytes."""
        self.left += size


class Held:
    """What one request holds of the budget, given back when the block ends."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._size = 0

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.give(self._size)

    def grow(self, size: int) -> None:
        """Hold so many bytes more; raises Crowded."""
        self._budget.take(size)
        self._size += size

    async def read(
        self, headers: Mapping[bytes, bytes], receive: Receive, patience: Patience, seconds: float
    ) -> bytes:
        """Return the whole body.

        Raises TooLarge as soon as it is known to be, Crowded, Gone when it never ends, TimeoutError
        when it is not here in so many seconds.
        """
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self._budget.limit:
            raise TooLarge
        async with patience.within(seconds):
            return await self._parts(receive)

    async def _parts(self, receive: Receive) -> bytes:
        parts = []
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise Gone
            part = message.get("body", b"")
            if self._size + len(part) > self._budget.limit:
                raise TooLarge
            self.grow(len(part))
            parts.append(part)
            if not message.get("more_body", False):
                return parts[0] if len(parts) == 1 else b"".join(parts)


def unpacked(body: bytes, limit: int) -> bytes:
    """Return what a gzip body holds; raises TooLarge for more than `limit` bytes, MalformedError for no gzip."""
    parts: list[bytes] = []
    left = limit
    while body:  # one member after the other, behind each of which the rest is copied
        if len(parts) == MEMBERS:
            raise MalformedError(f"the gzip body has more than {MEMBERS} members")
        inflating = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            part = inflating.decompress(body, left + 1)
        except zlib.error as error:
            raise MalformedError("the body is not gzip") from error
        left -= len(part)
        if left < 0:
            raise TooLarge
        if not inflating.eof:
            raise MalformedError("the gzip body ends too early")
        parts.append(part)
        body = inflating.unused_data
    return b"".join(parts)
