"""uvicorn's protocol with limits of our own on the head of a request."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 20.0
"""In which a request's head must be here whole: callers who dawdle would take every connection."""
HEAD_LIMIT = 64 << 10
"""Bytes of a head after which no further ones are read."""
LINGER = 1.0
"""Seconds for which an idle connection is heard when the service ends: a request may be on its way."""


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which waits for a request's head neither forever nor for any number of bytes."""

    head_seconds = HEAD_SECONDS
    head_limit = HEAD_LIMIT

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._late: asyncio.TimerHandle | None = None
        self._head = 0
        self._begun = False
        self._leaving = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the first head from now on."""
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._come()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes before a head is whole; also on a connection that was kept."""
        if self._late is not None and self._head > self.head_limit:
            self._come()
            self.send_400_response("The head of the request is too long.")
            return
        self._head += len(data)
        super().data_received(data)
        if self._begun and self._late is None:
            self._expect()
        if self._leaving:
            self._say_farewell()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the way open to a caller who has said everything and is due answers; the last one ends it.

        With TLS there are no halves of a connection.
        """
        cycle = self.cycle
        due = cycle is not None and not (cycle.more_body or cycle.response_complete)
        if not due or self.scheme == "https":
            return False
        self._come()
        self._say_farewell()
        return True

    def shutdown(self) -> None:
        """Answer what has begun or is on its way, and hang up then."""
        self._leaving = True
        self._say_farewell()
        self.loop.call_later(LINGER, self._hang_up)

    def on_message_begin(self) -> None:
        """Note that a head has begun; most are whole when the data that brought them is read."""
        self._begun = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Be patient again: a body has a limit of its own."""
        self._come()
        super().on_headers_complete()

    def _expect(self) -> None:
        self._head = 0
        self._late = self.loop.call_later(self.head_seconds, self.transport.close)

    def _come(self) -> None:
        self._begun = False
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _say_farewell(self) -> None:
        """Let the last answer say that the connection ends."""
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def _hang_up(self) -> None:
        """Close the connection, unless something is being asked, or answered, on it."""
        if not self._begun and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()
