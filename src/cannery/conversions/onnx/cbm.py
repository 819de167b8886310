"""CatBoost's own file, as its library serialises a model: a FlatBuffer behind eight bytes.

The schema stands in
https://github.com/catboost/catboost/blob/master/catboost/libs/model/flatbuffers/model.fbs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cannery.audits.trees.flatbuffers import Table
from cannery.audits.trees.walks import BadModelError
from cannery.errors import ConversionError

_MAGIC = b"CBM1"
_START = 8
"""Behind the magic and the length."""


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
        return _read(Table.root(data[_START:]))
    except (BadModelError, ValueError, KeyError, TypeError) as error:
        raise ConversionError(f"its CatBoost model can't be read ({error})") from error


def _read(core: Table) -> Model:
    trees = core.table(1)
    if trees is None:
        raise ValueError("it has no trees")
    targets = trees.number(0, 1)
    many = trees.values(16, "<f8")
    alone = np.full(targets, trees.real(15, 0.0))
    return Model(
        targets=targets,
        features=tuple(_feature(table) for table in trees.tables(5)),
        categorical=any(trees.tables(field) for field in (4, 12, 18)),
        tree_splits=trees.values(1, "<i4"),
        tree_sizes=trees.values(2, "<i4"),
        tree_starts=trees.values(3, "<i4"),
        leaf_values=trees.values(8, "<f8"),
        steps=trees.values(10, "<u4").view(np.uint16).reshape(-1, 2),
        leaf_of=trees.values(11, "<u4"),
        scale=trees.real(14, 1.0),
        bias=many if len(many) else alone,
        info={pair.text(0).decode(): pair.text(1).decode() for pair in core.tables(2)},
    )


def _feature(table: Table) -> Feature:
    return Feature(
        index=table.number(2, -1),
        borders=table.values(3, "<f4"),
        missing_right=table.number(5, 0, 1) == 2,
    )
