"""Files that are larger than what is held in memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pickles as p
import pytest

from cannery.audits.audit import audit
from cannery.audits.contents import content, gathered
from cannery.audits.facts import Facts
from cannery.audits.ledger import Ledger
from cannery.audits.limits import Limits
from cannery.audits.listing import listing
from cannery.audits.opcodes import BrokenProgramError
from cannery.audits.values import Opaque
from cannery.blobs import CHUNK, Blob, digest_bytes
from cannery.errors import SourceError
from cannery.sources.fetch import fetch
from cannery.sources.holding import hold
from cannery.sources.windows import holds, reading

SIZE = 300 << 20
"""Bytes of the large files, which are holes for the most part."""

MEASURE = """
import sys
from pathlib import Path
from cannery.audits.audit import audit
from cannery.sources.fetch import fetch

def peak() -> int:
    # Not ru_maxrss: that counts the process that started this one too.
    return int(next(s.split()[1] for s in open("/proc/self/status") if s.startswith("VmHWM")))

before = peak()
source = fetch(sys.argv[1], staging=Path())
found = audit(source)
print(found.verdict, source.format, peak() - before)
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
    words = [sys.executable, "-c", MEASURE, str(tmp_path / "large")]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    assert told[:2] == ["safe", kind]
    assert int(told[2]) << 10 < 40 << 20


def _zipped(folder: Path, member: Path, method: int) -> Path:
    """Write a zip that holds one file."""
    with zipfile.ZipFile(folder / "outer.zip", "w", method, compresslevel=1) as archive:
        archive.write(member, member.name)
    return folder / "outer.zip"


def _tarred(folder: Path, member: Path) -> Path:
    """Write a tar that holds one file, and enough behind it that it is no zip from its end."""
    (folder / "notes.txt").write_text("-" * (1 << 17))
    with tarfile.open(folder / "inner.tar", "w") as archive:
        archive.add(member, member.name)
        archive.add(folder / "notes.txt", "notes.txt")
    return folder / "inner.tar"


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"]
)
def test_large_members_of_archives_within_each_other_take_little_memory(
    tmp_path: Path, method: int
) -> None:
    """A zip in a tar in a zip, each with a large member, is unpacked to files and mapped."""
    size = SIZE // 2
    (tmp_path / "model.pkl").write_bytes(
        p.make_pickle(p.EMPTY_LIST, b"\x8e" + size.to_bytes(8, "little"), bytes(size), b"a")
    )
    inner = _zipped(tmp_path, tmp_path / "model.pkl", method).rename(tmp_path / "deep.zip")
    outer = _zipped(tmp_path, _tarred(tmp_path, inner), method)
    words = [sys.executable, "-c", MEASURE, str(outer)]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    assert told[:2] == ["safe", "archive"]
    assert int(told[2]) << 10 < 100 << 20


def test_archives_within_each_other_share_one_bound(tmp_path: Path) -> None:
    """What each of them may become is little, and what they become in all is still too much."""
    (tmp_path / "model.pkl").write_bytes(p.make_pickle(p.listed(p.number(1))) + bytes(1000))
    inner = _zipped(tmp_path, tmp_path / "model.pkl", zipfile.ZIP_STORED).read_bytes()
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w") as archive:
        for number in range(9):
            archive.writestr(f"{number}.zip", inner)
    source = fetch(str(tmp_path / "bomb.zip"), staging=tmp_path)
    for bound, hit in ((20 * len(inner), False), (12 * len(inner), True)):
        found = audit(source, Limits(decompressed=bound))
        assert hit == any(finding.rule == "bomb" for finding in found.findings)


@pytest.mark.parametrize("small", [1 << 20, 1], ids=["in memory", "mapped"])
@pytest.mark.parametrize("change", ["cut", "written"])
def test_what_was_hashed_is_what_is_audited_and_opened(
    tmp_path: Path, change: str, small: int
) -> None:
    """A file that is cut or written to once it is held neither ends the process nor shows other bytes."""
    path = tmp_path / "model"
    path.write_bytes(before := p.make_pickle(p.listed(p.number(1))) + bytes(1 << 16))
    blob = hold(path, small)
    with path.open("r+b") as stream:
        stream.write(b"other")
        stream.truncate(1 if change == "cut" else len(before))
    assert content(blob, Limits())[:] == before
    assert blob.read() == before
    assert blob.digest == digest_bytes(before)


def test_a_large_file_that_is_emptied_while_it_is_copied_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can't be mapped any more is no traceback."""
    (tmp_path / "model").write_bytes(bytes(100))
    monkeypatch.setattr(os, "copy_file_range", lambda *_: 0)
    assert hold(tmp_path / "model", small=1).read() == b""


def test_a_source_holds_its_model(tmp_path: Path) -> None:
    """What is fetched is audited from the bytes that fetching hashed, whatever the file became since."""
    path = tmp_path / "model.pkl"
    path.write_bytes(p.make_pickle(p.listed(p.number(1))))
    source = fetch(str(path), staging=tmp_path)
    path.write_bytes(b"other")
    found = audit(source)
    assert (found.verdict, found.digest) == ("safe", source.blob.digest)


@pytest.mark.parametrize("memory", [1 << 20, 1], ids=["in memory", "mapped"])
def test_a_file_that_is_another_than_the_hashed_one_is_not_audited(
    tmp_path: Path, memory: int
) -> None:
    """A file beside the model, of which the digest alone is kept, must still be the same."""
    path = tmp_path / "model"
    path.write_bytes(b"a" * 100)
    blob = Blob.of(path)
    path.write_bytes(b"b" * 100)
    with pytest.raises(SourceError, match="changed"):
        content(blob, Limits(memory=memory))


def test_no_room_for_a_copy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large file that can't be copied is an error with its remedy."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    (tmp_path / "model").write_bytes(bytes(100))
    monkeypatch.setattr(os, "copy_file_range", full)
    with pytest.raises(SourceError, match="No space") as caught:
        hold(tmp_path / "model", small=1)
    assert "TMPDIR" in str(caught.value.hint)


def test_a_file_system_that_copies_nothing_by_itself_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kernel can't copy between two file systems, the bytes go through the process."""

    def crossing(*_: object) -> int:
        raise OSError(18, "Invalid cross-device link")

    (tmp_path / "model").write_bytes(b"ab" * 100)
    monkeypatch.setattr(os, "copy_file_range", crossing)
    assert hold(tmp_path / "model", small=1).read() == b"ab" * 100


def test_a_file_that_becomes_shorter_while_it_is_told_is_an_error(tmp_path: Path) -> None:
    """Telling a format reads pieces: a piece that is gone is an error, and no signal."""
    path = tmp_path / "model"
    path.write_bytes(b"\x80\x04" + bytes(5000))
    with reading(path) as data:
        assert holds(data, b"\x04\x00")
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
