"""Several serving processes behind one socket: the killed and the stuck are replaced, signals are passed on."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

from cannery.serving.boards import Board

PAUSE = 1.0
"""Seconds before a worker that was killed is replaced, so that a crash at start is no storm."""
LOOK = 1.0
"""Seconds between two looks at whether the workers' loops turn."""
PATIENCE = 60
"""Looks, at the least, for which a loop may stand still."""
FAREWELL = 9
"""Looks for which workers that were told to end are waited for; orchestrators kill after 10 seconds."""

_LEAVE = frozenset({signal.SIGTERM, signal.SIGINT})
"""What ends the service."""
_CHILD = frozenset({signal.SIGCHLD})

_log = logging.getLogger(__name__)

Work = Callable[[Board, int], int]
"""Serve in a slot of the board, from 0 on, until a signal comes; return the exit status."""


def supervise(count: int, work: Work, *, patience: int = PATIENCE) -> int:
    """Keep `count` processes at work until a signal comes; return the exit status.

    One that ends by itself ends the service, with its status; one that is killed is replaced, and so is
    one whose loop has not turned for `patience` looks: it takes connections and answers none.
    """
    return _Crew(count, work, patience).keep()


@dataclass(slots=True)
class _Worker:
    """A child process, as it was seen last."""

    slot: int
    turns: int
    loaded: bool = False
    """Whether its loop turns by now: to load a model may take any time."""
    still: int = 0
    """Looks since it turned. They are counted, not timed: clocks jump where a machine sleeps or is stopped."""


class _Crew:
    """The parent of the workers."""

    def __init__(self, count: int, work: Work, patience: int) -> None:
        self._board = Board(count)
        self._work = work
        self._patience = patience
        self._workers: dict[int, _Worker] = {}
        self._leaving = False
        self._farewell = FAREWELL
        self._status = 0

    def keep(self) -> int:
        """Do what `supervise` says."""
        former = {number: signal.signal(number, self._leave) for number in _LEAVE}
        signal.pthread_sigmask(signal.SIG_BLOCK, _CHILD)  # to wait for it no longer than a look
        try:
            while True:
                self._fill()
                if not self._workers:
                    return self._status
                if signal.sigtimedwait(_CHILD, LOOK) is None:
                    self._look()
                self._reap()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _CHILD)
            for number, handler in former.items():
                signal.signal(number, handler)

    def _fill(self) -> None:
        """Start who is missing, with the signals held, so that none is lost between a birth and its note."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _LEAVE)
        try:
            taken = {worker.slot for worker in self._workers.values()}
            for slot in set(range(self._board.slots)) - taken:
                if not self._leaving:
                    self._workers[self._fork(slot)] = _Worker(slot, self._board.turns(slot))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _LEAVE)

    def _fork(self, slot: int) -> int:
        """Return the process id of a new worker; in the worker this never returns."""
        if child := os.fork():
            return child
        status = 1
        try:
            for number in _LEAVE:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _LEAVE | _CHILD)
            status = self._work(self._board, slot)
        except Exception:  # the child ends here, so that nobody else would tell
            traceback.print_exc()
        finally:
            os._exit(status)

    def _look(self) -> None:
        """Kill who is stuck; who then comes to be missing is replaced."""
        if self._leaving:
            self._farewell -= 1
        for process, worker in self._workers.items():
            turns = self._board.turns(worker.slot)
            worker.still += 1
            if turns != worker.turns:
                worker.turns, worker.loaded, worker.still = turns, True, 0
            if self._leaving and self._farewell <= 0:
                _log.error("worker %d has not ended in time and is killed", process)
                os.kill(process, signal.SIGKILL)
            elif worker.loaded and worker.still >= self._patience and not self._leaving:
                _log.error("worker %d has been stuck for %d s and is killed", process, worker.still)
                os.kill(process, signal.SIGKILL)

    def _reap(self) -> None:
        """Take leave of those that have ended."""
        while self._workers:
            ended, code = os.waitpid(-1, os.WNOHANG)
            if not ended:
                return
            known = self._workers.pop(ended, None)  # else an orphan that was left to process 1
            if known is None or self._leaving:
                continue
            if os.WIFEXITED(code):
                self._status = os.WEXITSTATUS(code)
                self._leave(signal.SIGTERM, None)
            else:
                _log.error("worker %d was killed by signal %d", ended, os.WTERMSIG(code))
                time.sleep(PAUSE)

    def _leave(self, number: int, _frame: FrameType | None) -> None:
        self._leaving = True
        for process in list(self._workers):
            with contextlib.suppress(ProcessLookupError):  # it has just been taken leave of
                os.kill(process, number)
