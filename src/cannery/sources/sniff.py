"""What a file is, by its bytes and never by its name; nothing in it is opened."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Callable
from pathlib import Path

from cannery.blobs import Blob
from cannery.errors import CutShortError, SourceError
from cannery.sources.protobuf import onnx_shape
from cannery.sources.source import Format
from cannery.sources.windows import Data, Reading, holds, reading
from cannery.sources.zips import BadZipError, read_directory

_HEAD = 4096
"""Bytes from the beginning by which a file is told."""

_TAKEN = (
    "a pickle, joblib, skops or ONNX file, a model of XGBoost, LightGBM or CatBoost, "
    "an MLflow folder or a can is taken"
)

_BOOSTERS: dict[Format, re.Pattern[bytes]] = {
    "catboost": re.compile(rb"CBM1"),
    "lightgbm": re.compile(rb"tree\r?\n"),
    "xgboost": re.compile(
        rb"""\{\s*"(learner|version|Config|Model)"\s*:  # JSON, either key first
        | \{[iIlL].{1,8}(learner|version|Config|Model)[{\[]  # UBJSON
        | binf | CONFIG-offset: | .{136}[\x01-\x40]\0{7}[a-z]+:[a-z]  # the forms before""",
        re.DOTALL | re.VERBOSE,
    ),
}
"""How the files begin that boosting libraries write."""

_TORCH = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
"""The first of the pickles that torch wrote one behind the other."""

_FOREIGN: tuple[tuple[re.Pattern[bytes], str, str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), what, hint)
    for pattern, what, hint in (
        (rb"version https://git-lfs", "a Git LFS pointer, not the file itself", "git lfs pull"),
        (rb"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras?)", "convert it to ONNX first"),
        (rb"PAR1", "a Parquet file", "it may be the sample: give it with --sample"),
        (rb"GGUF", "a GGUF file", _TAKEN),
        (rb".{6}\x00\x00\{", "a safetensors file", _TAKEN),
        (rb"ZF[0-9a-fx]", "a file of joblib before 0.10", "load and save it with a current joblib"),
        (
            rb"\x28\xb5\x2f\xfd",
            "a file compressed by Zstandard, which no loader of models reads",
            "decompress it, and name what is inside",
        ),
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
        with reading(path) as data:
            return sniff_data(data, f"'{path}'")
    except OSError as error:
        raise SourceError(f"can't read '{path}': {error.strerror or error}") from error


def sniff_blob(blob: Blob) -> Format:
    """Return the format of a file whose bytes are held; raises SourceError as `sniff` does."""
    assert blob.data is not None
    return sniff_data(blob.data, f"'{blob.path}'")


def sniff_data(data: Data | Reading, label: str) -> Format:
    """Return the format of bytes that a message calls `label`; raises SourceError as `sniff` does."""
    head = data[:_HEAD]
    if not head:
        raise SourceError(f"{label} is empty", hint="was the copy or download cut short?")
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip(data, label)
    if _is_pickle(data, head, label):
        if head.startswith(_TORCH):
            return "torch"
        return "joblib" if holds(data, b"joblib.numpy_pickle") else "pickle"
    if (unpack := _compression(head)) is not None:
        return _compressed(unpack, head, label)
    if is_tar(head):
        return "archive"
    if head.startswith(b"\x93NUMPY"):
        return "numpy"
    for library, pattern in _BOOSTERS.items():
        if pattern.match(head):
            return library
    match onnx_shape(data):
        case "whole":
            return "onnx"
        case "cut":
            raise _truncated(label, "an ONNX file")
    raise _foreign(head, label)


def _foreign(head: bytes, label: str) -> SourceError:
    for pattern, what, hint in _FOREIGN:
        if pattern.match(head):
            return SourceError(f"{label} is {what}", hint=hint)
    if _is_text(head):
        return SourceError(f"{label} is a text file", hint=_TAKEN)
    start = head[:8].hex(" ")
    return SourceError(f"{label} is no model file (it begins with {start})", hint=_TAKEN)


def _truncated(label: str, what: str) -> CutShortError:
    return CutShortError(f"{label} is {what} that was cut short", hint="copy or download it again")


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # a character may be cut at the end of the head
            return False
        text = head[: error.start].decode()
    return all(c.isprintable() or c in "\t\r\n" for c in text)


def _zip(data: Data | Reading, label: str) -> Format:
    try:
        names = {entry.name for entry in read_directory(data).entries}
    except BadZipError as error:
        raise _truncated(label, "a zip archive (skops?)") from error
    if "schema.json" in names:
        return "skops"
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return "torch"
    if "model.weights.h5" in names or {"config.json", "metadata.json"} <= names:
        raise SourceError(f"{label} is a Keras file", hint="convert it to ONNX first")
    return "archive"


def is_tar(head: bytes) -> bool:
    """Tell whether the head has a tar's checksum, which old archives have too, who have no magic."""
    if len(head) < 512:
        return False
    try:
        said = int(head[148:156].strip(b" \0"), 8)
    except ValueError:
        return False
    return said == tar_checksum(head)


def tar_checksum(header: bytes) -> int:
    """Return what the first 512 bytes add up to, those of the checksum itself counted as blanks."""
    blocks = header[:148] + b" " * 108, header[156:412], header[412:512]
    # The low half of Adler-32 is one more than the sum, which 256 bytes keep below its modulus.
    return sum(zlib.adler32(block) & 0xFFFF for block in blocks) - 3 - 100 * 0x20


_BZIP = re.compile(rb"BZh[1-9]1AY&SY")
Unpack = Callable[[bytes], bytes]


def _compression(head: bytes) -> Unpack | None:
    """Return the function that unpacks the beginning of one of joblib's containers."""
    if head.startswith(b"\x1f\x8b"):
        return lambda data: zlib.decompressobj(31).decompress(data, 512)
    if _BZIP.match(head):
        return lambda data: bz2.BZ2Decompressor().decompress(data, 512)
    if head.startswith((b"\xfd7zXZ\x00", b"\x5d\x00\x00")):
        return lambda data: lzma.LZMADecompressor().decompress(data, 512)
    if head.startswith(b"\x04\x22\x4d\x18"):
        return lambda _: b""  # lz4 is no part of Python: the audit looks inside
    if len(head) > 2 and head[0] == 0x78 and int.from_bytes(head[:2], "big") % 31 == 0:
        return lambda data: zlib.decompressobj().decompress(data, 512)
    return None


def _compressed(unpack: Unpack, head: bytes, label: str) -> Format:
    """Return what a compressed file holds; raises SourceError where that can't be told, or is no model."""
    try:
        content = unpack(head)
    except (zlib.error, lzma.LZMAError, gzip.BadGzipFile, OSError, EOFError) as error:
        raise SourceError(f"{label} is a damaged compressed file: {error}", hint=_TAKEN) from error
    if is_tar(content):
        return "archive"
    if content and not (_binary_pickle(content) or _ASCII_PICKLE.match(content)):
        raise SourceError(f"{label} is a compressed file with no pickle in it", hint=_TAKEN)
    return "joblib"


def _binary_pickle(head: bytes) -> bool:
    return len(head) > 1 and head[0] == 0x80 and head[1] <= 5


def _is_pickle(data: Data | Reading, head: bytes, label: str) -> bool:
    if _binary_pickle(head):
        # protocol 4 and 5 begin with a frame that says how long it is
        if head[2:3] == b"\x95" and 11 + int.from_bytes(head[3:11], "little") > len(data):
            raise _truncated(label, "a pickle")
        return True
    if head[0] == 0x80 and len(head) > 1 and head[2:3] == b"\x95":
        raise SourceError(f"{label} is a pickle of unknown protocol {head[1]}", hint=_TAKEN)
    return data[-1:] == b"." and _ASCII_PICKLE.match(head) is not None
