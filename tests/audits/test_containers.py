"""Archives, array files and files of two kinds: hostile ones are not safe, honest ones pass."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import time
import zipfile
import zlib
from pathlib import Path

import hostile
import hostile_files
import numpy as np
import pickles as p
import pytest
from hostile_files import HONEST, checkpoint, evil, tarred, zipped
from sklearn.linear_model import LogisticRegression

from cannery.audits.audit import audit
from cannery.audits.findings import Audit
from cannery.blobs import CHUNK
from cannery.errors import SourceError
from cannery.sources.fetch import fetch

IDS = [f"{kind}-{number}" for number, (kind, _) in enumerate(hostile_files.CASES)]
MODEL = pickle.dumps(LogisticRegression().fit(np.eye(4), [0, 1, 0, 1]))


def judged(folder: Path, data: bytes) -> Audit | None:
    """Audit a file as a user would, None where it is refused as no model at all."""
    path = folder / "file.bin"
    path.write_bytes(data)
    try:
        return audit(fetch(str(path), staging=folder / "staging"))
    except SourceError:
        return None


@pytest.mark.parametrize("pack", [zipped, tarred], ids=["zip", "tar"])
def test_members_whose_names_differ_in_case_alone_are_for_review(pack, tmp_path: Path) -> None:
    """Unpacked on another machine, one of them lies where the other should."""
    found = judged(tmp_path, pack(("model.pkl", MODEL), ("Model.PKL", MODEL)))
    assert [(f.rule, f.severity, f.name) for f in found.findings] == [
        ("twin-names", "review", "Model.PKL")
    ]


@pytest.mark.parametrize("case", hostile_files.CASES, ids=IDS)
def test_a_hostile_file_is_not_safe_and_does_not_run(
    case: hostile.Case, tmp_path: Path, marker: Path
) -> None:
    """The verdict is not safe, a finding says why, and the payload's file does not exist."""
    began = time.process_time()
    found = judged(tmp_path, case[1](marker))
    assert found is None or (found.verdict != "safe" and found.findings)
    assert time.process_time() - began < 10
    assert not marker.exists()


def _saved(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def _array(value: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, value)
    return stream.getvalue()


TABLE = np.array([(1, 2.0, "x")], dtype=[("a", "i4"), ("b", "f8", (2,)), ("c", "U3")])
HONEST_FILES = {
    "zip": lambda: zipped(("model.pkl", MODEL), ("README.md", b"# A model\n")),
    "pickle in a literal": lambda: pickle.dumps({"model": MODEL}),
    "zip of folders": lambda: zipped(("a/", b""), ("a/model.pkl", MODEL)),
    "tar": lambda: tarred(("./model.pkl", MODEL), ("requirements.txt", b"scikit-learn\n")),
    "tar with a comment": lambda: tarred(("model.pkl", MODEL), pax={"comment": "of Git"}),
    "tar.gz": lambda: gzip.compress(tarred(("model.pkl", MODEL))),
    "tar of long names": lambda: tarred(("x" * 120 + "/ü.pkl", MODEL)),
    "checkpoint": checkpoint,
    "checkpoint before the zip": lambda: checkpoint(stacked=True),
    "checkpoint of nothing": lambda: checkpoint(size=(0, 3), stride=(3, 1), offset=6),
    "npz": lambda: _saved(a=np.arange(9.0), b=np.array(["x", "yy"])),
    "npy": lambda: _array(np.zeros((3, 0, 2), order="F")),
    "tar with a zip at its end": lambda: tarred(("a", MODEL), ("b.zip", zipped(("c", MODEL)))),
    "tar of one zip": lambda: tarred(("b.zip", zipped(("c", MODEL), ("d", MODEL)))),
    "tar with a checkpoint at its end": lambda: tarred(("a", MODEL), ("b.pt", checkpoint())),
    "npy of one number": lambda: _array(np.float32(3)),
    "npy of dates": lambda: _array(np.array(["2026-01-01"], dtype="M8[ns]")),
    "npy of a table": lambda: _array(TABLE),
    "npy of objects": lambda: _array(np.array([1, "x", None], dtype=object)),
}


@pytest.mark.parametrize("name", HONEST_FILES)
def test_an_honest_file_is_safe(name: str, tmp_path: Path) -> None:
    """Models in archives, and arrays of every kind of item that numpy writes."""
    found = judged(tmp_path, HONEST_FILES[name]())
    assert found is not None
    assert (found.findings, found.verdict) == ((), "safe")


def test_a_finding_in_an_archive_names_its_member(tmp_path: Path, marker: Path) -> None:
    """Path by path, down to the pickle in a tar in a zip."""
    found = judged(tmp_path, zipped(("a/b.tar", tarred(("c.pkl", evil(marker))))))
    assert found is not None
    assert {f.member for f in found.findings} == {"a/b.tar/c.pkl"}
    assert {n.name for n in found.names} == {"posix.system"}


def test_a_network_saved_whole_is_a_review(tmp_path: Path) -> None:
    """Classes of torch are not listed: every layer is named, with the line that would trust it."""
    layer = p.made(p.name("torch.nn.modules.linear", "Linear"))
    found = judged(tmp_path, checkpoint(more=layer))
    assert found is not None
    assert [(f.name, f.severity) for f in found.findings] == [
        ("torch.nn.modules.linear.Linear", "review")
    ]


def test_an_archive_without_a_model_is_unreadable(tmp_path: Path) -> None:
    """Texts alone are no model, and that is said."""
    found = judged(tmp_path, zipped(("a.txt", b"text"), ("b.md", b"# text")))
    assert found is not None
    assert [(f.rule, f.severity) for f in found.findings] == [("no-model", "unreadable")]


def test_a_long_member_goes_through_a_temporary_file(tmp_path: Path) -> None:
    """An archive that is larger than what is held in memory is audited all the same."""
    big = pickle.dumps({"w": np.zeros(9_000_000)}, 4)
    data = zipped(("big.pkl", big), ("small.pkl", HONEST), method=zipfile.ZIP_DEFLATED)
    found = judged(tmp_path, data)
    assert found is not None
    assert found.verdict == "safe"


def _stored(size: int) -> tuple[bytes, bytes]:
    """Return zeros, and a deflated stream of so many bytes that holds them uncompressed."""
    content, packed = b"", b""
    while len(packed) < size:
        block = bytes(min(size - len(packed) - 5, 0xFFF0))
        last = len(packed) + 5 + len(block) == size
        packed += struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block
        content += block
    return content, packed


@pytest.mark.parametrize("size", [100, CHUNK], ids=["within a piece", "at the end of a piece"])
@pytest.mark.parametrize("behind", [0, 1], ids=["nothing", "a byte"])
def test_bytes_behind_what_was_packed_are_not_passed_over(
    tmp_path: Path, size: int, behind: int
) -> None:
    """A member that is longer than its compressed stream hides bytes, wherever the stream ends."""
    content, packed = _stored(size)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("notes.txt", packed + bytes(behind))
        directory = stream.tell()
    data = bytearray(stream.getvalue())
    for at in (8, directory + 10):
        struct.pack_into("<H", data, at, zipfile.ZIP_DEFLATED)
        struct.pack_into("<I", data, at + 6, zlib.crc32(content))
        struct.pack_into("<I", data, at + 14, len(content))
    found = judged(tmp_path, bytes(data))
    assert found is not None
    assert ("broken-container" in {f.rule for f in found.findings}) == bool(behind)
