"""ONNX graphs: honest ones pass; what reads files, runs for ever, allocates or points nowhere does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from audit_sources import AuditBytes
from onnx import TensorProto, helper, numpy_helper

ML = "ai.onnx.ml"
F = TensorProto.DOUBLE


def constant(name: str, values: Any, dtype: str = "int64") -> onnx.TensorProto:
    """Return an initializer."""
    return numpy_helper.from_array(np.array(values, dtype=dtype), name)


def graph(
    *nodes: onnx.NodeProto,
    constants: tuple[onnx.TensorProto, ...] = (),
    columns: int = 3,
    edit: Callable[[onnx.ModelProto], None] | None = None,
) -> bytes:
    """Return a model that takes `x` [N, columns] and answers `y`."""
    body = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", F, [None, columns])],
        [helper.make_tensor_value_info("y", F, None)],
        list(constants),
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(ML, 5)]
    model = helper.make_model(body, opset_imports=opsets, ir_version=10)
    if edit:
        edit(model)
    return model.SerializeToString()


def op(
    kind: str, inputs: list[str], outputs: list[str] | None = None, **more: Any
) -> onnx.NodeProto:
    """Return a node that makes `y` unless told otherwise."""
    return helper.make_node(kind, inputs, outputs or ["y"], **more)


def old_trees(**changes: Any) -> onnx.NodeProto:
    """Return a tree of three nodes in the old operator, with changes."""
    attributes: dict[str, Any] = {
        "nodes_treeids": [0, 0, 0],
        "nodes_nodeids": [0, 1, 2],
        "nodes_featureids": [1, 0, 0],
        "nodes_values": [0.5, 0.0, 0.0],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0],
        "target_treeids": [0, 0],
        "target_nodeids": [1, 2],
        "target_ids": [0, 0],
        "target_weights": [1.0, 2.0],
        "n_targets": 1,
    }
    return op("TreeEnsembleRegressor", ["x"], domain=ML, **{**attributes, **changes})


def new_trees(**changes: Any) -> onnx.NodeProto:
    """Return a tree of one split in the new operator, with changes."""
    attributes: dict[str, Any] = {
        "tree_roots": [0],
        "nodes_featureids": [1],
        "nodes_splits": numpy_helper.from_array(np.array([0.5])),
        "nodes_modes": numpy_helper.from_array(np.array([0], dtype="u1")),
        "nodes_truenodeids": [0],
        "nodes_falsenodeids": [1],
        "nodes_trueleafs": [1],
        "nodes_falseleafs": [1],
        "leaf_targetids": [0, 0],
        "leaf_weights": numpy_helper.from_array(np.array([1.0, 2.0])),
        "n_targets": 1,
    }
    return op("TreeEnsemble", ["x"], domain=ML, **{**attributes, **changes})


def machines(**changes: Any) -> onnx.NodeProto:
    """Return support vector machines for three classes, with changes."""
    attributes: dict[str, Any] = {
        "classlabels_ints": [0, 1, 2], "vectors_per_class": [2, 1, 1], "rho": [0.1, 0.2, 0.3],
        "support_vectors": [0.5] * 12, "coefficients": [1.0] * 8, "kernel_type": "RBF",
    }  # fmt: skip
    return op("SVMClassifier", ["x"], ["y", "p"], domain=ML, **{**attributes, **changes})


def machine(**changes: Any) -> onnx.NodeProto:
    """Return a support vector machine for a number, with changes."""
    attributes = {
        "n_supports": 2,
        "coefficients": [1.0] * 2,
        "support_vectors": [0.5] * 6,
        "rho": [0.1],
    }
    return op("SVMRegressor", ["x"], domain=ML, **{**attributes, **changes})


def linear(**changes: Any) -> onnx.NodeProto:
    """Return a linear classifier, with changes."""
    attributes = {"coefficients": [1.0] * 6, "intercepts": [0.0] * 2, "classlabels_ints": [0, 1]}
    return op("LinearClassifier", ["x"], ["y", "p"], domain=ML, **{**attributes, **changes})


def line(**changes: Any) -> onnx.NodeProto:
    """Return a linear regressor, with changes."""
    attributes = {"coefficients": [1.0] * 6, "intercepts": [0.0] * 2, "targets": 2}
    return op("LinearRegressor", ["x"], domain=ML, **{**attributes, **changes})


HONEST = {
    "identity": graph(op("Identity", ["x"])),
    "scaling": graph(
        op("Sub", ["x", "m"], ["a"]), op("Div", ["a", "s"]),
        constants=(constant("m", [1, 2, 3], "f8"), constant("s", [1, 2, 3], "f8")),
    ),
    "linear": graph(
        op("MatMul", ["x", "w"], ["a"]), op("Add", ["a", "b"], ["c"]), op("Softmax", ["c"]),
        constants=(constant("w", np.ones((3, 2)), "f8"), constant("b", [0, 1], "f8")),
    ),
    "old trees": graph(old_trees()),
    "new trees": graph(new_trees()),
    "columns": graph(
        op("Gather", ["x", "i"], ["a"], axis=1), op("ReduceSum", ["a", "ax"], ["b"]),
        op("Concat", ["b", "b"], ["c"], axis=1), op("Where", ["n", "c", "c"]),
        constants=(constant("i", [0, 2]), constant("ax", [1]), constant("n", [True], "bool")),
    ),
    "shapes": graph(
        op("Shape", ["x"], ["s"]), op("Reshape", ["x", "s"], ["a"]), op("Expand", ["a", "s1"]),
        constants=(constant("s1", [1, 3]),),
    ),
    "neighbours": graph(
        op("TopK", ["x", "k"], ["a", "i"], largest=0), op("Gather", ["t", "i"], ["g"]),
        op("ReduceSum", ["g", "ax"], ["s"], keepdims=1), op("Squeeze", ["s", "ax"], ["q"]),
        op("Gather", ["t", "i"]),
        constants=(constant("k", [2]), constant("t", np.ones((9000, 300)), "f8"), constant("ax", [1])),
    ),
    "machines": graph(machines(), machine(), edit=lambda m: m.graph.node[1].output.__setitem__(0, "z")),
    "lines": graph(linear(), line(), edit=lambda m: m.graph.node[1].output.__setitem__(0, "z")),
    "a product": graph(
        op("MatMul", ["x", "m"]), constants=(constant("m", np.ones((3, 9000)), "f8"),)
    ),
    "encoder": graph(
        op("Cast", ["x"], ["i"], to=TensorProto.INT64),
        op("OneHotEncoder", ["i"], ["o"], domain=ML, cats_int64s=[1, 2, 3], zeros=1),
        op("Flatten", ["o"], ["y"]),
    ),
}  # fmt: skip


def test_a_loop_of_few_turns_that_keeps_its_shape_is_safe(audit_bytes: AuditBytes) -> None:
    """The coupling of a support vector machine's probabilities is one."""
    found = audit_bytes(looping(op("Neg", ["s"], ["a"]), op("Exp", ["a"], ["r"])), "onnx")
    assert (found.findings, found.verdict) == ((), "safe")


