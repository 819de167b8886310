"""Several workers: as many as fit, and one account of what all of them did."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import httpx
import pytest
from churn_cans import RECORD, MakeCan, running, until

from cannery.processes import run
from cannery.serving.boards import SLOT, Board
from cannery.serving.cgroups import EACH, memory, processors, workers_for
from cannery.serving.metrics import Metrics
from cannery.serving.settings import settings_of


def limits(root: Path, **files: str) -> Path:
    """Write the files of a cgroup."""
    for name, text in files.items():
        place = root / name.replace("__", "/").replace("_max", ".max")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text + "\n")
    return root


@pytest.mark.parametrize(("quota", "count"), [("150000 100000", 2), ("10000 100000", 1)])
def test_the_quota_of_the_cgroup_counts(
    tmp_path: Path, quota: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of a processor is one; without a quota it is the affinity."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    assert processors(limits(tmp_path, cpu_max=quota)) == count
    assert processors(limits(tmp_path, cpu_max="max 100000")) == 8
    assert processors(tmp_path / "nothing") == 8


def test_memory_limits_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes its own and its model's; one there is always."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    root = limits(tmp_path, memory_max=str(3 * EACH))
    assert workers_for(1 << 10, root=root) == 2
    assert workers_for(1 << 30, root=root) == 1
    assert workers_for(1 << 30, root=tmp_path / "nothing") == 8
    assert memory(limits(tmp_path, memory_max="max")) is None


def test_what_all_workers_map_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of which most is mapped leaves place for many; one that fills the container for one."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    root = limits(tmp_path, memory_max=str(10 * EACH))
    assert workers_for(1 << 10, 5 * EACH, root) == 4
    assert workers_for(5 * EACH, 0, root) == 1
    assert workers_for(1 << 10, 20 * EACH, root) == 1


def test_the_number_may_be_left_to_the_service() -> None:
    """`WORKERS=auto`; one without a word."""
    assert settings_of({"WORKERS": "auto"}).workers == 0
    assert settings_of({}).workers == 1


def test_what_siblings_counted_is_told_by_each() -> None:
    """Sums over the board; a successor counts on, but nothing of its predecessor's is in flight."""
    board = Board(2)
    first, second = (Metrics({}, 0.0, board=board, slot=slot) for slot in (0, 1))
    for metrics in (first, second, second):
        metrics.observe("POST", "/predict", 200, 0.002)
        metrics.tally.in_flight += 1
        metrics.tally.canary = metrics is first
        metrics.publish()
    successor = Metrics({}, 0.0, board=board, slot=1)
    successor.observe("POST", "/predict", 200, 0.2)
    text = successor.text().decode()
    assert 'http_requests_total{method="POST",path="/predict",code="200"} 4' in text
    assert 'http_request_duration_seconds_bucket{path="/predict",le="0.0025"} 3' in text
    assert "http_requests_in_flight 1\n" in text
    assert "cannery_canary_ok 0" in text


def test_a_slot_that_is_torn_or_too_long_is_not_read() -> None:
    """Half a write is no account; what does not fit leaves the last one."""
    board = Board(1)
    assert board.read(0) is None
    board.write(0, b"account")
    board.write(0, b"x" * SLOT)
    assert board.read(0) == b"account"
    board._memory[9] = board._memory[9] ^ 1
    assert board.read(0) is None


def test_two_workers_tell_one_account_and_a_killed_one_is_counted_on(make_can: MakeCan) -> None:
    """Over many connections both are asked; whoever is scraped tells of all, also after a kill."""
    with running(make_can().folder, WORKERS="2") as service:

        def ask(times: int) -> None:
            for _ in range(times):
                assert httpx.post(service.url + "/predict", json=RECORD).status_code == 200

        def told() -> set[int]:
            texts = [httpx.get(service.url + "/metrics").text for _ in range(6)]
            pattern = r'http_requests_total{method="POST",path="/predict",code="200"} (\d+)'
            return {int(found[1]) for text in texts if (found := re.search(pattern, text))}

        def workers() -> list[str]:
            pid = service.process.pid
            return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

        ask(20)
        until(lambda: told() == {20})
        first = workers()
        run(["kill", "-9", first[0]])
        until(lambda: len(workers()) == 2 and first[0] not in workers())
        ask(5)
        until(lambda: told() == {25})
        service.process.send_signal(signal.SIGTERM)
        assert service.end()[0] == 0
