"""How large the tensors of a graph become for one row, without running it.

Unknown dimensions (the batch) count as one. Where the size of an output is governed by a value that is
computed, or by a shape that is not known, the extent is not bounded, which is a finding of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cannery.audits.operators import BROADCAST, MOVE, REDUCE, SAME

Shape = tuple[int | None, ...]


class UnboundedError(Exception):
    """The size of an output can't be told from the file."""


@dataclass(frozen=True, slots=True)
class Extent:
    """What is known of a tensor."""

    shape: Shape | None
    """None where not even the rank is known."""
    elements: int
    """At most so many, for one row."""
    values: tuple[float, ...] | None = None
    """Its content, for short constants."""


UNKNOWN = Extent(None, 1)


def of_shape(shape: Shape, values: tuple[float, ...] | None = None) -> Extent:
    """Return the extent of a tensor of this shape."""
    return Extent(shape, math.prod(d for d in shape if d is not None), values)


@dataclass(frozen=True, slots=True)
class Call:
    """A node with what is known of its inputs."""

    operator: str
    inputs: tuple[Extent, ...]
    attributes: Mapping[str, Any]
    """Name → int, float, bytes, list of these, or the extent of a tensor."""
    outputs: int

    def input(self, index: int) -> Extent:
        """Return an input, a scalar where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else of_shape(())

    def number(self, name: str, default: int) -> int:
        """Return an integer attribute."""
        value = self.attributes.get(name, default)
        return value if isinstance(value, int) else default

    def length(self, *names: str) -> int:
        """Return the length of the longest of these list attributes."""
        lists = (self.attributes.get(name) for name in names)
        return max((len(v) for v in lists if isinstance(v, list)), default=0)

    def constants(self, index: int) -> tuple[int, ...]:
        """Return the integers of a constant input; raises UnboundedError when it is computed."""
        values = self.input(index).values
        if values is None:
            raise UnboundedError(f"input {index} of {self.operator} is computed")
        return tuple(int(v) if math.isfinite(v) else 1 << 62 for v in values)


def extents(call: Call) -> list[Extent]:
    """Return the extents of a node's outputs; raises UnboundedError."""
    rule = _RULES.get(call.operator)
    if rule is not None:
        found = rule(call)
        return found + [found[0]] * (call.outputs - len(found))
    first = call.input(0)
    if call.operator in SAME:
        out = Extent(first.shape, first.elements, first.values if _passes(call) else None)
    elif call.operator in BROADCAST:
        out = _broadcast(call.inputs)
    elif call.operator in REDUCE:
        out = _reduced(call, first)
    elif call.operator in MOVE:
        out = _moved(call, first)
    else:
        raise UnboundedError(f"{call.operator} has no rule")
    return [out] * call.outputs


def _reduced(call: Call, first: Extent) -> Extent:
    if first.shape is None or not call.operator.startswith(("Reduce", "Arg")):
        keeps = call.operator in ("Compress", "Slice", "Split", "ScatterElements", "ScatterND")
        return Extent(first.shape if keeps else None, first.elements)
    axes = call.attributes.get("axes")
    if call.operator.startswith("Arg"):
        axes = [call.number("axis", 0)]
    elif not isinstance(axes, list):
        values = call.inputs[1].values if len(call.inputs) > 1 else ()
        if values is None:
            return Extent(None, first.elements)
        axes = [int(v) for v in values]
    rank = max(len(first.shape), 1)
    gone = {axis % rank for axis in axes} if axes else set(range(rank))
    keep = call.number("keepdims", 1)
    shape = tuple(1 if i in gone else d for i, d in enumerate(first.shape) if keep or i not in gone)
    return of_shape(shape)


def _passes(call: Call) -> bool:
    return call.operator in ("Identity", "Cast")


