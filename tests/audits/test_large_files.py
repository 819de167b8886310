"""Files that are larger than what is held in memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pickles as p
import pytest

from cannery.audits.contents import content, gathered
from cannery.audits.facts import Facts
from cannery.audits.ledger import Ledger
from cannery.audits.limits import Limits
from cannery.audits.listing import listing
from cannery.audits.opcodes import BrokenProgramError
from cannery.audits.values import Opaque
from cannery.blobs import CHUNK, Blob
from cannery.errors import SourceError
from cannery.sources.windows import reading

SIZE = 300 << 20
"""Bytes of the large files, which are holes for the most part."""

MEASURE = """
import sys
from pathlib import Path
from cannery.audits.audit import audit
from cannery.blobs import Blob
from cannery.sources.source import Origin, Source

def peak() -> int:
    # Not ru_maxrss: that counts the process that started this one too.
    return int(next(s.split()[1] for s in open("/proc/self/status") if s.startswith("VmHWM")))

path = Path(sys.argv[1])
source = Source(origin=Origin(given="x", resolved="x"), format=sys.argv[2], main="x", files={"x": Blob.of(path)})
before = peak()
found = audit(source)
print(found.verdict, peak() - before)
"""


def _holes(path: Path, front: bytes, end: bytes) -> None:
    """Write a file of `SIZE` zero bytes between two ends."""
    with path.open("wb") as stream:
        stream.write(front)
        stream.truncate(len(front) + SIZE)
        stream.seek(0, os.SEEK_END)
        stream.write(end)


BYTES = p.dtype("u1", state=p.dtype_state("|"))
FILES = {
    "joblib": (p.make_pickle(p.MARK, p.wrapper(BYTES, p.pair(p.number(SIZE)), alignment=p.NONE), stop=b""),
               p.NONE + b"t."),
    "pickle": (p.make_pickle(p.EMPTY_LIST, b"\x8e" + SIZE.to_bytes(8, "little"), stop=b""), b"a."),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_a_large_file_is_audited_in_little_memory(tmp_path: Path, kind: str) -> None:
    """Arrays, and bytes within a plain pickle, are stepped over, whatever their size."""
    _holes(tmp_path / "large", *FILES[kind])
    words = [sys.executable, "-c", MEASURE, str(tmp_path / "large"), kind]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    assert told[0] == "safe"
    assert int(told[1]) << 10 < 40 << 20


def test_a_file_that_changes_during_its_audit_is_no_longer_the_same(tmp_path: Path) -> None:
    """What was hashed is what was read: writing into a mapped file is noticed when its audit ends."""
    (tmp_path / "model").write_bytes(p.make_pickle(p.listed(p.number(1))))
    blob = Blob.of(tmp_path / "model")
    with content(blob, Limits(memory=1)) as data:
        assert data[:] == (tmp_path / "model").read_bytes()
    with pytest.raises(SourceError, match="changed"), content(blob, Limits(memory=1)):
        os.utime(tmp_path / "model")


@pytest.mark.parametrize("change", ["cut", "written"])
def test_what_was_hashed_is_what_is_audited(tmp_path: Path, change: str) -> None:
    """A file that is cut or written to while it is audited neither ends the process nor shows other bytes."""
    path = tmp_path / "model"
    path.write_bytes(before := p.make_pickle(p.listed(p.number(1))) + bytes(1 << 16))
    blob = Blob.of(path)

    def audited() -> None:
        with content(blob, Limits(memory=1)) as data:
            with path.open("r+b") as stream:
                stream.write(b"other")
                stream.truncate(1 if change == "cut" else len(before))
            assert data[:] == before

    with pytest.raises(SourceError, match="changed"):
        audited()


def test_a_file_that_is_another_than_the_hashed_one_is_not_audited(tmp_path: Path) -> None:
    """A file of the same size that took its place before the audit is refused."""
    path = tmp_path / "model"
    path.write_bytes(b"a" * 100)
    blob = Blob.of(path)
    path.write_bytes(b"b" * 100)
    with pytest.raises(SourceError, match="changed"), content(blob, Limits(memory=1)):
        pass


def test_no_room_for_a_copy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large file that can't be copied is an error with its remedy."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    (tmp_path / "model").write_bytes(bytes(100))
    monkeypatch.setattr(os, "copy_file_range", full)
    blob = Blob.of(tmp_path / "model")
    with pytest.raises(SourceError, match="No space") as caught, content(blob, Limits(memory=1)):
        pass
    assert "TMPDIR" in str(caught.value.hint)


def test_a_file_system_that_copies_nothing_by_itself_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kernel can't copy between two file systems, the bytes go through the process."""

    def crossing(*_: object) -> int:
        raise OSError(18, "Invalid cross-device link")

    (tmp_path / "model").write_bytes(b"ab" * 100)
    monkeypatch.setattr(os, "copy_file_range", crossing)
    with content(Blob.of(tmp_path / "model"), Limits(memory=1)) as data:
        assert data[:] == b"ab" * 100


def test_a_file_that_becomes_shorter_while_it_is_told_is_an_error(tmp_path: Path) -> None:
    """Telling a format reads pieces: a piece that is gone is an error, and no signal."""
    path = tmp_path / "model"
    path.write_bytes(b"\x80\x04" + bytes(5000))
    with reading(path) as data:
        assert data.find(b"\x04\x00") == 1
        os.truncate(path, 10)
        with pytest.raises(OSError, match="shorter"):
            data[100:200]


def test_what_finds_no_room_is_not_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk ends the audit with a finding, and no traceback."""

    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    blocks, limits = [b"a" * 10, b"b" * 10], Limits(memory=15)
    with pytest.raises(BrokenProgramError, match="No space") as caught, gathered(blocks, limits):
        pass
    assert caught.value.severity == "unreadable"


@pytest.mark.parametrize("letter", ["a", "é", "€", "\U0001f40d", "\ud800"])
def test_a_long_string_is_measured_piece_by_piece(letter: str) -> None:
    """Its pieces end between characters, so that its length is that of the whole."""
    text = "xy" + letter * (CHUNK // 2)
    data = text.encode("utf-8", "surrogatepass") * 3
    found = Facts(Ledger(listing(), Limits())).text(data, 0, len(data), "utf-8")
    assert isinstance(found, Opaque)
    assert (found.type, found.size) == (str, 3 * len(text))


def test_a_long_string_that_is_broken_in_the_middle_is_refused() -> None:
    """No piece of it goes unread."""
    data = b"a" * CHUNK + b"\xff" + b"a" * CHUNK
    with pytest.raises(UnicodeDecodeError):
        Facts(Ledger(listing(), Limits())).text(data, 0, len(data), "utf-8")
