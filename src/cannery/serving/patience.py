"""How long requests are waited for: as long as each may take, and no longer than the service stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Patience:
    """Every wait of a process for what callers send, or for the model's turn."""

    def __init__(self) -> None:
        self.ended = False
        """Whether the service goes, so that nothing is waited for any more."""
        self._waits: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def within(self, seconds: float) -> AsyncIterator[None]:
        """Wait in the block for so many seconds at most; raises TimeoutError."""
        async with asyncio.timeout(0 if self.ended else seconds) as wait:
            self._waits.add(wait)
            try:
                yield
            finally:
                self._waits.discard(wait)

    def end(self) -> None:
        """Let every wait end now, so that there is time left to say so."""
        self.ended = True
        now = asyncio.get_running_loop().time()
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(now)