def _moved(call: Call, first: Extent) -> Extent:
    shape: Shape | None = None
    if call.operator == "Flatten" and first.shape is not None:
        axis = call.number("axis", 1) % (len(first.shape) + 1)
        shape = (_product(first.shape[:axis]), _product(first.shape[axis:]))
    elif call.operator == "Reshape" and call.input(1).values is not None:
        shape = tuple(None if d <= 0 else d for d in call.constants(1))
    elif call.operator == "Transpose" and first.shape is not None:
        order = call.attributes.get("perm") or list(range(len(first.shape)))[::-1]
        if sorted(order) == list(range(len(first.shape))):
            shape = tuple(first.shape[i] for i in order)
    elif call.operator == "Unsqueeze" and first.shape is not None:
        shape = _unsqueezed(call, first.shape)
    elif call.operator == "Squeeze" and first.shape is not None:
        shape = _squeezed(call, first.shape)
    # At most as many elements as before, whatever the shape claims.
    return Extent(shape, first.elements, first.values)


def _axes(call: Call) -> list[int] | None:
    """Return the axes of an attribute or a constant; None where they are neither."""
    axes = call.attributes.get("axes")
    if isinstance(axes, list):
        return axes
    if len(call.inputs) < 2 or call.input(1).values is None:
        return None
    return list(call.constants(1))


def _squeezed(call: Call, shape: Shape) -> Shape | None:
    axes = _axes(call)
    if not axes or not shape:
        return None
    gone = {axis % len(shape) for axis in axes}
    return tuple(d for i, d in enumerate(shape) if i not in gone)


def _unsqueezed(call: Call, shape: Shape) -> Shape | None:
    axes = _axes(call)
    if axes is None:
        return None
    rank = len(shape) + len(axes)
    if rank > 16:
        return None
    rest = iter(shape)
    chosen = {axis % rank for axis in axes}
    return tuple(1 if i in chosen else next(rest, 1) for i in range(rank))


def _product(shape: Shape) -> int | None:
    return None if None in shape else math.prod(d for d in shape if d is not None)


def _broadcast(inputs: tuple[Extent, ...]) -> Extent:
    shapes = [i.shape for i in inputs if i.shape is not None]
    if len(shapes) < len(inputs):
        return Extent(None, math.prod(i.elements for i in inputs))
    rank = max((len(s) for s in shapes), default=0)
    padded = [(1,) * (rank - len(s)) + s for s in shapes]
    shape: list[int | None] = []
    for dims in zip(*padded, strict=True):
        known = [d for d in dims if d is not None and d != 1]
        shape.append(max(known) if known else (None if None in dims else 1))
    return of_shape(tuple(shape))


def _highest(call: Call) -> list[Extent]:
    first, count = call.input(0), call.input(1).values
    if not first.shape or (count is not None and len(count) != 1):
        return [Extent(None, first.elements)]
    axis = call.number("axis", -1) % len(first.shape)
    kept = None if count is None else max(call.constants(1)[0], 0)
    shape = (*first.shape[:axis], kept, *first.shape[axis + 1 :])
    return [of_shape(shape) if count else Extent(shape, first.elements)]


def _tile(call: Call) -> list[Extent]:
    return [Extent(None, call.input(0).elements * math.prod(max(n, 0) for n in call.constants(1)))]


def _range(call: Call) -> list[Extent]:
    bounds = [call.input(i).values for i in range(3)]
    if any(not v for v in bounds):
        raise UnboundedError("the bounds of Range are computed")
    start, limit, delta = (v[0] for v in bounds if v)
    if not delta or not math.isfinite(start + limit + delta):
        return [Extent(None, 1 << 62)]
    return [of_shape((max(0, math.ceil((limit - start) / delta)),))]


def _resize(call: Call) -> list[Extent]:
    if len(call.inputs) > 3 and call.input(3).values:
        return [of_shape(call.constants(3))]
    scales = call.input(2).values
    if not scales:
        raise UnboundedError("the scales of Resize are computed")
    factor = math.prod(s if math.isfinite(s) else 1e18 for s in scales)
    return [Extent(None, math.ceil(call.input(0).elements * factor))]


