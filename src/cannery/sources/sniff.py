"""What a file is, by its bytes and never by its name; nothing in it is opened."""

from __future__ import annotations

import bz2
import gzip
import lzma
import mmap
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from cannery.errors import SourceError
from cannery.sources.protobuf import onnx_shape
from cannery.sources.source import Format

_HEAD = 4096
"""Bytes from the beginning by which a file is told."""

_TAKEN = "a pickle, joblib, skops or ONNX file, an MLflow folder or a can is taken"

_FOREIGN: tuple[tuple[re.Pattern[bytes], str, str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), what, hint)
    for pattern, what, hint in (
        (rb"version https://git-lfs", "a Git LFS pointer, not the file itself", "git lfs pull"),
        (rb"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras?)", "convert it to ONNX first"),
        (rb"\x93NUMPY", "a NumPy array", _TAKEN),
        (rb"PAR1", "a Parquet file", "it may be the sample: give it with --sample"),
        (rb"GGUF", "a GGUF file", _TAKEN),
        (rb"CBM1", "a CatBoost model: not yet supported", "convert it to ONNX first"),
        (
            rb"tree\nversion=",
            "a LightGBM text model: not yet supported",
            "convert it to ONNX first",
        ),
        (
            rb'\{\s*"(learner|version)"',
            "an XGBoost JSON model: not yet supported",
            "convert it to ONNX first",
        ),
        (
            rb"\{L.{0,8}learner",
            "an XGBoost UBJSON model: not yet supported",
            "convert it to ONNX first",
        ),
        (rb".{6}\x00\x00\{", "a safetensors file", _TAKEN),
        (rb"ZF[0-9a-fx]", "a file of joblib before 0.10", "load and save it with a current joblib"),
        (rb".{257}ustar", "a tar archive", "unpack it and name the model file inside"),
        (rb"\x7fELF", "a program", _TAKEN),
        (rb"%PDF", "a PDF document", _TAKEN),
        (rb"\s*<(\?xml|PMML)", "an XML file (PMML?)", _TAKEN),
        (
            rb"\s*(<!DOCTYPE|<html)",
            "a web page: was it saved in place of the file?",
            "download it again",
        ),
        (rb"\s*[{\[]", "a JSON or text file", _TAKEN),
    )
)

_ASCII_PICKLE = re.compile(
    rb"c[\w.]+\n[\w.]+\n|i[\w.]+\n[\w.]+\n|[\])}][q.(]"
    rb"|\((?:[ltd][p.]|c[\w.]+\n|i[\w.]+\n|K.|I-?\d+\n|F[-\d.]+\n|S['\"]|[\])}(])",
    re.DOTALL,
)
"""How a pickle of protocol 0 or 1 begins."""


def sniff(path: Path) -> Format:
    """Return the format of the file at `path`.

    Raises SourceError, naming what was found, for an empty or truncated file and for one that is no
    model that Cannery reads.
    """
    try:
        with path.open("rb") as stream:
            return _format(stream, path)
    except OSError as error:
        raise SourceError(f"can't read '{path}': {error.strerror or error}") from error


def _format(stream: BinaryIO, path: Path) -> Format:
    head = stream.read(_HEAD)
    size = stream.seek(0, 2)
    if not head:
        raise SourceError(f"'{path}' is empty", hint="was the copy or download cut short?")
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip(path)
    if (unpack := _compression(head)) is not None:
        _refuse_foreign_content(unpack, head, path)
        return "joblib"
    if _is_pickle(stream, head, size, path):
        return "joblib" if _mentions_joblib(stream) else "pickle"
    match onnx_shape(stream, size):
        case "whole":
            return "onnx"
        case "cut":
            raise _truncated(path, "an ONNX file")
    raise _foreign(head, path)


def _foreign(head: bytes, path: Path) -> SourceError:
    for pattern, what, hint in _FOREIGN:
        if pattern.match(head):
            return SourceError(f"'{path}' is {what}", hint=hint)
    if _is_text(head):
        return SourceError(f"'{path}' is a text file", hint=_TAKEN)
    start = head[:8].hex(" ")
    return SourceError(f"'{path}' is no model file (it begins with {start})", hint=_TAKEN)


def _truncated(path: Path, what: str) -> SourceError:
    return SourceError(f"'{path}' is {what} that was cut short", hint="copy or download it again")


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # a character may be cut at the end of the head
            return False
        text = head[: error.start].decode()
    return all(c.isprintable() or c in "\t\r\n" for c in text)


def _zip(path: Path) -> Format:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise _truncated(path, "a zip archive (skops?)") from error
    if "schema.json" in names:
        return "skops"
    what = "a zip archive without a schema.json (so not skops)"
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        what = "a PyTorch file"
    elif "model.weights.h5" in names:
        what = "a Keras file"
    elif names and all(name.endswith(".npy") for name in names):
        what = "a NumPy archive"
    raise SourceError(f"'{path}' is {what}", hint=_TAKEN)


Unpack = Callable[[bytes], bytes]


def _compression(head: bytes) -> Unpack | None:
    """Return the function that unpacks the beginning of one of joblib's containers."""
    if head.startswith(b"\x1f\x8b"):
        return lambda data: zlib.decompressobj(31).decompress(data, 64)
    if re.match(rb"BZh[1-9]1AY&SY", head):
        return lambda data: bz2.BZ2Decompressor().decompress(data, 64)
    if head.startswith(b"\xfd7zXZ\x00") or re.match(rb"\x5d\x00\x00", head):
        return lambda data: lzma.LZMADecompressor().decompress(data, 64)
    if head.startswith(b"\x04\x22\x4d\x18"):
        return lambda _: b""  # lz4 is no part of Python: the audit looks inside
    if len(head) > 2 and head[0] == 0x78 and int.from_bytes(head[:2], "big") % 31 == 0:
        return lambda data: zlib.decompressobj().decompress(data, 64)
    return None


def _refuse_foreign_content(unpack: Unpack, head: bytes, path: Path) -> None:
    """Raise SourceError where a compressed file can't be unpacked or begins like no pickle."""
    try:
        content = unpack(head)
    except (zlib.error, lzma.LZMAError, gzip.BadGzipFile, OSError, EOFError) as error:
        raise SourceError(f"'{path}' is a damaged compressed file: {error}", hint=_TAKEN) from error
    if content and not (_binary_pickle(content) or _ASCII_PICKLE.match(content)):
        raise SourceError(f"'{path}' is a compressed file with no pickle in it", hint=_TAKEN)


def _binary_pickle(head: bytes) -> bool:
    return len(head) > 1 and head[0] == 0x80 and head[1] <= 5


def _is_pickle(stream: BinaryIO, head: bytes, size: int, path: Path) -> bool:
    if _binary_pickle(head):
        # protocol 4 and 5 begin with a frame that says how long it is
        if head[2:3] == b"\x95" and 11 + int.from_bytes(head[3:11], "little") > size:
            raise _truncated(path, "a pickle")
        return True
    if head[0] == 0x80 and len(head) > 1 and head[2:3] == b"\x95":
        raise SourceError(f"'{path}' is a pickle of unknown protocol {head[1]}", hint=_TAKEN)
    stream.seek(-1, 2)
    return stream.read(1) == b"." and _ASCII_PICKLE.match(head) is not None


def _mentions_joblib(stream: BinaryIO) -> bool:
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"joblib.numpy_pickle") >= 0
