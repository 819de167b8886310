"""Look now and then which can it should be by now, and swap it in without dropping a request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from cannery.errors import CanneryError
from cannery.serving.http import Application
from cannery.serving.origins import Origin
from cannery.serving.service import Service, healthy
from cannery.serving.settings import Settings

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


class Watch:
    """Compares the can that is served with the one that should be."""

    def __init__(
        self,
        app: Application,
        settings: Settings,
        origin: Origin,
        adopt: Callable[[Service], None],
    ) -> None:
        self._app = app
        self._settings = settings
        self._origin = origin
        self._adopt = adopt
        self._refused = ""
        self._left = settings.watch
        self._looking: asyncio.Task[None] | None = None

    def tick(self) -> None:
        """Pass a second; look when it is time, unless the last look still lasts."""
        self._left -= 1
        if self._left <= 0 and (self._looking is None or self._looking.done()):
            self._left = self._settings.watch
            self._looking = asyncio.get_running_loop().create_task(self.look())

    async def look(self) -> None:
        """Load another can in a thread and swap it in; one that fails leaves the last good one in place."""
        swaps = self._app.desk.metrics.tally.swaps
        try:
            service = await _beside(self._candidate)
        except (CanneryError, OSError) as error:
            swaps["refused"] = swaps.get("refused", 0) + 1
            _log.error("the next can is not taken: %s", error)
            return
        if service is not None:
            self._adopt(service)
            swaps["taken"] = swaps.get("taken", 0) + 1
            manifest = service.manifest
            _log.info("serving %s %s (%s)", manifest.name, manifest.version, service.digest)

    def _candidate(self) -> Service | None:
        """Return the service of another can than the one that is served, its canary checked."""
        can = self._origin.find()
        if can.digest in (self._app.desk.service.digest, self._refused):
            return None
        self._refused = can.digest  # until it is served
        service = healthy(can, threads=self._settings.threads)
        self._origin.keep(can)
        return service


async def _beside(act: Callable[[], _T]) -> _T:
    """Act in a thread for which, unlike those of an executor, the end of the service need not wait."""
    loop = asyncio.get_running_loop()
    acted: asyncio.Future[_T] = loop.create_future()

    def settle(set_it: Callable[..., None], outcome: object) -> None:
        if not acted.done():
            set_it(outcome)

    def run() -> None:
        try:
            outcome: tuple[Callable[..., None], object] = (acted.set_result, act())
        except Exception as error:
            outcome = (acted.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody asks any more
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, daemon=True, name="watch").start()
    return await acted
