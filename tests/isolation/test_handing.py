"""What a worker is given: the bytes that were audited, copied once, and sealed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cannery.errors import IsolationError
from cannery.isolation.handing import handed, taken

SIZE = 200 << 20

MEASURE = """
import sys
from pathlib import Path
from cannery.isolation.handing import handed
from cannery.sources.holding import hold

def peak() -> int:
    # Not ru_maxrss: that counts the process that started this one too.
    return int(next(s.split()[1] for s in open("/proc/self/status") if s.startswith("VmHWM")))

before = peak()
with handed(hold(Path(sys.argv[1])).data) as memory:
    print(memory.seek(0, 2), peak() - before)
"""


def test_a_worker_gets_the_bytes_and_maps_them() -> None:
    """The descriptor is closed once they are mapped: with the map goes the memory."""
    with handed(b"abc" * 1000) as memory:
        inherited = os.dup(memory.fileno())
    with taken(inherited) as mapped:
        assert mapped[:] == b"abc" * 1000
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(inherited)


def test_nobody_changes_what_was_handed_over() -> None:
    """Neither by the descriptor nor by one that is opened anew can a worker write, cut or extend it."""
    with handed(b"model") as memory:
        again = os.open(f"/proc/self/fd/{memory.fileno()}", os.O_RDWR)
        for descriptor in (memory.fileno(), again):
            for change in (
                lambda d: os.pwrite(d, b"other", 0),
                lambda d: os.truncate(d, 1),
                lambda d: os.truncate(d, 100),
            ):
                with pytest.raises(PermissionError):
                    change(descriptor)
        os.close(again)
        assert os.pread(memory.fileno(), 100, 0) == b"model"


def test_a_large_model_is_handed_over_in_little_memory(tmp_path: Path) -> None:
    """It goes from its map into the sealed memory piece by piece."""
    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80\x05")
    os.truncate(path, SIZE)
    words = [sys.executable, "-c", MEASURE, str(path)]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    assert int(told[0]) == SIZE
    assert int(told[1]) << 10 < 30 << 20


def test_no_room_for_a_model_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory can't be had, the error says so, and nothing stays open."""

    def full(*_: object) -> int:
        raise OSError(12, "Cannot allocate memory")

    before = sorted(os.listdir("/proc/self/fd"))
    monkeypatch.setattr("fcntl.fcntl", full)
    with pytest.raises(IsolationError, match="Cannot allocate"):
        handed(b"model")
    assert sorted(os.listdir("/proc/self/fd")) == before
