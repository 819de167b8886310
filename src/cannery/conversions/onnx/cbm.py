"""CatBoost's own file, as its library serialises a model: a FlatBuffer behind eight bytes.

The schema stands in
https://github.com/catboost/catboost/blob/master/catboost/libs/model/flatbuffers/model.fbs.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cannery.errors import ConversionError

_MAGIC = b"CBM1"
_START = 8
"""Behind the magic and the length."""


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of a FlatBuffer: fields are found by their number, and may be absent."""

    data: bytes
    place: int

    def _at(self, field: int) -> int | None:
        (back,) = struct.unpack_from("<i", self.data, self.place)
        (size,) = struct.unpack_from("<H", self.data, self.place - back)
        if 4 + 2 * field + 2 > size:
            return None
        (offset,) = struct.unpack_from("<H", self.data, self.place - back + 4 + 2 * field)
        return self.place + offset if offset else None

    def scalar(self, field: int, kind: str, default: Any) -> Any:
        """Return a number."""
        at = self._at(field)
        return default if at is None else struct.unpack_from("<" + kind, self.data, at)[0]

    def _vector(self, field: int) -> tuple[int, int]:
        """Return where a vector (or a table, or a text) begins, and its length; (0, 0) where absent."""
        at = self._at(field)
        if at is None:
            return 0, 0
        start = at + struct.unpack_from("<I", self.data, at)[0]
        return start + 4, struct.unpack_from("<I", self.data, start)[0]

    def array(self, field: int, dtype: Any) -> NDArray[Any]:
        """Return a vector of numbers."""
        start, count = self._vector(field)
        return np.frombuffer(self.data, np.dtype(dtype).newbyteorder("<"), count, start)

    def text(self, field: int) -> str:
        """Return a text."""
        start, count = self._vector(field)
        return self.data[start : start + count].decode()

    def table(self, field: int) -> _Table:
        """Return a table that must be there."""
        start, _ = self._vector(field)
        if not start:
            raise ValueError(f"table {field} is missing")
        return _Table(self.data, start - 4)

    def tables(self, field: int) -> Iterator[_Table]:
        """Yield the tables of a vector."""
        start, count = self._vector(field)
        for at in range(start, start + 4 * count, 4):
            yield _Table(self.data, at + struct.unpack_from("<I", self.data, at)[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A column of numbers, and the borders between which it is told apart."""

    index: int
    """Position among all columns."""
    borders: NDArray[np.float32]
    missing_right: bool
    """Whether NaN lies beyond every border."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is in the file."""

    targets: int
    features: tuple[Feature, ...]
    categorical: bool
    """Whether it has columns that are no numbers: categories, texts, embeddings."""
    tree_splits: NDArray[np.int32]
    """Numbers of the borders, counted over all features, tree after tree."""
    tree_sizes: NDArray[np.int32]
    tree_starts: NDArray[np.int32]
    leaf_values: NDArray[np.float64]
    steps: NDArray[np.uint16]
    """[nodes, 2] of a model whose trees are not symmetric: how far it is to either child; 0: it ends here."""
    leaf_of: NDArray[np.uint32]
    """[nodes]: where the values of the leaf at which it ends begin."""
    scale: float
    bias: NDArray[np.float64]
    info: dict[str, str]

    @property
    def loss(self) -> str:
        """Name of the loss that was minimised."""
        return str(json.loads(self.info["params"])["loss_function"]["type"])


def read(data: bytes) -> Model:
    """Read a serialised model; raises ConversionError for bytes that are none."""
    if data[:4] != _MAGIC:
        raise ConversionError("it does not begin as CatBoost writes its models")
    try:
        core = _Table(data, _START + struct.unpack_from("<I", data, _START)[0])
        return _read(core)
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise ConversionError(f"its CatBoost model can't be read ({error})") from error


def _read(core: _Table) -> Model:
    trees = core.table(1)
    targets = int(trees.scalar(0, "i", 1))
    many = trees.array(16, np.float64)
    alone = np.full(targets, trees.scalar(15, "d", 0.0))
    return Model(
        targets=targets,
        features=tuple(_feature(table) for table in trees.tables(5)),
        categorical=any(True for field in (4, 12, 18) for _ in trees.tables(field)),
        tree_splits=trees.array(1, np.int32),
        tree_sizes=trees.array(2, np.int32),
        tree_starts=trees.array(3, np.int32),
        leaf_values=trees.array(8, np.float64),
        steps=trees.array(10, np.uint32).view(np.uint16).reshape(-1, 2),
        leaf_of=trees.array(11, np.uint32),
        scale=float(trees.scalar(14, "d", 1.0)),
        bias=many if len(many) else alone,
        info={pair.text(0): pair.text(1) for pair in core.tables(2)},
    )


def _feature(table: _Table) -> Feature:
    return Feature(
        index=int(table.scalar(2, "i", -1)),
        borders=table.array(3, np.float32),
        missing_right=table.scalar(5, "b", 0) == 2,
    )
