"""An ONNX graph whose constants stand in files beside it, as MLflow and PyTorch write it, made one again.

Nobody opens such a graph by its path: its constants are read here, from files of the model's own, and
what is audited, hashed and opened after that is one graph without external data.
https://github.com/onnx/onnx/blob/main/docs/ExternalData.md
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from cannery.blobs import Blob, digest_bytes
from cannery.errors import SourceError

_MOST = (1 << 31) - (1 << 20)
"""Bytes of the largest message that protobuf reads."""
_FIRST = b"\x08"
"""How every exporter begins a graph: with the version of the format."""
_MARK = b"\x0a\x08location"
"""How the entry begins that names a file."""
_KEYS = frozenset({"location", "offset", "length", "checksum"})

Find = Callable[[str], Blob | None]
"""From the name of a file, as a graph gives it, to the file held, where it belongs to the model."""


def gathered(graph: Blob, find: Find) -> tuple[Blob, frozenset[str]]:
    """Return an ONNX graph with the constants of other files in it, and the names of those files.

    One that has none, or is broken, is returned as it is. Constants that lie outside of the files which `find` knows, or that overlap, are left as they are, for
    the audit to refuse. Raises SourceError for more than protobuf can hold.
    """
    data = graph.data
    if data is None or data[:1] != _FIRST or data.find(_MARK) < 0 or graph.size > _MOST:
        return graph, frozenset()
    # Slow to import, and needed for such a graph alone.
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    model = ModelProto()
    try:
        model.ParseFromString(bytes(data[:]))
    except (DecodeError, RuntimeError):
        return graph, frozenset()
    files = _Files(find, _MOST - graph.size)
    for tensor in _constants(model.graph):
        files.move(tensor)
    if not files.taken:
        return graph, frozenset()
    whole = model.SerializeToString(deterministic=True)
    blob = replace(graph, digest=digest_bytes(whole), size=len(whole), data=whole)
    return blob, frozenset(files.taken)


def _constants(graph: Any) -> Iterator[Any]:
    """Yield every constant of a graph, and of those within its nodes."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from _constants(inner)


def beside(path: Path, hold: Callable[[Path], Blob]) -> Find:
    """Let a graph that is one file find what its exporter wrote beside it: `model.onnx.data` and the like.

    No other neighbour is read: what lies in the same folder need not be the model's.
    """
    known = {f"{path.name}.data", f"{path.name}_data", f"{path.stem}.data"}

    def find(name: str) -> Blob | None:
        place = path.with_name(name) if name in known else None
        if place is None or place.is_symlink() or not place.is_file():
            return None
        return hold(place)

    return find


class _Files:
    """The files beside a graph, each read once."""

    def __init__(self, find: Find, room: int) -> None:
        self._find = find
        self._held: dict[str, bytes | mmap.mmap] = {}
        self._left: dict[str, int] = {}
        """Bytes of each that no constant took: honest ones don't overlap."""
        self._room = room
        self.taken: set[str] = set()
        """Names of those of which something was taken."""

    def move(self, tensor: Any) -> None:
        """Bring a constant's bytes into it, or change nothing where that can't be."""
        keys = [entry.key for entry in tensor.external_data]
        if not keys or tensor.data_location != tensor.EXTERNAL or tensor.HasField("raw_data"):
            return
        if len(set(keys)) < len(keys) or not _KEYS.issuperset(keys):
            return
        told = {entry.key: entry.value for entry in tensor.external_data}
        name = told.get("location", "")
        if not isinstance(name, str):  # protobuf hands on as bytes what is no UTF-8
            return
        data = self._data(name)
        begin = _number(told.get("offset", "0"))
        length = _number(told.get("length", str(max(0, len(data) - begin))))
        if min(begin, length) < 0 or begin + length > len(data) or length > self._left[name]:
            return
        self._left[name] -= length
        self._room -= length
        self.taken.add(name)
        if self._room < 0:
            raise SourceError(
                f"the graph and its constants in '{name}' are more than 2 GB together",
                hint="ONNX holds at most that in one file",
            )
        tensor.raw_data = data[begin : begin + length]
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")

    def _data(self, name: str) -> bytes | mmap.mmap:
        if name not in self._held:
            blob = self._find(name)
            self._held[name] = b"" if blob is None or blob.data is None else blob.data
            self._left[name] = len(self._held[name])
        return self._held[name]


def _number(text: str) -> int:
    """Return a count of bytes; -1 where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else -1
