"""A graph under construction: nodes and constants that are named by order and stored once.

Equal nodes and equal constants are one, and what no output needs is left out, so that the bytes
depend on the model alone. Operator sets: https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, helper, numpy_helper

from cannery.cans.manifest import Terms
from cannery.errors import ConversionError

OPSET = 21
ML = "ai.onnx.ml"
ML_OPSET = 5
IR_VERSION = 10
NUMBERS = "numbers"
STRINGS = "strings"
CODES = "codes"
"""The wire on which every string of the input is the number of that string in the vocabulary."""
UNKNOWN_CODE = -1.0
"""The code of a string that is in no vocabulary."""

Attribute: TypeAlias = int | float | str | Sequence[int] | NDArray[Any] | GraphProto


@dataclass(frozen=True, slots=True)
class _Node:
    proto: NodeProto
    inputs: tuple[str, ...]


Branch: TypeAlias = Callable[["Graph"], Sequence[str]]
"""Adds nodes to a graph of their own and returns their results."""


class Graph:
    """Collects nodes and constants; `finish` turns them into the bytes of a model."""

    def __init__(self, numbers: int, strings: int, *, prefix: str = "") -> None:
        """Start a graph with so many number and string columns in its inputs.

        `prefix` keeps the names in the body of a loop apart from those around it.
        """
        self.numbers = numbers
        self.strings = strings
        self.widths: dict[str, int] = {NUMBERS: numbers, STRINGS: strings, CODES: strings}
        """Columns of the wires that are blocks of columns."""
        self._nodes: dict[str, _Node] = {}
        self._cache: dict[tuple[Any, ...], str] = {}
        self._constants: dict[str, TensorProto] = {}
        self._vocabulary: dict[str, int] = {}
        self.texts: dict[tuple[str, Terms], str] = {}
        """Inputs of texts that arrive in terms, by the feature and how it is cut."""
        self._prefix = prefix

    def constant(self, value: Any) -> str:
        """Return the name of a constant tensor (float64, int64, bool or string); equal ones are shared."""
        array = np.asarray(value)
        if array.dtype.kind in "US":
            array = array.astype(object)
        content = (
            repr(array.tolist()).encode()
            if array.dtype == object
            else np.ascontiguousarray(array).tobytes()
        )
        key = ("constant", str(array.dtype), array.shape, hashlib.sha256(content).digest())
        if key not in self._cache:
            name = f"{self._prefix}c{len(self._constants)}"
            self._constants[name] = numpy_helper.from_array(array, name)
            self._cache[key] = name
        return self._cache[key]

    def node(
        self,
        operator: str,
        inputs: Sequence[str],
        *,
        domain: str = "",
        width: int | None = None,
        reached: Iterable[str] = (),
        **attributes: Attribute,
    ) -> str:
        """Add a node of one output and return that wire; an equal node is returned again.

        `width` is noted where the output is a block of so many columns. `reached`: wires that graphs
        within the node take from here.
        """
        wire = self.nodes(operator, inputs, 1, domain=domain, reached=reached, **attributes)[0]
        if width is not None:
            self.widths[wire] = width
        return wire

    def nodes(
        self,
        operator: str,
        inputs: Sequence[str],
        count: int,
        *,
        domain: str = "",
        reached: Iterable[str] = (),
        **attributes: Attribute,
    ) -> tuple[str, ...]:
        """Add a node of `count` outputs and return these wires; those of an equal node are returned again."""
        proto = NodeProto(op_type=operator, domain=domain)
        proto.input.extend(inputs)
        for name, value in sorted(attributes.items()):
            proto.attribute.append(_attribute(name, value))
        digest = hashlib.sha256(proto.SerializeToString(deterministic=True)).digest()
        key = ("node", digest)
        if key not in self._cache:
            wire = f"{self._prefix}v{len(self._nodes)}"
            proto.output.extend([wire, *(f"{wire}_{i}" for i in range(1, count))])
            self._nodes[wire] = _Node(proto, (*inputs, *reached))
            self._cache[key] = wire
        return tuple(self._nodes[self._cache[key]].proto.output)

    def maker(self, wire: str) -> NodeProto | None:
        """Return the node that makes a wire as its first output."""
        node = self._nodes.get(wire)
        return None if node is None else node.proto

    def loop(
        self, turns: int, going: str, states: Sequence[str], body: GraphProto
    ) -> tuple[str, ...]:
        """Run `body` (see `as_body`) while it says so, at most so many times; returns the last states."""
        inputs = [self.constant(np.int64(turns)), going, *states]
        return self.nodes("Loop", inputs, len(states), body=body)

    def choose(
        self,
        wire: str,
        rows: int,
        many: Branch,
        few: Branch,
        *,
        reached: Sequence[str] = (),
    ) -> tuple[str, ...]:
        """Return what `many` adds where `wire` has so many rows, else what `few` adds: wires of doubles.

        Both are given a graph of their own; from this one they take `wire` and what they have `reached`.
        """
        size = self.node("Shape", [wire], start=0, end=1)
        enough = self.node("GreaterOrEqual", [size, self.constant([rows])])
        branches = {}
        for name, add in (("then_branch", many), ("else_branch", few)):
            inner = Graph(0, 0, prefix=f"{enough}{name[0]}")
            branches[name] = inner._as_branch(add(inner))
        count = len(branches["then_branch"].output)
        return self.nodes("If", [enough], count, reached=[wire, *reached], **branches)

    def _as_branch(self, results: Sequence[str]) -> GraphProto:
        needed = self._needed(results)
        used = {i for node in needed for i in node.inputs}
        graph = GraphProto(name="branch")
        graph.initializer.extend(t for n, t in self._constants.items() if n in used)
        graph.node.extend(node.proto for node in needed)
        graph.output.extend(_untyped(result) for result in results)
        return graph

    def as_body(self, states: Sequence[str], going: str, results: Sequence[str]) -> GraphProto:
        """Return this graph as the body of a loop: from these states (doubles) to these results.

        `going` (bool) says whether another turn is needed.
        """
        needed = self._needed({going, *results})
        used = {i for node in needed for i in node.inputs} | {going, *results}
        graph = GraphProto(name="body")
        graph.input.append(_scalar(f"{self._prefix}turn", TensorProto.INT64))
        graph.input.append(_scalar(f"{self._prefix}before", TensorProto.BOOL))
        graph.input.extend(_untyped(name) for name in states)
        graph.initializer.extend(t for n, t in self._constants.items() if n in used)
        graph.node.extend(node.proto for node in needed)
        graph.output.append(_scalar(going, TensorProto.BOOL))
        graph.output.extend(_untyped(name) for name in results)
        return graph

    def lowest(self, wire: str, count: int) -> tuple[str, str]:
        """Return the `count` lowest numbers of each row, ascending, and their places (int64).

        Of equal ones the first come first.
        """
        values = self.node("TopK", [wire, self.constant([count])], axis=1, largest=0)
        places = f"{values}i"
        proto = self._nodes[values].proto
        if len(proto.output) == 1:
            proto.output.append(places)
        return values, places

    def terms(self, feature: str, terms: Terms) -> str:
        """Return the input, string [N, terms], in which a text arrives in terms."""
        return self.texts.setdefault((feature, terms), f"terms{len(self.texts)}")

    def code(self, text: str) -> float:
        """Return the number that stands for `text` on the wire `CODES`."""
        return float(self._vocabulary.setdefault(text, len(self._vocabulary)))

    def finish(self, name: str, outputs: Sequence[tuple[str, str, int, int | None]]) -> bytes:
        """Return the serialised model with outputs (name, wire, element type, columns or None for [N])."""
        sources = {wire for _, wire, _, _ in outputs}
        needed = self._needed(sources)
        graph = GraphProto(name=name)
        inputs_used = {i for node in needed for i in node.inputs} | sources
        if CODES in inputs_used:
            graph.node.append(self._encoder())
        graph.node.extend(node.proto for node in needed)
        for output, wire, _, _ in outputs:
            graph.node.append(helper.make_node("Identity", [wire], [output]))
        graph.initializer.extend(t for n, t in self._constants.items() if n in inputs_used)
        graph.input.extend(self._inputs())
        for output, _, kind, columns in outputs:
            shape: list[str | int] = ["N"] if columns is None else ["N", columns]
            graph.output.append(helper.make_tensor_value_info(output, kind, shape))
        _rename_outputs(graph)
        return _serialise(graph)

    def _needed(self, sources: Iterable[str]) -> list[_Node]:
        wanted = set(sources)
        kept: list[_Node] = []
        for node in reversed(self._nodes.values()):
            if wanted.intersection(node.proto.output):
                wanted.update(node.inputs)
                kept.append(node)
        return kept[::-1]

    def _inputs(self) -> Iterable[onnx.ValueInfoProto]:
        if self.numbers:
            yield helper.make_tensor_value_info(NUMBERS, TensorProto.DOUBLE, ["N", self.numbers])
        if self.strings:
            yield helper.make_tensor_value_info(STRINGS, TensorProto.STRING, ["N", self.strings])
        for name in self.texts.values():
            yield helper.make_tensor_value_info(name, TensorProto.STRING, ["N", f"{name}_count"])

    def _encoder(self) -> NodeProto:
        words = list(self._vocabulary) or [""]
        proto = NodeProto(op_type="LabelEncoder", domain=ML)
        proto.input.append(STRINGS)
        proto.output.append(CODES)
        for name, value in _dictionary(words, np.arange(len(words), dtype=float), UNKNOWN_CODE):
            proto.attribute.append(_attribute(name, value))
        return proto

    def lookup(
        self,
        wire: str,
        table: Mapping[str, float] | Mapping[float, float],
        default: float,
    ) -> str:
        """Map every element of a string or double wire through `table`, to `default` where it is not in it."""
        keys, values = list(table), np.array(list(table.values()), dtype=float)
        return self.node(
            "LabelEncoder",
            [wire],
            domain=ML,
            width=None,
            **dict(_dictionary(keys, values, default)),
        )


def _dictionary(
    keys: list[Any], values: NDArray[np.float64], default: float
) -> tuple[tuple[str, NDArray[Any]], ...]:
    kind = object if keys and isinstance(keys[0], str) else np.float64
    return (
        ("default_tensor", np.array([default])),
        ("keys_tensor", np.array(keys, dtype=kind)),
        ("values_tensor", values),
    )


def _attribute(name: str, value: Attribute) -> AttributeProto:
    """Make an attribute; a long list of integers is filled in one go."""
    if isinstance(value, np.ndarray) and value.dtype != np.int64:
        return helper.make_attribute(name, numpy_helper.from_array(value))
    if isinstance(value, np.ndarray):
        proto = AttributeProto(name=name, type=AttributeProto.INTS)
        proto.ints.extend(value.tolist())
        return proto
    return helper.make_attribute(name, value)


def _scalar(name: str, kind: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, [])


def _untyped(name: str) -> onnx.ValueInfoProto:
    """Declare doubles of any shape."""
    return helper.make_tensor_value_info(name, TensorProto.DOUBLE, None)


def _rename_outputs(graph: GraphProto) -> None:
    """Let the node that makes an output carry its name, where that spares an Identity node."""
    makers = {wire for node in graph.node for wire in node.output}
    makers -= {
        wire
        for node in graph.node
        if node.op_type == "If"
        for attribute in node.attribute
        for inner in attribute.g.node
        for wire in inner.input
    }
    renamed: dict[str, str] = {}
    kept: list[NodeProto] = []
    for node in graph.node:
        source = node.input[0] if node.op_type == "Identity" else ""
        spare = node.op_type == "Identity" and source in makers and source not in renamed
        if spare:
            renamed[source] = node.output[0]
        else:
            kept.append(node)
    for node in kept:
        node.input[:] = [renamed.get(wire, wire) for wire in node.input]
        node.output[:] = [renamed.get(wire, wire) for wire in node.output]
    del graph.node[:]
    graph.node.extend(kept)


def _serialise(graph: GraphProto) -> bytes:
    model = helper.make_model_gen_version(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(ML, ML_OPSET)],
        ir_version=IR_VERSION,
        producer_name="cannery",
    )
    try:
        return bytes(model.SerializeToString(deterministic=True))
    except ValueError as error:  # protobuf's limit of 2 GB
        raise ConversionError(
            f"the graph is too large for one ONNX file: {error}",
            hint="take another runtime: --runtime skops",
        ) from error
