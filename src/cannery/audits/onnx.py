"""ONNX files, on bytes and before any session: nothing outside, no endless loops, no bombs, no wild indices."""

from __future__ import annotations

import math
from typing import Any

from cannery.audits.effort import multiplications
from cannery.audits.ensembles import ensemble_problem
from cannery.audits.extents import UNKNOWN, Call, Extent, UnboundedError, extents, of_shape
from cannery.audits.ledger import Ledger, remedy_for
from cannery.audits.opcodes import Data
from cannery.audits.operators import HIGHEST_IR, HIGHEST_OPSET, LOOPS, LOWEST_IR, is_listed
from cannery.audits.weights import weights_problem

_WIDTHS = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 8: 0, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 14: 8}
_WIDTHS |= {15: 16, 16: 2}
"""ONNX element type → bytes; 8 is text. Others (float8, int4) are not listed."""
_KEPT = 64
"""Elements of a constant that are looked at."""
_TURNS = 256
"""Turns that a loop may take."""
_LISTS = ("float", "int32", "int64", "string", "double", "uint64")
_GRAPHS = (5, 10)
_SPARSE = (11, 12)


def audit_onnx(data: Data, ledger: Ledger) -> None:
    """Audit an ONNX file; the parser of protobuf is all that touches it."""
    # Both are slow to import, and needed for this format alone.
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    if len(data) > ledger.limits.graph:
        message = f"a graph of {len(data)} bytes; at most {ledger.limits.graph} are read"
        ledger.find("too-long", "unreadable", message)
        return
    model = ModelProto()
    try:
        model.ParseFromString(bytes(data[:]))
    except (DecodeError, RuntimeError) as error:
        ledger.find("broken-onnx", "unreadable", f"not an ONNX file: {error}")
        return
    if not model.HasField("graph") or not model.graph.node:
        ledger.find("broken-onnx", "unreadable", "an ONNX file without a graph")
        return
    _Graph(model, ledger).check()


