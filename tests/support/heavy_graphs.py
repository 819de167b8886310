"""A graph that is heavy for nothing."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def heavy_graph(data: bytes, size: int, dtype: type = np.float64) -> bytes:
    """Add a constant of `size` bytes to the small graph, of which every request reads one number for nothing."""
    model = onnx.load_model_from_string(data)
    graph = model.graph
    weights = np.ones(size // np.dtype(dtype).itemsize, dtype=dtype)
    constants = {"weights_beside": weights, "nothing": np.array(0.0)}
    graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in constants.items())
    at = next(i for i, node in enumerate(graph.node) if "z" in node.input)
    graph.node[at].input[0] = "z_beside"
    for node in (
        helper.make_node("Add", ["z", "added"], ["z_beside"]),
        helper.make_node("Mul", ["picked", "nothing"], ["added"]),
        helper.make_node("Cast", ["chosen"], ["picked"], to=TensorProto.DOUBLE),
        helper.make_node("Gather", ["weights_beside", "place"], ["chosen"]),
        helper.make_node("Cast", ["code"], ["place"], to=TensorProto.INT64),
    ):
        graph.node.insert(at, node)
    return model.SerializeToString()