def test_a_choice_by_the_number_of_rows_is_safe(audit_bytes: AuditBytes) -> None:
    """Small trees are walked for few rows and looked up for many."""
    found = audit_bytes(choosing(op("Neg", ["x"], ["a"]), op("Exp", ["a"], ["r"])), "onnx")
    assert (found.findings, found.verdict) == ((), "safe")


def test_rows_that_are_walked_in_another_order_are_safe(audit_bytes: AuditBytes) -> None:
    """What is sorted has the size of what comes in, so that the trees' columns are checked as before."""
    found = audit_bytes(in_order(new_trees()), "onnx")
    assert (found.findings, found.verdict) == ((), "safe")


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_graph_is_safe(name: str, audit_bytes: AuditBytes) -> None:
    """Graphs as converters write them have no findings."""
    found = audit_bytes(HONEST[name], "onnx")
    assert (found.findings, found.verdict) == ((), "safe")


def external(model: onnx.ModelProto, tensor: onnx.TensorProto, location: str) -> None:
    """Let a tensor point at another file."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)


def outside(location: str) -> bytes:
    """Return a graph whose constant is read from another file."""
    return graph(
        op("Add", ["x", "c"]),
        constants=(constant("c", [1.0], "f8"),),
        edit=lambda m: external(m, m.graph.initializer[0], location),
    )


def body() -> onnx.GraphProto:
    """Return the inner graph of a loop."""
    info = helper.make_tensor_value_info
    return helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"])], "b",
        [info("i", TensorProto.INT64, []), info("c", TensorProto.BOOL, [])],
        [info("d", TensorProto.BOOL, [])],
    )  # fmt: skip


def inner_external() -> bytes:
    """Return a graph with external data in an attribute."""
    tensor = constant("t", [1.0], "f8")
    external(onnx.ModelProto(), tensor, "/etc/shadow")
    return graph(op("Constant", [], ["c"], value=tensor), op("Add", ["x", "c"]))


def bomb(kind: str, *inputs: Any, **attributes: Any) -> bytes:
    """Return a graph in which one node makes a huge tensor."""
    names = [f"i{n}" for n in range(len(inputs))]
    constants = tuple(
        constant(n, *(v if isinstance(v, tuple) else (v,)))
        for n, v in zip(names, inputs, strict=True)
    )
    return graph(op(kind, names, **attributes), constants=constants)


def doubling(kind: str, times: int) -> bytes:
    """Return a graph that doubles (or squares) a tensor again and again."""
    nodes = [
        op(kind, [f"v{n}"] * 2, [f"v{n + 1}"], **({"axis": 0} if kind == "Concat" else {}))
        for n in range(times)
    ]
    nodes.append(op("Identity", [f"v{times}"]))
    return graph(*nodes, constants=(constant("v0", [1.0, 2.0], "f8"),))


def sparse() -> bytes:
    """Return a graph with a sparse constant."""
    tensor = onnx.SparseTensorProto(
        values=constant("v", [1.0], "f8"), indices=constant("i", [0]), dims=[2**40]
    )
    return graph(op("Identity", ["x"]), edit=lambda m: m.graph.sparse_initializer.append(tensor))


def function() -> bytes:
    """Return a model with an operator of its own."""
    made = helper.make_function(
        "own", "f", ["a"], ["b"], [helper.make_node("Abs", ["a"], ["b"])], []
    )
    return graph(op("Abs", ["x"]), edit=lambda m: m.functions.append(made))


def looping(*nodes: onnx.NodeProto, turns: int = 3, result: str = "r", edit: Any = None) -> bytes:
    """Return a model whose loop takes `x` through these nodes, from the state `s` to `r`."""
    inner = helper.make_graph(
        [op("Identity", ["go"], ["on"]), *nodes],
        "body",
        [helper.make_tensor_value_info(n, k, None) for n, k in (("i", 7), ("go", 9), ("s", 11))],
        [helper.make_tensor_value_info(n, k, None) for n, k in (("on", 9), (result, 11))],
    )
    if edit is not None:
        edit(inner)
    return graph(
        op("Loop", ["n", "t", "x"], ["y"], body=inner),
        constants=(constant("n", turns), constant("t", True, "bool")),
    )


def choosing(
    *nodes: onnx.NodeProto, edit: Any = lambda _: None, **branches: onnx.GraphProto
) -> bytes:
    """Return a model that takes `x` either through these nodes to `r`, or as it is."""
    output = [helper.make_tensor_value_info("r", 11, None)]
    other = [helper.make_tensor_value_info("o", 11, None)]
    chosen = {
        "then_branch": helper.make_graph(nodes, "then", [], output),
        "else_branch": helper.make_graph([op("Identity", ["x"], ["o"])], "else", [], other),
    }
    edit(chosen["then_branch"])
    return graph(
        op("Shape", ["x"], ["n"], start=0, end=1),
        op("Greater", ["n", "many"], ["m"]),
        op("If", ["m"], ["y"], **(chosen | branches)),
        constants=(constant("many", [8]),),
    )


def in_order(trees: onnx.NodeProto) -> bytes:
    """Return a model that walks many rows sorted by their first column, and few as they are."""
    rows = [helper.make_tensor_value_info(name, 11, None) for name in ("r", "p")]
    nodes = (
        op("Gather", ["x", "first"], ["f"], axis=1), op("Shape", ["x"], ["k"], start=0, end=1),
        op("TopK", ["f", "k"], ["v", "i"], axis=0, largest=0), op("GatherND", ["x", "i"], ["r"]),
        op("Cast", ["i"], ["p"], to=TensorProto.DOUBLE),
    )  # fmt: skip
    as_it_is = (op("Identity", ["x"], ["r"]), op("Identity", ["nought"], ["p"]))
    trees.input[:], trees.output[:] = ["s"], ["t"]
    return graph(
        op("Shape", ["x"], ["n"], start=0, end=1), op("Greater", ["n", "many"], ["m"]),
        op("If", ["m"], ["s", "q"],
           then_branch=helper.make_graph(nodes, "then", [], rows),
           else_branch=helper.make_graph(as_it_is, "else", [], rows)),
        trees, op("Cast", ["q"], ["j"], to=TensorProto.INT64), op("ScatterND", ["t", "j", "t"]),
        constants=(constant("many", [8]), constant("first", [0]), constant("nought", [[0.0]], "f8")),
    )  # fmt: skip


WEIGHTS: dict[str, bytes] = {
    "machines of fewer factors": graph(machines(coefficients=[1.0] * 7)),
    "machines of fewer numbers": graph(machines(support_vectors=[0.5] * 11)),
    "machines of other columns": graph(machines(support_vectors=[0.5] * 8)),
    "machines of fewer labels": graph(machines(classlabels_ints=[0, 1])),
    "machines of fewer offsets": graph(machines(rho=[0.1])),
    "machines of fewer probabilities": graph(machines(prob_a=[0.1], prob_b=[0.1])),
    "machines of vectors below none": graph(machines(vectors_per_class=[2, 3, -1])),
    "machine of fewer factors": graph(machine(coefficients=[1.0])),
    "machine of more vectors": graph(machine(n_supports=1 << 40)),
    "machine of vectors below none": graph(machine(n_supports=-1)),
    "machine of more offsets": graph(machine(rho=[0.1, 0.2])),
    "classifier of fewer factors": graph(linear(coefficients=[1.0] * 5)),
    "classifier of fewer labels": graph(linear(classlabels_ints=[0])),
    "classifier of more intercepts": graph(linear(intercepts=[0.0] * 3)),
    "regressor of fewer factors": graph(line(coefficients=[1.0] * 3)),
    "regressor of more targets": graph(line(targets=1 << 40)),
    "regressor of fewer intercepts": graph(line(intercepts=[0.0])),
}


def products(count: int) -> bytes:
    """Return a model of small tensors that are multiplied so many times."""
    nodes = [op("MatMul", ["m", "m"], [f"a{i}"]) for i in range(count)]
    return graph(
        *nodes, op("Identity", ["a0"]), constants=(constant("m", np.ones((900, 900)), "f8"),)
    )


def twofold(model: onnx.ModelProto) -> None:
    """Let a constant have its items twice, as bytes and as a list."""
    model.graph.initializer[0].double_data.append(7.0)


HOSTILE: dict[str, bytes] = {
    **WEIGHTS,
    "products without end": products(120),
    "products in a loop": looping(
        *(op("MatMul", ["w", "w"], [f"w{i}"]) for i in range(9)), op("Neg", ["s"], ["r"]), turns=256,
        edit=lambda g: g.initializer.append(constant("w", np.ones((900, 900)), "f8")),
    ),
    "constant given twice": graph(
        op("Add", ["x", "c"]), constants=(constant("c", [1.0], "f8"),), edit=twofold
    ),
    "loop of one input": graph(op("Loop", ["n"], ["y"], body=body())),
    "loop of many turns": looping(op("Neg", ["s"], ["r"]), turns=10**6),
    "loop that grows": looping(op("Concat", ["s", "s"], ["r"], axis=1)),
    "loop that reaches out": looping(op("Add", ["s", "x"], ["r"])),
    "loop in a loop": looping(op("Loop", ["i", "go", "s"], ["r"], body=body())),
    "loop of an unlisted operator": looping(op("ImageDecoder", ["s"], ["r"])),
    "loop with a default": looping(
        op("Neg", ["s"], ["r"]), edit=lambda g: g.initializer.append(constant("s", [1.0], "f8"))
    ),
    "loop with sparse constants": looping(
        op("Neg", ["s"], ["r"]), edit=lambda g: g.sparse_initializer.add()
    ),
    "external absolute": outside("/etc/passwd"),
    "external beside": outside("weights.bin"),
    "external climbing": outside("a/../../../etc/passwd"),
    "external without location": outside(""),
    "external in an attribute": inner_external(),
    "loop": graph(
        op("Loop", ["n", "t"], ["y"], body=body()),
        constants=(constant("n", 2**62), constant("t", True, "bool")),
    ),
    "choice of a bomb": choosing(
        op("Constant", [], ["s"], value=constant("s", [2**20, 2**20])),
        op("Expand", ["x", "s"], ["r"]),
    ),
    "choice of a loop": choosing(op("Loop", ["n", "m", "x"], ["r"], body=body())),
    "choice of a choice": choosing(op("If", ["m"], ["r"], then_branch=body(), else_branch=body())),
    "choice of what is not made": choosing(op("Neg", ["later"], ["r"])),
    "choice under a name that is taken": choosing(op("Neg", ["x"], ["n"]), op("Neg", ["n"], ["r"])),
    "choice of products without end": choosing(
        *(op("MatMul", ["w", "w"], [f"w{i}"]) for i in range(120)),
        op("Constant", [], ["r"], value=constant("v", [1.0], "f8")),
        edit=lambda g: g.initializer.append(constant("w", np.ones((900, 900)), "f8")),
    ),
    "choice with an input": choosing(op("Neg", ["x"], ["r"]), else_branch=body()),
    "choice of fewer": choosing(
        op("Neg", ["x"], ["r"]), op("Neg", ["r"], ["t"]),
        edit=lambda g: g.output.append(helper.make_tensor_value_info("t", 11, None)),
    ),
    "choice of one": choosing(op("Neg", ["x"], ["r"]), third=body()),
    "if": graph(op("If", ["c"], then_branch=body(), else_branch=body())),
    "graph in an attribute": graph(op("Identity", ["x"], extra=body())),
    "sparse": sparse(),
    "function": function(),
    "training": graph(op("Abs", ["x"]), edit=lambda m: m.training_info.add()),
    "constant of shape": bomb("ConstantOfShape", [2**31]),
    "constant of shape, in parts": bomb("ConstantOfShape", [2**16, 2**16]),
    "expand": bomb("Expand", ([1.0], "f8"), [2**20, 2**20]),
    "tile": bomb("Tile", ([1.0], "f8"), [2**40]),
    "range": bomb("Range", 0, 2**50, 1),
    "range of doubles": bomb("Range", (0.0, "f8"), (1e300, "f8"), (1e-3, "f8")),
    "range by nothing": bomb("Range", 0, 10, 0),
    "pad": bomb("Pad", ([1.0], "f8"), [0, 2**40]),
    "one hot": bomb("OneHot", [1], [2**40], ([0.0, 1.0], "f8")),
    "resize": bomb("Resize", (np.ones((1, 1, 2, 2)), "f4"), ([], "f4"), ([1, 1, 1e6, 1e6], "f4")),
    "concat": doubling("Concat", 60),
    "outer product": graph(
        op("MatMul", ["a", "b"]),
        constants=(constant("a", np.ones((9000, 1)), "f8"), constant("b", np.ones((1, 9000)), "f8")),
    ),
    "broadcast": graph(
        op("Add", ["a", "b"]),
        constants=(constant("a", np.ones((9000, 1)), "f8"), constant("b", np.ones((1, 9000)), "f8")),
    ),
    "targets": graph(new_trees(n_targets=2**40)),
    "computed size": graph(op("Cast", ["x"], ["n"], to=7), op("ConstantOfShape", ["n"])),
    "unknown operator": graph(op("ImageDecoder", ["x"])),
    "unknown domain": graph(
        op("Evil", ["x"], domain="com.evil"),
        edit=lambda m: m.opset_import.append(helper.make_opsetid("com.evil", 1)),
    ),
    "future opset": graph(op("Abs", ["x"]), edit=lambda m: setattr(m.opset_import[0], "version", 99)),
    "future ir": graph(op("Abs", ["x"]), edit=lambda m: setattr(m, "ir_version", 99)),
    "value made twice": graph(op("Abs", ["x"]), op("Neg", ["x"])),
    "value never made": graph(op("Abs", ["nothing"])),
    "output never made": graph(op("Abs", ["x"], ["z"])),
    "tensor that lies": graph(
        op("Add", ["x", "c"]), constants=(constant("c", [1.0], "f8"),),
        edit=lambda m: m.graph.initializer[0].dims.__setitem__(0, 2**40),
    ),
    "no graph": onnx.ModelProto(ir_version=10).SerializeToString(),
    "garbage": b"\x08\x0a\xff\xff\xff",
    "empty": b"",
}  # fmt: skip

TREES: dict[str, bytes] = {
    "feature beyond": graph(old_trees(nodes_featureids=[3, 0, 0])),
    "feature negative": graph(old_trees(nodes_featureids=[-1, 0, 0])),
    "child beyond": graph(old_trees(nodes_truenodeids=[9, 0, 0])),
    "child is itself": graph(old_trees(nodes_truenodeids=[0, 0, 0])),
    "circle": graph(
        old_trees(
            nodes_modes=["BRANCH_LEQ", "BRANCH_LEQ", "LEAF"], nodes_falsenodeids=[2, 2, 0],
            nodes_truenodeids=[1, 0, 0],
        )
    ),
    "short list": graph(old_trees(nodes_values=[0.5])),
    "two ids": graph(old_trees(nodes_nodeids=[0, 1, 1])),
    "vote beyond": graph(old_trees(target_ids=[0, 7])),
    "vote of nobody": graph(old_trees(target_nodeids=[1, 40])),
    "new feature beyond": graph(new_trees(nodes_featureids=[3])),
    "new feature beyond, of sorted rows": in_order(new_trees(nodes_featureids=[3])),
    "new leaf beyond": graph(new_trees(nodes_falsenodeids=[2])),
    "new leaf negative": graph(new_trees(nodes_falsenodeids=[-1])),
    "new circle": graph(new_trees(nodes_trueleafs=[0])),
    "new root beyond": graph(new_trees(tree_roots=[5])),
    "new root of two trees": graph(new_trees(tree_roots=[0, 0])),
    "new target beyond": graph(new_trees(leaf_targetids=[0, 1])),
    "new short list": graph(new_trees(nodes_splits=numpy_helper.from_array(np.array([0.5, 1])))),
    "new wild flag": graph(new_trees(nodes_trueleafs=[2])),
}  # fmt: skip


@pytest.mark.parametrize("name", {**HOSTILE, **TREES})
def test_a_hostile_graph_is_not_safe(name: str, audit_bytes: AuditBytes) -> None:
    """Each is refused, from its bytes alone."""
    found = audit_bytes({**HOSTILE, **TREES}[name], "onnx")
    assert found.verdict != "safe"
    if name in TREES:
        assert {f.rule for f in found.findings} == {"hostile-trees"}


def test_a_bomb_is_refused_by_arithmetic(audit_bytes: AuditBytes) -> None:
    """A file of some hundred bytes that would allocate gigabytes is refused without allocating."""
    data = HOSTILE["constant of shape"]
    assert len(data) < 250
    assert [f.rule for f in audit_bytes(data, "onnx").findings] == ["tensor-bomb"]


def test_a_review_of_an_operator_can_be_trusted_by_name(audit_bytes: AuditBytes) -> None:
    """An operator that is not listed is a matter of review, with the line to add."""
    found = audit_bytes(HOSTILE["unknown operator"], "onnx")
    assert (found.verdict, found.findings[0].name) == ("review", "ai.onnx.ImageDecoder")


def test_a_damaged_graph_is_a_finding_and_no_traceback(audit_bytes: AuditBytes) -> None:
    """Any prefix, and any byte changed, ends in a verdict."""
    data = bytearray(HONEST["new trees"])
    for cut in range(0, len(data), 7):
        assert audit_bytes(bytes(data[:cut]), "onnx").verdict in (
            "unreadable",
            "unsafe",
            "safe",
            "review",
        )
    for at in range(0, len(data), 3):
        changed = bytearray(data)
        changed[at] ^= 0xFF
        audit_bytes(bytes(changed), "onnx")
