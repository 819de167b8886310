"""Topics of documents (latent Dirichlet allocation): shares that are moved until they hardly move."""

from __future__ import annotations

from typing import Any

import numpy as np

from cannery.conversions.onnx.answers import column, concat
from cannery.conversions.onnx.builder import Graph
from cannery.conversions.onnx.columns import Block, materialise, of_wire
from cannery.conversions.onnx.emitter import Emit, Emitter

_TURNS = 256
"""What a loop in a graph may have at most."""
_TERMS = 1 << 12
"""Terms that every turn goes through, those among them that a document doesn't have."""
_EULER = 0.577215664901532860606512090082402431
_EPSILON = float(np.finfo(np.float64).eps)


def _allocated(emitter: Emitter, estimator: Any, block: Block) -> Block:
    graph, words = emitter.graph, np.asarray(estimator.exp_dirichlet_component_)
    turns, count = int(estimator.max_doc_update_iter), len(words)
    if words.dtype != np.float64:
        raise emitter.refuse(estimator, "it computes in float32", "fit it on counts in float64")
    if not 0 < turns <= _TURNS or words.shape[1] > _TERMS:
        raise emitter.refuse(
            estimator,
            f"it goes {turns} times through {words.shape[1]} terms",
            f"at most {_TURNS} times (max_doc_update_iter) and {_TERMS} terms convert",
        )
    counts = materialise(graph, block)
    nothing = graph.node("Mul", [column(graph, counts, 0), graph.constant(0.0)])
    shares = graph.node("Add", [nothing, graph.constant(np.ones((1, count)))])
    pull = _expected(graph, shares, count)
    moving = graph.node("Add", [nothing, graph.constant(1.0)])
    body = _turn(words, float(estimator.doc_topic_prior_), float(estimator.mean_change_tol))
    told = graph.loop(turns, graph.constant(True), [shares, pull, moving, counts], body)[0]
    whole = graph.node("ReduceSum", [told, graph.constant([1])])
    return of_wire(graph, graph.node("Div", [told, whole]), count)


def _turn(words: Any, prior: float, tolerance: float) -> Any:
    """Return the body of the loop: documents whose shares hardly moved stay as they are."""
    body, count = Graph(0, 0, prefix="t"), len(words)
    shares, pull, moving, counts = "t_shares", "t_pull", "t_moving", "t_counts"
    across, down = (body.constant(np.ascontiguousarray(w)) for w in (words, words.T))
    weight = body.node("Add", [body.node("MatMul", [pull, across]), body.constant(_EPSILON)])
    gained = body.node("MatMul", [body.node("Div", [counts, weight]), down])
    moved = body.node("Add", [body.node("Mul", [pull, gained]), body.constant(prior)])
    change = body.node("Abs", [body.node("Sub", [shares, moved])])
    mean = body.node(
        "Div", [body.node("ReduceSum", [change, body.constant([1])]), body.constant(float(count))]
    )
    still = body.node("Less", [mean, body.constant(tolerance)])
    open_ = body.node("Greater", [moving, body.constant(0.0)])
    kept = body.node("Where", [open_, moved, shares])
    pulled = body.node("Where", [open_, _expected(body, moved, count), pull])
    on = body.node("Where", [still, body.constant(0.0), moving])
    going = body.node("Greater", [body.node("ReduceSum", [on], keepdims=0), body.constant(0.0)])
    states = [shares, pull, moving, counts]
    return body.as_body(states, going, [kept, pulled, on, body.node("Identity", [counts])])


def _expected(graph: Graph, shares: str, count: int) -> str:
    """Return exp(psi(shares) - psi(their sum)), as scikit-learn has it of a Dirichlet distribution."""
    whole = graph.node("ReduceSum", [shares, graph.constant([1])])
    told = _digamma(graph, concat(graph, [shares, whole]))
    each = graph.node("Gather", [told, graph.constant(np.arange(count))], axis=1)
    return graph.node("Exp", [graph.node("Sub", [each, column(graph, told, count)])])


def _digamma(graph: Graph, wire: str) -> str:
    """Compute psi as scikit-learn does, for speed and not to the last digit (J. Bernardo, AS 103, 1976)."""
    one = graph.constant(1.0)
    near = graph.node("LessOrEqual", [wire, graph.constant(1e-6)])
    pole = graph.node("Sub", [graph.constant(-_EULER), graph.node("Div", [one, wire])])
    x, total = wire, graph.node("Mul", [wire, graph.constant(0.0)])
    for _ in range(6):
        small = graph.node("Less", [x, graph.constant(6.0)])
        part = graph.node("Div", [one, x])
        total = graph.node("Where", [small, graph.node("Sub", [total, part]), total])
        x = graph.node("Where", [small, graph.node("Add", [x, one]), x])
    r = graph.node("Div", [one, x])
    square = graph.node("Mul", [r, r])
    tail = graph.constant(1.0 / 252.0)
    for term in (1.0 / 120.0, 1.0 / 12.0):
        tail = graph.node("Sub", [graph.constant(term), graph.node("Mul", [square, tail])])
    start = graph.node("Sub", [graph.node("Log", [x]), graph.node("Mul", [graph.constant(0.5), r])])
    rest = graph.node("Mul", [square, tail])
    told = graph.node("Sub", [graph.node("Add", [total, start]), rest])
    return graph.node("Where", [near, pole, told])


TABLE: dict[str, Emit] = {"sklearn.decomposition.LatentDirichletAllocation": _allocated}
