"""Workers whose loop stands still: replaced while others answer, and never by a false alarm."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import httpx
from churn_cans import RECORD, MakeCan, Running, running

from cannery.processes import Finished, run

IMPATIENT = """
import os, sys
import cannery.serving.workers as workers
from cannery.serving.main import main
workers.PATIENCE, workers.FAREWELL = 4, 2
sys.exit(main(["serve"], os.environ))
"""
"""The program inside an image, which waits for seconds where it would wait for a minute."""
CREW = """
import os, sys, time
import cannery.serving.workers as workers
workers.LOOK = 0.1
def turn(board, slot, looks):
    for _ in range(looks):
        board.turn(slot)
        time.sleep(0.1)
"""


def children(service: Running) -> set[int]:
    """Return the process ids of the workers."""
    pid = service.process.pid
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def crew(program: str) -> Finished:
    """Run a program that supervises workers, to its end."""
    return run([sys.executable, "-c", CREW + program], env=dict(os.environ), timeout=60)


def test_a_worker_that_is_stuck_is_replaced_while_the_other_answers(make_can: MakeCan) -> None:
    """It stands still in the middle of its loop; no caller fails, and a fresh one takes its place."""
    words = [sys.executable, "-c", IMPATIENT]
    with running(make_can().folder, words=words, WORKERS="2", TIMEOUT="1") as service:
        first = children(service)
        httpx.post(service.url + "/predict", json=RECORD).raise_for_status()
        time.sleep(2.5)  # both loops have turned
        stuck = min(first)
        os.kill(stuck, signal.SIGSTOP)
        end = time.monotonic() + 30
        while stuck in (now := children(service)) or len(now) < 2:
            assert time.monotonic() < end
            answer = httpx.post(service.url + "/predict", json=RECORD, timeout=20)
            assert answer.status_code == 200
            time.sleep(0.1)
        assert len(first & now) == 1
        os.kill(max(first), signal.SIGSTOP)
        service.process.send_signal(signal.SIGTERM)
        status, log = service.end()
    assert status == 0
    assert f"worker {stuck} has been stuck for 4 s and is killed" in log
    assert f"worker {max(first)} has not ended in time and is killed" in log


def test_a_machine_that_slept_is_no_false_alarm(make_can: MakeCan) -> None:
    """Parent and workers stand still together, for longer than one alone may."""
    words = [sys.executable, "-c", IMPATIENT]
    with running(make_can().folder, words=words, WORKERS="2", TIMEOUT="1") as service:
        first = children(service)
        time.sleep(2.5)
        everybody = [service.process.pid, *first]
        for process in everybody:
            os.kill(process, signal.SIGSTOP)
        time.sleep(6)
        for process in everybody:
            os.kill(process, signal.SIGCONT)
        time.sleep(3)
        assert children(service) == first
        service.process.send_signal(signal.SIGTERM)
        status, log = service.end()
    assert status == 0
    assert "stuck" not in log


def test_a_worker_may_load_its_model_for_any_time() -> None:
    """Nobody judges a loop that has not begun; its own end is the end of the service."""
    finished = crew("""
def work(board, slot):
    time.sleep(2)
    turn(board, slot, 5)
    return 7
sys.exit(workers.supervise(1, work, patience=10))
""")
    assert finished.status == 7
    assert finished.stderr == b""


def test_one_that_gets_stuck_again_and_again_is_replaced_each_time() -> None:
    """The successor in its slot turns on from where the last one stood still."""
    finished = crew("""
def work(board, slot):
    if board.turns(slot) > 8:
        return 7
    turn(board, slot, 4)
    time.sleep(60)
sys.exit(workers.supervise(1, work, patience=10))
""")
    assert finished.status == 7
    assert finished.stderr.count(b"has been stuck for 10 s") == 3
    assert finished.stderr.count(b"was killed by signal 9") == 3
