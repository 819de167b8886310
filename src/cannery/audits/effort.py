"""How much a node computes for one row: a graph of small tensors can still take hours."""

from __future__ import annotations

from cannery.audits.extents import Call, Extent


def multiplications(call: Call, made: Extent) -> int:
    """Return at most how many multiplications a node takes to make its first output."""
    match call.operator:
        case "MatMul" | "MatMulInteger" | "Gemm":
            left = call.input(0)
            turned = call.operator == "Gemm" and call.number("transA", 0)
            inner = left.shape[0 if turned else -1] if left.shape else left.elements
            return made.elements * (1 if inner is None else inner)
        case "Conv":
            weights = call.input(1)
            channels = weights.shape[0] if weights.shape else None
            return made.elements * (weights.elements // max(channels or 1, 1))
        case "Einsum":
            return made.elements
    return 0
