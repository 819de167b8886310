"""ZipMap, with which converters like to end a classifier: it makes a dictionary of each row of a tensor."""

from __future__ import annotations

from typing import Any

from onnx import TensorProto, helper

Labels = dict[str, tuple[str | int, ...]]
"""From an output to what its columns stand for."""


def maps_as_tensors(model: Any) -> Labels:
    """Let a graph answer the tensors of which its ZipMaps would make dictionaries; return the keys of these."""
    outputs = {value.name: value for value in model.graph.output}
    labels: Labels = {}
    for node in model.graph.node:
        if (node.domain, node.op_type) != ("ai.onnx.ml", "ZipMap"):
            continue
        name, keys = node.output[0], _keys(node)
        if name not in outputs or not keys:
            continue
        labels[name] = keys
        node.CopyFrom(helper.make_node("Identity", [node.input[0]], [name], name=node.name))
        shape = (None, len(keys))
        outputs[name].CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    return labels


def _keys(node: Any) -> tuple[str | int, ...]:
    for attribute in node.attribute:
        if attribute.strings:
            return tuple(text.decode("utf-8", "replace") for text in attribute.strings)
        if attribute.ints:
            return tuple(attribute.ints)
    return ()
