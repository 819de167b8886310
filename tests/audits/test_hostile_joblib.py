"""joblib's containers: what hides behind, inside and around the arrays."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile
import joblib
import lz4.frame
import numpy as np
import pickles as p
import pytest
from audit_sources import AuditBytes

from cannery.audits.ledger import Ledger
from cannery.audits.limits import Limits
from cannery.audits.listing import listing
from cannery.audits.pickles import audit_joblib

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "lz4": lz4.frame.compress,
}


def dumped(value: Any, compress: Any = 0, protocol: int | None = None) -> bytes:
    """Save by joblib into memory."""
    stream = io.BytesIO()
    joblib.dump(value, stream, compress=compress, protocol=protocol)
    return stream.getvalue()


def payload_of(marker: Path) -> hostile.Calls:
    """Return an object whose opening would create the marker."""
    return hostile.Calls(os.system, hostile.touch(marker))


@pytest.mark.parametrize("name", PACKERS)
def test_a_compressed_payload_is_found(name: str, audit_bytes: AuditBytes, marker: Path) -> None:
    """Each compressor is told by its magic, and what is inside is followed."""
    data = PACKERS[name](pickle.dumps(payload_of(marker)))
    found = audit_bytes(data, "joblib")
    assert found.verdict == "unsafe"
    assert any(n.name in ("posix.system", "os.system") for n in found.names)
    assert not marker.exists()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_payload_behind_array_bytes_is_found(
    protocol: int, audit_bytes: AuditBytes, marker: Path
) -> None:
    """The bytes of an array are stepped over exactly; what follows is read as opcodes again."""
    data = dumped([np.arange(1000.0), payload_of(marker), np.zeros(3)], protocol=protocol)
    assert audit_bytes(data, "joblib").verdict == "unsafe"
    assert not marker.exists()


def test_a_payload_in_an_object_array_is_found(audit_bytes: AuditBytes, marker: Path) -> None:
    """An array of objects is a pickle inside the file, and is followed."""
    data = dumped({"x": np.array([payload_of(marker), 1], dtype=object), "y": np.zeros(2)})
    assert audit_bytes(data, "joblib").verdict == "unsafe"
    assert not marker.exists()


def test_array_bytes_that_look_like_opcodes_are_not_followed(audit_bytes: AuditBytes) -> None:
    """An array may hold any bytes, a hostile pickle among them, without harm."""
    harmless = np.frombuffer(p.make_pickle(hostile.payload(Path("x"))) * 10, dtype="u1")
    assert audit_bytes(dumped({"x": harmless}), "joblib").verdict == "safe"


@pytest.mark.parametrize("name", PACKERS)
def test_bytes_behind_the_compressed_stream_are_refused(name: str, audit_bytes: AuditBytes) -> None:
    """A second member, or any byte behind the first, is refused."""
    benign = PACKERS[name](pickle.dumps([1, 2]))
    for tail in (b"\x00", PACKERS[name](pickle.dumps([3]))):
        assert audit_bytes(benign + tail, "joblib").verdict == "unsafe"


@pytest.mark.parametrize("name", PACKERS)
def test_a_cut_or_damaged_stream_is_not_safe(name: str, audit_bytes: AuditBytes) -> None:
    """What can't be decompressed is unreadable, never a traceback."""
    data = PACKERS[name](pickle.dumps(list(range(2000))))
    for broken in (data[:-9], data[: len(data) // 2], data[:20] + b"\xaa" * 30 + data[50:]):
        assert audit_bytes(broken, "joblib").verdict in ("unreadable", "unsafe")


def test_a_bomb_is_stopped_at_the_limit() -> None:
    """Decompression ends where the limit is."""
    ledger = Ledger(listing(), Limits(decompressed=1 << 20, memory=1 << 18))
    audit_joblib(zlib.compress(b"\x00" * (1 << 24)), ledger)
    assert [(f.rule, f.severity) for f in ledger.findings()] == [("bomb", "unsafe")]


def test_a_large_stream_is_audited_from_a_temporary_file() -> None:
    """What is larger than the memory limit is spooled, with the same answer."""
    data = zlib.compress(dumped({"x": np.zeros(300_000), "y": [1]}))
    ledger = Ledger(listing(), Limits(memory=1 << 16))
    audit_joblib(data, ledger)
    assert ledger.findings() == ()


DOUBLES = p.dtype("f8", state=p.dtype_state("<"))
RAW = p.wrapper(DOUBLES, p.pair(p.number(1)), alignment=p.NONE)
CASES = {
    "wrapper of an impossible shape": p.make_pickle(p.wrapper(DOUBLES, p.pair(p.number(-5)))),
    "wrapper of another class": p.make_pickle(
        RAW.replace(p.name("numpy", "ndarray"), p.name("os", "system")) + b"\0" * 8
    ),
    "array past the end": p.make_pickle(p.wrapper(DOUBLES, p.pair(p.number(2**30)))),
    "payload in the padding": p.make_pickle(
        p.wrapper(DOUBLES, p.pair(p.number(1))) + b"\x08" + b"cos\nsyst" + b"\0" * 8
    ),
    "padding beyond the alignment": p.make_pickle(
        p.wrapper(DOUBLES, p.pair(p.number(1))) + b"\xc8" + b"\xff" * 200 + b"\0" * 8
    ),
    "array inside a frame": p.make_pickle(p.frame(RAW + b"\0" * 8)),
    "objects as raw bytes": p.make_pickle(
        p.wrapper(p.dtype("O8"), p.pair(p.number(1))) + b"A" * 8
    ),
    "old wrapper of another file": p.make_pickle(
        p.built(p.made(p.name("joblib.numpy_pickle", "NDArrayWrapper")),
                p.items(filename=p.text("/etc/passwd"), subclass=p.name("numpy", "ndarray")))
    ),
    "wrapper in an object array": p.make_pickle(
        p.wrapper(p.dtype("O8"), p.pair(p.number(1))) + p.make_pickle(RAW) + b"\0" * 8
    ),
    "legacy container": b"ZF0x5                  " + zlib.compress(b"x"),
    "empty": b"",
    "empty once decompressed": zlib.compress(b""),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_array_is_refused(name: str, audit_bytes: AuditBytes) -> None:
    """Wrappers, padding and framing that joblib does not write are refused."""
    assert audit_bytes(CASES[name], "joblib").verdict in ("unsafe", "unreadable")


def test_the_same_wrapper_done_right_is_safe(audit_bytes: AuditBytes) -> None:
    """The hand-made wrapper of these tests passes when nothing is wrong with it."""
    assert audit_bytes(p.make_pickle(RAW + b"\0" * 8), "joblib").findings == ()


def test_arrays_of_joblib_in_a_plain_pickle_are_refused(audit_bytes: AuditBytes) -> None:
    """pickle.load would read the array's bytes as opcodes, joblib.load would not."""
    found = audit_bytes(dumped([np.zeros(3)]), "pickle")
    assert (found.verdict, found.findings[0].rule) == ("unsafe", "format-disagrees")