def _pad(call: Call) -> list[Extent]:
    pads = call.attributes.get("pads")
    sizes = tuple(pads) if isinstance(pads, list) else call.constants(1)
    shape = call.input(0).shape
    if shape is None or len(sizes) != 2 * len(shape):
        raise UnboundedError("the shape that Pad widens is not known")
    half = len(shape)
    return [
        of_shape(
            tuple(
                None
                if d is None and not sizes[i] + sizes[half + i]
                else max(0, (d or 1) + sizes[i] + sizes[half + i])
                for i, d in enumerate(shape)
            )
        )
    ]


def _concat(call: Call) -> list[Extent]:
    elements = sum(i.elements for i in call.inputs)
    shapes = [i.shape for i in call.inputs]
    values: tuple[float, ...] | None = ()
    for each in call.inputs:
        values = None if values is None or each.values is None else values + each.values
    if values is not None and len(values) > 64:
        values = None
    if any(s is None or len(s) != len(shapes[0] or ()) for s in shapes) or not shapes[0]:
        return [Extent(None, elements, values)]
    rank = len(shapes[0])
    axis = call.number("axis", 0) % rank
    dims = [s[axis] for s in shapes if s is not None]
    total = None if None in dims else sum(d for d in dims if d is not None)
    shape = (*shapes[0][:axis], total, *shapes[0][axis + 1 :])
    return [Extent(shape, elements, values)]


def _gather(call: Call) -> list[Extent]:
    data, index = call.input(0), call.input(1)
    if call.operator == "GatherND" and data.shape and index.shape and index.shape[-1] == 1:
        return [of_shape((*index.shape[:-1], *data.shape[1 + call.number("batch_dims", 0) :]))]
    if call.operator != "Gather" or data.shape is None or index.shape is None or not data.shape:
        # Every index may take a whole slice.
        rank_one = data.shape is not None and len(data.shape) <= 1
        return [Extent(None, index.elements * (1 if rank_one else data.elements))]
    axis = call.number("axis", 0) % len(data.shape)
    return [of_shape((*data.shape[:axis], *index.shape, *data.shape[axis + 1 :]))]


def _matmul(call: Call) -> list[Extent]:
    left, right = call.input(0), call.input(1)
    if left.shape is None or right.shape is None or min(len(left.shape), len(right.shape)) < 1:
        return [Extent(None, left.elements * right.elements)]
    if len(left.shape) == 1 or len(right.shape) == 1:
        return [Extent(None, max(left.elements, right.elements))]
    front = _broadcast((of_shape(left.shape[:-2]), of_shape(right.shape[:-2]))).shape or ()
    return [of_shape((*front, left.shape[-2], right.shape[-1]))]


def _gemm(call: Call) -> list[Extent]:
    left, right = call.input(0).shape, call.input(1).shape
    if left is None or right is None or len(left) != 2 or len(right) != 2:
        return [Extent(None, call.input(0).elements * call.input(1).elements)]
    rows = left[1] if call.number("transA", 0) else left[0]
    columns = right[0] if call.number("transB", 0) else right[1]
    return [_broadcast((of_shape((rows, columns)), call.input(2)))]


def _convolved(call: Call) -> list[Extent]:
    data = call.input(0).shape
    pads = call.attributes.get("pads") or []
    if data is None or len(data) < 3 or any(not isinstance(p, int) for p in pads):
        raise UnboundedError(f"the shape that {call.operator} slides over is not known")
    grown = [None if d is None and not any(pads) else (d or 1) + sum(pads) for d in data[2:]]
    channels = data[1]
    if call.operator == "Conv":
        weights = call.input(1).shape
        if not weights:
            raise UnboundedError("the weights of Conv are computed")
        channels = weights[0]
    return [of_shape((data[0], channels, *grown))]


