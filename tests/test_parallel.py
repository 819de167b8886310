"""Work in several threads: results in order, the first error at once, and no waiting for the silent."""

from __future__ import annotations

import threading
import time

import pytest

from cannery.parallel import PATIENCE, each


def test_results_come_in_the_order_of_the_items() -> None:
    """Whoever ends first, the first item's result is the first."""

    def slow_first(item: int) -> int:
        time.sleep(0.05 if item == 0 else 0)
        return item * item

    assert list(each(slow_first, range(6), at_once=3)) == [0, 1, 4, 9, 16, 25]


def test_no_more_run_at_once_than_asked() -> None:
    """The bound on threads holds."""
    running, most, lock = 0, 0, threading.Lock()

    def watch(_: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    list(each(watch, range(10), at_once=2))
    assert most == 2


def test_the_first_error_ends_it() -> None:
    """What has not begun when it is raised never begins."""
    begun = []

    def fail(item: int) -> None:
        begun.append(item)
        if item:
            time.sleep(0.05)
        else:
            raise ValueError("item 0")

    with pytest.raises(ValueError, match="item 0"):
        list(each(fail, range(100), at_once=1))
    assert len(begun) < 100


def test_nobody_waits_for_a_thread_that_waits() -> None:
    """An interrupt while a server is silent ends at once, and leaves the thread to the process."""
    answer = threading.Event()
    results = each(lambda item: item or answer.wait(), [1, 0], at_once=2)
    began = time.monotonic()
    assert next(results) == 1
    results.close()
    passed = time.monotonic() - began
    answer.set()
    assert passed < PATIENCE + 5
