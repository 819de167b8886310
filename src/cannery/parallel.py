"""Several things at a time, and an interrupt that waits for none that waits itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TypeVar

PATIENCE = 1.0
"""Seconds that a thread has to end what it writes, once nobody wants the results any more."""

T = TypeVar("T")
R = TypeVar("R")


def each(function: Callable[[T], R], items: Iterable[T], *, at_once: int) -> Iterator[R]:
    """Yield `function(item)` for every item, in their order, from up to `at_once` threads.

    The first exception is raised and begins nothing further. A thread that then waits for a silent
    server is left to end with the process; `concurrent.futures` would wait for it.
    """
    queue: SimpleQueue[tuple[T, Future[R]]] = SimpleQueue()
    results: list[Future[R]] = []
    for item in items:
        results.append(Future())
        queue.put((item, results[-1]))
    over = Event()

    def work() -> None:
        while not over.is_set():
            try:
                item, result = queue.get_nowait()
            except Empty:
                return
            try:
                result.set_result(function(item))
            except BaseException as error:  # the caller's to raise
                result.set_exception(error)

    threads = [Thread(target=work, daemon=True) for _ in range(min(at_once, len(results)))]
    for thread in threads:
        thread.start()
    try:
        for result in results:
            yield result.result()
    finally:
        over.set()
        end = time.monotonic() + PATIENCE
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