def _one_hot(call: Call) -> list[Extent]:
    depth = call.constants(1)
    first = call.input(0)
    if not depth:
        raise UnboundedError("the depth of OneHot is empty")
    shape = None if first.shape is None else (*first.shape, depth[0])
    return [Extent(shape, first.elements * max(depth[0], 0))]


def _columns(call: Call, columns: int) -> Extent:
    rows = call.input(0).shape
    return of_shape((rows[0] if rows else None, columns))


def _classifier(call: Call) -> list[Extent]:
    classes = max(call.length("classlabels_int64s", "classlabels_strings", "classlabels_ints"), 2)
    rows = call.input(0).shape
    return [of_shape((rows[0] if rows else None,)), _columns(call, classes)]


def _targets(call: Call) -> list[Extent]:
    return [_columns(call, max(call.number("n_targets", call.number("targets", 1)), 1))]


def _encoded(call: Call) -> list[Extent]:
    first = call.input(0)
    categories = call.length("cats_int64s", "cats_strings")
    shape = None if first.shape is None else (*first.shape, categories)
    return [Extent(shape, first.elements * categories)]


def _features(call: Call) -> list[Extent]:
    sizes = call.attributes.get("inputdimensions")
    total = sum(max(n, 0) for n in sizes) if isinstance(sizes, list) else 0
    return [_columns(call, max(total, sum(i.elements for i in call.inputs)))]


def _terms(call: Call) -> list[Extent]:
    indexes = call.attributes.get("ngram_indexes")
    width = max((n for n in indexes if isinstance(n, int)), default=0) + 1 if indexes else 1
    rows = call.input(0).shape
    return [of_shape((*rows[:-1], width)) if rows else Extent(None, width)]


def _picked(call: Call) -> list[Extent]:
    data, index = call.input(0), call.input(1)
    if data.shape is not None and len(data.shape) == 2 and index.shape is not None:
        return [of_shape((data.shape[0], index.elements))]
    return [Extent(None, max(data.elements, 1) * index.elements)]


def _shape_of(call: Call) -> list[Extent]:
    shape = call.input(0).shape
    if shape is None:
        return [Extent((None,), 1)]
    known = None if None in shape else tuple(float(d) for d in shape if d is not None)
    return [of_shape((len(shape),), known)]


_RULES: dict[str, Callable[[Call], list[Extent]]] = {
    "ArrayFeatureExtractor": _picked,
    "AveragePool": _convolved,
    "Concat": _concat,
    "Constant": lambda call: [call.attributes.get("value", UNKNOWN)],
    "ConstantOfShape": lambda call: [of_shape(call.constants(0))],
    "Conv": _convolved,
    "Einsum": lambda call: [Extent(None, math.prod(i.elements for i in call.inputs))],
    "Expand": lambda call: [_broadcast((call.input(0), of_shape(call.constants(1))))],
    "EyeLike": lambda call: [call.input(0)],
    "FeatureVectorizer": _features,
    "Gather": _gather,
    "GatherElements": lambda call: [call.input(1)],
    "GatherND": _gather,
    "Gemm": _gemm,
    "LinearClassifier": _classifier,
    "LinearRegressor": _targets,
    "LpPool": _convolved,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "MaxPool": _convolved,
    "NonZero": lambda call: [
        Extent(None, call.input(0).elements * max(1, len(call.input(0).shape or (1,) * 8)))
    ],
    "OneHot": _one_hot,
    "OneHotEncoder": _encoded,
    "Pad": _pad,
    "Range": _range,
    "Resize": _resize,
    "SVMClassifier": _classifier,
    "SVMRegressor": _targets,
    "Shape": _shape_of,
    "Size": lambda call: [of_shape(())],
    "TfIdfVectorizer": _terms,
    "Tile": _tile,
    "TopK": _highest,
    "TreeEnsemble": _targets,
    "TreeEnsembleClassifier": _classifier,
    "TreeEnsembleRegressor": _targets,
    "ZipMap": lambda call: [call.input(0)],
}
