"""Distances and kernels between the rows and points that are known: support vectors, neighbours, centres.

Two ways lead to a distance. `squared` multiplies matrices, as fast as can be, and is exact to the last
digits of |x|²; `measured` goes from column to column in the order in which scikit-learn's trees add,
bit by bit as they do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cannery.conversions.onnx.answers import column
from cannery.conversions.onnx.builder import Graph
from cannery.errors import ConversionError

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A kernel by scikit-learn's name, with its parameters."""

    name: str
    gamma: float = 1.0
    coef0: float = 0.0
    degree: float = 3.0


def similarity(graph: Graph, wire: str, points: Numbers, kernel: Kernel) -> str:
    """Return the kernel of each row with each point, [N, points]."""
    match kernel.name:
        case "linear":
            return inner(graph, wire, points)
        case "poly" | "polynomial":
            power = graph.constant(float(kernel.degree))
            return graph.node("Pow", [_affine(graph, wire, points, kernel), power])
        case "sigmoid":
            return graph.node("Tanh", [_affine(graph, wire, points, kernel)])
        case "rbf":
            return falling(graph, squared(graph, wire, points), kernel.gamma)
        case "laplacian":
            return falling(graph, measured(graph, wire, points, 1.0), kernel.gamma)
        case "cosine":
            return _cosine(graph, wire, points)
        case name:
            raise ConversionError(f"its kernel '{name}' is not on the list")


def inner(graph: Graph, wire: str, points: Numbers) -> str:
    """Return the inner products, [N, points]."""
    return graph.node("MatMul", [wire, graph.constant(np.ascontiguousarray(points.T))])


def falling(graph: Graph, distances: str, gamma: float) -> str:
    """Return exp(-gamma · distance)."""
    return graph.node("Exp", [graph.node("Mul", [distances, graph.constant(-float(gamma))])])


def squared(graph: Graph, wire: str, points: Numbers) -> str:
    """Return the squared Euclidean distances, [N, points], by |x|² - 2·x·p + |p|² around the mean point."""
    middle = points.mean(axis=0, keepdims=True)
    near = points - middle
    shifted = graph.node("Sub", [wire, graph.constant(middle)])
    cross = inner(graph, shifted, -2.0 * near)
    own = graph.node("ReduceSumSquare", [shifted, graph.constant([1])])
    theirs = graph.constant(np.einsum("ij,ij->i", near, near).reshape(1, -1))
    return graph.node("Relu", [graph.node("Add", [graph.node("Add", [own, cross]), theirs])])


def measured(graph: Graph, wire: str, points: Numbers, p: float) -> str:
    """Return the sum over the columns, in their order, of |x - point| to the power p; the largest for p=∞."""
    total = ""
    for index, values in enumerate(points.T):
        away = graph.node(
            "Sub", [column(graph, wire, index), graph.constant(values.reshape(1, -1).copy())]
        )
        term = graph.node("Mul", [away, away]) if p == 2 else graph.node("Abs", [away])
        if p not in (1, 2, np.inf):
            term = graph.node("Pow", [term, graph.constant(float(p))])
        total = graph.node("Max" if p == np.inf else "Add", [total, term]) if total else term
    return total


def _affine(graph: Graph, wire: str, points: Numbers, kernel: Kernel) -> str:
    scaled = graph.node("Mul", [inner(graph, wire, points), graph.constant(float(kernel.gamma))])
    return graph.node("Add", [scaled, graph.constant(float(kernel.coef0))])


def _cosine(graph: Graph, wire: str, points: Numbers) -> str:
    lengths = np.sqrt(np.einsum("ij,ij->i", points, points))
    length = graph.node("Sqrt", [graph.node("ReduceSumSquare", [wire, graph.constant([1])])])
    nothing = graph.node("Equal", [length, graph.constant(0.0)])
    safe = graph.node("Where", [nothing, graph.constant(1.0), length])
    directions = points / np.where(lengths == 0, 1.0, lengths)[:, None]
    return inner(graph, graph.node("Div", [wire, safe]), directions)


def dense(points: Any) -> Numbers:
    """Return points as doubles, also from a sparse matrix."""
    return np.asarray(points.toarray() if hasattr(points, "toarray") else points, dtype=np.float64)
