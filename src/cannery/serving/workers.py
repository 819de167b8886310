"""Several serving processes behind one socket: the killed are replaced, signals are passed on."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterable
from types import FrameType

PAUSE = 1.0
"""Seconds before a worker that was killed is replaced, so that a crash at start is no storm."""

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""What ends the service."""

_log = logging.getLogger(__name__)


def supervise(count: int, start: Callable[[int], int]) -> int:
    """Keep `count` child processes running until a signal comes; return the exit status.

    `start` forks one for a slot, from 0 on, and returns its process id. A worker that ends by itself ends the service with its status; one that is killed is replaced.
    """
    workers: dict[int, int] = {}
    leaving = False

    def leave(number: int, _frame: FrameType | None) -> None:
        nonlocal leaving
        leaving = True
        _tell(workers, number)

    former = {s: signal.signal(s, leave) for s in SIGNALS}
    status = 0
    try:
        while True:
            while len(workers) < count and not leaving:
                slot = min(set(range(count)) - set(workers.values()))
                workers[_started(start, slot)] = slot
            if not workers:
                return status
            ended, code = os.wait()
            if ended not in workers:
                continue  # an orphan that was left to process 1
            del workers[ended]
            if leaving:
                continue
            if os.WIFEXITED(code):
                status = os.WEXITSTATUS(code)
                leaving = True
                _tell(workers, signal.SIGTERM)
            else:
                _log.error("worker %d was killed by signal %d", ended, os.WTERMSIG(code))
                time.sleep(PAUSE)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _started(start: Callable[[int], int], slot: int) -> int:
    """Start a worker with the signals held, so that none is lost between its birth and its name."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        return start(slot)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _tell(workers: Iterable[int], number: int) -> None:
    for worker in list(workers):
        try:
            os.kill(worker, number)
        except ProcessLookupError:
            continue