class _Graph:
    """One look at a model."""

    def __init__(self, model: Any, ledger: Ledger) -> None:
        self.model = model
        self.graph = model.graph
        self.ledger = ledger
        self.known: dict[str, Extent] = {}
        self.made = 0
        """Elements of all large tensors together."""
        self.effort = 0
        """Multiplications for one row."""
        self.within = False
        """Whether this is within a loop or a choice."""

    def refuse(self, rule: str, message: str) -> None:
        self.ledger.find(rule, "unsafe", message)

    def review(self, rule: str, message: str, name: str) -> None:
        self.ledger.find(rule, "review", message, name=name, remedy=remedy_for(name))

    def check(self) -> None:
        """Check the header, the constants, then every node in order."""
        self._check_header()
        for value in self.graph.input:
            self._define(value.name, _declared(value))
        self._check_content()

    def _check_content(self) -> None:
        graph = self.graph
        if graph.sparse_initializer:
            self.refuse("sparse-tensor", "the graph has sparse constants")
        for tensor in graph.initializer:
            if not self.within:  # under the name of an input it is its default
                self.known.pop(tensor.name, None)
            self._define(tensor.name, self._tensor(tensor, f"constant '{tensor.name[:80]}'"))
        for node in graph.node:
            self._check_node(node)
        for value in graph.output:
            if value.name not in self.known:
                self.refuse("broken-graph", f"output '{value.name[:80]}' is made by no node")

    def _check_header(self) -> None:
        model = self.model
        if not LOWEST_IR <= model.ir_version <= HIGHEST_IR:
            message = f"IR version {model.ir_version}; {LOWEST_IR} to {HIGHEST_IR} are read"
            self.ledger.find("unknown-version", "unreadable", message)
        seen: dict[str, int] = {}
        for opset in model.opset_import:
            domain = "" if opset.domain == "ai.onnx" else opset.domain
            highest = HIGHEST_OPSET.get(domain)
            if highest is None:
                message = f"operators of '{domain[:80]}' are not listed"
                # protobuf hands on as bytes what is no UTF-8
                self.review("unknown-domain", message, f"{domain[:80]}")
            elif not 1 <= opset.version <= highest:
                message = f"version {opset.version} of '{domain or 'ai.onnx'}'; at most {highest}"
                self.ledger.find("unknown-version", "unreadable", message)
            if seen.setdefault(domain, opset.version) != opset.version:  # skl2onnx says it twice
                self.refuse("broken-graph", f"two versions of '{domain[:80] or 'ai.onnx'}'")
        if model.functions:
            self.refuse("functions", "the file defines operators of its own")
        if model.training_info:
            self.refuse("training", "the file holds training graphs")

    def _define(self, name: str, extent: Extent) -> None:
        if not name:
            return
        if name in self.known:
            self.refuse("broken-graph", f"value '{name[:80]}' is made twice")
        self.known[name] = extent

    # Tensors

    def _tensor(self, tensor: Any, what: str) -> Extent:
        """Judge a constant: its bytes are in the file, and as many as its shape says."""
        if tensor.data_location or tensor.external_data:
            location = next((e.value for e in tensor.external_data if e.key == "location"), "")
            self.refuse("external-data", f"{what} is read from another file, {location[:120]!r}")
            return UNKNOWN
        shape = tuple(tensor.dims)
        width = _WIDTHS.get(tensor.data_type)
        if width is None or any(d < 0 for d in shape) or len(shape) > 64:
            self.refuse("hostile-tensor", f"{what} has an impossible type or shape")
            return UNKNOWN
        count = math.prod(shape)
        if tensor.HasField("raw_data") and width:
            held, expected = len(tensor.raw_data), count * width
        else:
            held = _lists(tensor)
            expected = count * (2 if tensor.data_type in (14, 15) else 1)
        if held != expected or (tensor.HasField("raw_data") and _lists(tensor)):
            self.refuse("hostile-tensor", f"{what} says it has {expected} items and has {held}")
            return UNKNOWN
        return of_shape(shape, self._values(tensor, count))

    def _values(self, tensor: Any, count: int) -> tuple[float, ...] | None:
        if count > _KEPT or tensor.data_type not in (1, 6, 7, 11):
            return None
        from onnx.numpy_helper import to_array

        return tuple(float(v) for v in to_array(tensor).reshape(-1))

    def _attributes(self, node: Any, what: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for attribute in node.attribute:
            name = attribute.name
            if name in found:
                self.refuse("broken-graph", f"attribute '{name[:80]}' of {what} is given twice")
            if attribute.ref_attr_name:
                self.refuse("functions", f"attribute '{name[:80]}' of {what} refers elsewhere")
            if attribute.type in _GRAPHS or attribute.HasField("g") or attribute.graphs:
                self.refuse("nested-graph", f"{what} holds a graph of its own")
            elif attribute.type in _SPARSE or attribute.HasField("sparse_tensor"):
                self.refuse("sparse-tensor", f"{what} holds a sparse tensor")
            elif attribute.type == 4 or attribute.HasField("t"):
                found[name] = self._tensor(attribute.t, f"attribute '{name[:80]}' of {what}")
                found[f"{name}.elements"] = found[name].elements
            elif attribute.tensors:
                for tensor in attribute.tensors:
                    self._tensor(tensor, f"attribute '{name[:80]}' of {what}")
            else:
                found[name] = _plain(attribute)
        return found

    # Nodes

    def _check_node(self, node: Any) -> None:
        domain = "" if node.domain == "ai.onnx" else node.domain
        operator = node.op_type
        label = f"{domain or 'ai.onnx'}.{operator}"[:120]
        what = f"node '{(node.name or operator)[:80]}'"
        if operator == "Loop" and not domain and not self.within and self._check_loop(node, what):
            return
        if operator == "If" and not domain and not self.within and self._check_choice(node, what):
            return
        attributes = self._attributes(node, what)
        inputs = self._inputs(node, what)
        outputs = list(node.output)
        if operator in LOOPS:
            self.refuse("loop", f"{what} is a {operator}, which may run for ever")
        elif not is_listed(domain, operator):
            self.review("unknown-operator", f"{what} uses operator '{label}'", label)
        else:
            call = Call(operator, inputs, _constant(attributes), len(outputs))
            self._check_indices(operator, attributes, inputs, what)
            for output, extent in zip(outputs, self._extents(call, what, label), strict=False):
                self._define(output, extent)
        for output in outputs:
            if output and output not in self.known:
                self.known[output] = UNKNOWN

    def _check_loop(self, node: Any, what: str) -> bool:
        """Check a loop that can't run for ever, nor grow; return False for any other.

        Its turns are a small constant, its body takes nothing from outside, and every state comes out
        of a turn in the shape in which it went in.
        """
        body = node.attribute[0].g if len(node.attribute) == 1 else None
        states = list(node.input)[2:]
        if body is None or node.attribute[0].name != "body" or len(node.output) != len(states):
            return False
        if (len(body.input), len(body.output)) != (len(states) + 2, len(states) + 1):
            return False
        if len(node.input) < 2:
            return False
        turns, _, *before = self._inputs(node, what)
        if turns.values is None or len(turns.values) != 1 or not 0 < turns.values[0] <= _TURNS:
            return False
        inner = _Graph(self.model, self.ledger)
        inner.graph, inner.within = body, True
        for value, extent in zip(body.input, (of_shape(()), of_shape(()), *before), strict=True):
            inner._define(value.name, Extent(extent.shape, extent.elements))
        inner._check_content()
        self.made += inner.made * int(turns.values[0])
        self._take_time(inner.effort * int(turns.values[0]))
        after = [inner.known.get(value.name, UNKNOWN) for value in body.output[1:]]
        if any(a.shape is None or a.shape != b.shape for a, b in zip(after, before, strict=True)):
            self.refuse("loop", f"{what} is a Loop whose states may change their shape")
        for output, extent in zip(node.output, before, strict=True):
            self._define(output, extent)
        return True

    def _check_choice(self, node: Any, what: str) -> bool:
        """Check a choice between two graphs that make as many tensors; return False for any other."""
        branches = [attribute.g for attribute in node.attribute if attribute.type == _GRAPHS[0]]
        if sorted(a.name for a in node.attribute) != ["else_branch", "then_branch"]:
            return False
        if len(branches) != 2 or any(
            b.input or len(b.output) != len(node.output) for b in branches
        ):
            return False
        if any(a.ref_attr_name for a in node.attribute):
            return False
        self._inputs(node, what)
        made = []
        for branch in branches:
            inner = _Graph(self.model, self.ledger)
            inner.graph, inner.within, inner.known = branch, True, dict(self.known)
            inner._check_content()
            self.made += inner.made
            self._take_time(inner.effort)
            made.append([inner.known.get(output.name, UNKNOWN) for output in branch.output])
        for name, one, other in zip(node.output, *made, strict=True):
            shape = one.shape if one.shape == other.shape else None
            self._define(name, Extent(shape, max(one.elements, other.elements)))
        return True

    def _inputs(self, node: Any, what: str) -> tuple[Extent, ...]:
        found = []
        for name in node.input:
            if name and name not in self.known:
                self.refuse("broken-graph", f"{what} takes '{name[:80]}' before it is made")
            found.append(self.known.get(name, of_shape(())))
        return tuple(found)

    def _check_indices(
        self, operator: str, attributes: dict[str, Any], inputs: tuple[Extent, ...], what: str
    ) -> None:
        shape = inputs[0].shape if inputs else None
        width = shape[1] if shape is not None and len(shape) == 2 else None
        if operator.startswith("TreeEnsemble"):
            if problem := ensemble_problem(operator, attributes, width):
                self.refuse("hostile-trees", f"{what}: {problem}")
        elif problem := weights_problem(operator, attributes, width):
            self.refuse("hostile-tensor", f"{what}: {problem}")

    def _take_time(self, multiplications: int) -> None:
        before, limit = self.effort, self.ledger.limits.multiplications
        self.effort += multiplications
        if before <= limit < self.effort:
            self.refuse("slow-graph", f"one row takes more than {limit:.3g} multiplications")

    def _extents(self, call: Call, what: str, label: str) -> list[Extent]:
        limit = self.ledger.limits.elements
        try:
            found = extents(call)
        except (UnboundedError, ArithmeticError, TypeError, IndexError, ValueError) as error:
            self.review("unbounded-size", f"how much {what} makes is not known: {error}", label)
            return [UNKNOWN] * call.outputs
        if found:
            self._take_time(multiplications(call, found[0]))
        largest = max((extent.elements for extent in found), default=0)
        exact = all(each.shape is not None for each in (*call.inputs, *found))
        if largest > limit and (exact or all(i.elements <= limit // 64 for i in call.inputs)):
            self.refuse(
                "tensor-bomb", f"{what} makes a tensor of {largest:.3g} elements of one row"
            )
        elif largest > limit:
            self.review("unbounded-size", f"{what} may make {largest:.3g} elements", label)
        self.made += largest if limit // 64 < largest <= limit else 0
        if self.made > limit * 16:
            self.refuse("tensor-bomb", "the nodes of the graph together make too many elements")
            self.made = 0
        return [Extent(e.shape, min(e.elements, limit), e.values) for e in found]


def _lists(tensor: Any) -> int:
    """Return how many items a constant has in lists of numbers or texts."""
    return sum(len(getattr(tensor, f"{kind}_data")) for kind in _LISTS)


def _declared(value: Any) -> Extent:
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        return UNKNOWN
    dims = value.type.tensor_type.shape.dim
    return of_shape(
        tuple(d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in dims)
    )


def _plain(attribute: Any) -> Any:
    match attribute.type:
        case 1:
            return attribute.f
        case 2:
            return attribute.i
        case 3:
            return attribute.s
        case 6:
            return list(attribute.floats)
        case 7:
            return list(attribute.ints)
        case 8:
            return list(attribute.strings)
    return None


def _constant(attributes: dict[str, Any]) -> dict[str, Any]:
    """Bring every form of a Constant's value into one."""
    for name in ("value_int", "value_float"):
        if isinstance(value := attributes.get(name), int | float):
            return {**attributes, "value": of_shape((), (float(value),))}
    for name in ("value_ints", "value_floats"):
        if isinstance(values := attributes.get(name), list):
            kept = tuple(float(v) for v in values) if len(values) <= _KEPT else None
            return {**attributes, "value": of_shape((len(values),), kept)}
    if isinstance(texts := attributes.get("value_strings"), list):
        return {**attributes, "value": of_shape((len(texts),))}
    return attributes
