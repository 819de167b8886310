"""skops files: nodes, names and zip members that skops does not write."""

from __future__ import annotations

import io
import json
import stat
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import hostile
import numpy as np
import pytest
import scipy.stats
import skops.io
from audit_sources import AuditBytes
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from cannery.audits.ledger import Ledger
from cannery.audits.limits import Limits
from cannery.audits.listing import listing
from cannery.audits.opcodes import BrokenProgramError
from cannery.audits.skops_texts import read_schema

Schema = dict[str, Any]


def honest() -> bytes:
    """Return the skops form of a fitted scaler."""
    return skops.io.dumps(StandardScaler().fit(np.eye(3)))


def packed(schema: Any, **members: bytes) -> bytes:
    """Zip a schema and members."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "."), data)
        archive.writestr("schema.json", schema if isinstance(schema, str) else json.dumps(schema))
    return stream.getvalue()


def changed(edit: Callable[[Schema], None], data: bytes | None = None) -> bytes:
    """Rewrite an honest file with an edited schema."""
    source = zipfile.ZipFile(io.BytesIO(data or honest()))
    schema = json.loads(source.read("schema.json"))
    edit(schema)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in source.namelist():
            body = json.dumps(schema).encode() if name == "schema.json" else source.read(name)
            archive.writestr(name, body)
    return stream.getvalue()


def node(loader: str, module: str, cls: str, **rest: Any) -> Schema:
    """Return a node."""
    return {"__loader__": loader, "__module__": module, "__class__": cls, "protocol": 2, **rest}


def text(value: str) -> Schema:
    """Return a node of a string."""
    return node("JsonNode", "builtins", "str", content=json.dumps(value), is_json=True)


def number(value: int) -> Schema:
    """Return a node of a number."""
    return node("JsonNode", "builtins", "int", content=str(value), is_json=True)


def sequence(*items: Schema, kind: str = "tuple") -> Schema:
    """Return a node of a tuple or list."""
    return node(f"{kind.title()}Node", "builtins", kind, content=list(items))


def mapping(**items: Schema) -> Schema:
    """Return a node of a dictionary with strings as keys."""
    kinds = sequence(*[node("TypeNode", "builtins", "str") for _ in items], kind="list")
    return node("DictNode", "builtins", "dict", content=items, key_types=kinds)


def function(module: str, name: str) -> Schema:
    """Return a node of a function."""
    return node("FunctionNode", module, name)


SCALER = ("sklearn.preprocessing._data", "StandardScaler")
UNIFORM = ("scipy.stats._continuous_distns", "uniform_gen")
OWNED = text("touch owned")

NODES: dict[str, Schema] = {
    "system as a constructor": node(
        "ConstructorFromReduceNode", "os", "system", content=sequence(OWNED)
    ),
    "listed class as a constructor": node(
        "ConstructorFromReduceNode", *SCALER, content=sequence(OWNED)
    ),
    "reconstructor": node(
        "ConstructorFromReduceNode", "copyreg", "_reconstructor",
        content=sequence(node("TypeNode", "subprocess", "Popen"), OWNED, OWNED),
    ),
    "object of Popen": node("ObjectNode", "subprocess", "Popen", content=mapping()),
    "loss that runs": node(
        "LossNode", "os", "system", content=mapping(), __reduce__={"args": sequence(OWNED)}
    ),
    "loss that looks a name up": node(
        "LossNode", "numpy._core", "_ufunc_reconstruct", content=mapping(),
        __reduce__={"args": sequence(text("os"), text("system"))},
    ),
    "loss that looks a method up": node(
        "LossNode", "builtins", "getattr", content=mapping(),
        __reduce__={"args": sequence(
            node("ConstructorFromReduceNode", "pathlib", "PosixPath", content=sequence(OWNED)),
            text("unlink"),
        )},
    ),
    "loss that makes room": node(
        "LossNode", "builtins", "bytearray", content=mapping(),
        __reduce__={"args": sequence(number(1 << 40))},
    ),
    "random state of another kind": node(
        "RandomStateNode", "collections", "OrderedDict", content=mapping()
    ),
    "tree that is none": node(
        "TreeNode", "os", "system", content=mapping(), __reduce__={"args": sequence(OWNED)}
    ),
    "list that runs": node("ListNode", "os", "system", content=[OWNED]),
    "set that runs": node("SetNode", "subprocess", "Popen", content=[OWNED]),
    "tuple that runs": node("TupleNode", "subprocess", "Popen", content=[OWNED]),
    "dictionary that runs": {**mapping(), "__module__": "os", "__class__": "abort"},
    "key that runs": {
        **mapping(a=OWNED),
        "key_types": sequence(function("os", "system"), kind="list"),
    },
    "array class that runs": node("NdArrayNode", "os", "system", type="json", content=[], shape=sequence()),
    "random state that runs": node("RandomStateNode", "os", "abort", content=mapping()),
    "bit generator that runs": node(
        "RandomGeneratorNode", "numpy.random._generator", "Generator",
        content={"bit_generator": mapping(bit_generator=text("seed")), "seed_seq": mapping()},
    ),
    "function os.system": sequence(function("os", "system")),
    "type os.system": sequence(node("TypeNode", "os", "system")),
    "partial of system": node(
        "PartialNode", "functools", "partial",
        content={"func": function("os", "system"), "args": sequence(OWNED), "kwds": mapping(),
                 "namespace": mapping()},
    ),
    "method of an object": node(
        "MethodNode", *SCALER,
        content={"func": "__init_subclass__", "obj": node("ObjectNode", *SCALER, content=mapping())},
    ),
    "method for review": node(
        "MethodNode", *SCALER,
        content={"func": "fit", "obj": node("ObjectNode", *SCALER, content=mapping())},
    ),
    "methodcaller": node("OperatorFuncNode", "operator", "methodcaller", attrs=sequence(OWNED)),
    "operator.call": node("OperatorFuncNode", "operator", "call", attrs=sequence(function("os", "system"))),
    "dunder state": node("ObjectNode", *SCALER, content=mapping(__class__=OWNED)),
    "method replaced": node("ObjectNode", *SCALER, content=mapping(transform=function("numpy", "mean"))),
    "code of a distribution": node(
        "ObjectNode", *UNIFORM, content=mapping(_parse_arg_template=text("import os; os.abort()"))
    ),
    "code of a distribution in pairs": node(
        "ObjectNode", *UNIFORM,
        content=sequence(sequence(text("_parse_arg_template"), text("import os; os.abort()"))),
    ),
    "code of a distribution in a list": node(
        "ObjectNode", *UNIFORM,
        content=sequence(sequence(text("_parse_arg_template"), OWNED), kind="list"),
    ),
    "code of a distribution in json": node(
        "ObjectNode", *UNIFORM,
        content=node("JsonNode", "builtins", "str", content='{"_parse_arg_template": "1/0"}'),
    ),
    "unknown loader": node("EvalNode", "os", "system"),
    "loader that is a list": {**OWNED, "__loader__": ["JsonNode"]},
    "unknown type": node("ObjectNode", "acme.features", "Ratio", content=mapping()),
    "known id": sequence(
        {**OWNED, "__id__": 7}, {**function("numpy", "mean"), "__id__": 7}
    ),
    "missing member": node("BytesNode", "builtins", "bytes", file="nothing.bin"),
    "key through a function": {
        **mapping(a=OWNED),
        "key_types": sequence(
            node("TypeNode", "sklearn.feature_extraction.text", "strip_accents_unicode"), kind="list"
        ),
    },
    "key of no type": {**mapping(a=OWNED), "key_types": sequence(OWNED, kind="list")},
    "array through a function": node(
        "NdArrayNode", "numpy", "sum", type="json", content=[OWNED], shape=sequence(text("1"))
    ),
    "array of another shape": node(
        "NdArrayNode", "numpy", "ndarray", type="json", content=[sequence(OWNED, kind="list")],
        shape=sequence(number(1), number(2)),
    ),
    "code of a distribution behind an id": sequence(
        {**text("import os; os.abort()"), "__id__": 7},
        node("ObjectNode", *UNIFORM, content=mapping(
            _parse_arg_template={**text(hostile._template()), "__id__": 7}
        )),
    ),
    "code of a distribution said twice": sequence(
        {**text("import os; os.abort()"), "__id__": 7},
        node("ObjectNode", *UNIFORM, content=mapping(
            _parse_arg_template={"__loader__": "CachedNode", "__id__": 7}
        )),
    ),
    "bit generator behind an id": sequence(
        {**text("seed"), "__id__": "7"},
        node(
            "RandomGeneratorNode", "numpy.random._generator", "Generator",
            content={"bit_generator": mapping(bit_generator={**text("PCG64"), "__id__": "7"}),
                     "seed_seq": mapping()},
        ),
    ),
    "cached nothing": sequence({"__loader__": "CachedNode", "__id__": 99}),
    "object in json": node("JsonNode", "builtins", "str", content='{"a": 1}'),
    "fraction without end": node(
        "ConstructorFromReduceNode", "fractions", "Fraction", content=sequence(text("1e999999999"))
    ),
    "rows that name files": node(
        "ObjectNode", "sklearn.feature_extraction.text", "CountVectorizer",
        content=mapping(input=text("filename")),
    ),
    "half a node": {"__loader__": "ObjectNode", "protocol": 2},
    "protocol 9": {**OWNED, "protocol": 9},
    "protocol true": {**OWNED, "protocol": True},
    "old function": {**node("FunctionNode", "x", "y", content={"module_path": "os", "function": "system"}), "protocol": 0},
    "json that is none": node("JsonNode", "builtins", "str", content="{"),
}  # fmt: skip


@pytest.mark.parametrize("name", NODES)
def test_a_hostile_node_is_not_safe(name: str, audit_bytes: AuditBytes) -> None:
    """Every loader's way to make something is held to the tables."""
    found = audit_bytes(packed(NODES[name]), "skops")
    assert found.verdict != "safe"
    assert found.findings[0].member.startswith("schema.json")


def npy(array: Any, **options: Any) -> bytes:
    """Return an array in numpy's own form."""
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


ARRAYS = {
    "objects": npy(np.array([hostile.Calls(print, 1)], dtype=object), allow_pickle=True),
    "too long": npy(np.arange(3)) + b"\0" * 8,
    "too short": npy(np.arange(3))[:-8],
    "no array": b"PK\x03\x04",
    "header that is code": npy(np.arange(3)).replace(b"'shape': (3,)", b"'shape':1/0  "),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_a_hostile_array_member_is_not_safe(name: str, audit_bytes: AuditBytes) -> None:
    """Arrays of objects are pickles; arrays that lie about their size are refused."""
    schema = node("NdArrayNode", "numpy", "ndarray", type="numpy", file="a.npy")
    assert audit_bytes(packed(schema, a__npy=ARRAYS[name]), "skops").verdict == "unsafe"
    assert audit_bytes(packed(schema, a__npy=npy(np.eye(2))), "skops").verdict == "safe"


def zips() -> dict[str, bytes]:
    """Return archives on which readers would disagree."""
    data = honest()
    found = {"prefix": b"MZ" + data, "suffix": data + b"trailing", "cut": data[:-30], "empty": b""}
    stream = io.BytesIO(data)
    with zipfile.ZipFile(stream, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("schema.json", json.dumps(OWNED))
    found["duplicate"] = stream.getvalue()
    stream = io.BytesIO(data)
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("model.pkl", b"\x80\x04.")
    found["stray member"] = stream.getvalue()
    stream = io.BytesIO(data)
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("../escape.npy", b"x")
    found["escape"] = stream.getvalue()
    found["two names"] = data.replace(b"schema.json", b"schemA.json", 1)
    flags = bytearray(data)
    struct.pack_into("<H", flags, 6, 1)
    found["encrypted here, not there"] = bytes(flags)
    directory = data.rindex(b"PK\x01\x02")
    method = bytearray(data)
    struct.pack_into("<H", method, directory + 10, 14)
    found["other method"] = bytes(method)
    link = bytearray(data)
    struct.pack_into("<I", link, directory + 38, stat.S_IFLNK << 16)
    found["link"] = bytes(link)
    size = bytearray(data)
    struct.pack_into("<I", size, directory + 24, 7)
    found["other size"] = bytes(size)
    content = bytearray(data)
    content[data.index(b"__class__")] ^= 0x20
    found["checksum"] = bytes(content)
    return found


@pytest.mark.parametrize("name", sorted(zips()))
def test_an_archive_that_readers_differ_on_is_not_safe(name: str, audit_bytes: AuditBytes) -> None:
    """Prefixes, suffixes, duplicates and members that disagree with the directory are refused."""
    assert audit_bytes(zips()[name], "skops").verdict in ("unsafe", "unreadable")


def test_a_schema_that_is_too_deep_or_too_odd_is_not_safe(audit_bytes: AuditBytes) -> None:
    """Depth, doubled keys and things that are no schema are findings, not tracebacks."""
    deep: Schema = OWNED
    for _ in range(300):
        deep = sequence(deep)
    double = json.dumps(OWNED)[:-1] + ', "__class__": "int"}'
    for schema in (deep, double, "[]", "1", "{}", "[" * 100_000, "not json"):
        assert audit_bytes(packed(schema), "skops").verdict in ("unsafe", "unreadable")


def test_the_honest_file_is_safe_and_rewriting_it_keeps_it_so(audit_bytes: AuditBytes) -> None:
    """The ground on which the attacks stand is sound."""
    assert audit_bytes(honest(), "skops").findings == ()
    assert audit_bytes(changed(lambda schema: None), "skops").findings == ()


def test_functions_and_distributions_in_a_file_of_skops_are_safe(audit_bytes: AuditBytes) -> None:
    """What honest files hold: a ufunc in a transformer, a frozen distribution."""
    for value in (FunctionTransformer(np.log1p), {"C": scipy.stats.uniform(0, 1)}):
        assert audit_bytes(skops.io.dumps(value), "skops").findings == ()


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        '{"a": {"b": "c", "\\u0062": "c"}}',
        '{"a": [{"": 0, "": 0}], "b": "\\""}',
    ],
    ids=range(3),
)
def test_a_key_that_is_given_twice_is_found_anywhere(text: str) -> None:
    """Readers differ on which of the two counts, so the schema is refused in whatever way it is read."""
    ledger = Ledger(listing(), Limits())
    read_schema(text.encode(), ledger)
    assert [f.rule for f in ledger.findings()] == ["duplicate-key"]


@pytest.mark.parametrize(
    "value",
    [{"a": 1, "b": [True, None, "ü\x00/\\\u2028"]}, {"a": -0.0}, {"a": 1 << 80}, {"a": 1e300}, {"a": "\ud800"}],
    ids=range(5),
)  # fmt: skip
@pytest.mark.parametrize("form", [{}, {"indent": 2}, {"ensure_ascii": False}], ids=str)
def test_a_schema_is_read_as_python_reads_it(value: Any, form: dict[str, Any]) -> None:
    """The quick reader is taken only where it sees the same document, and nothing is found in it."""
    text = json.dumps(value, **form).encode("utf-8", "replace")
    ledger = Ledger(listing(), Limits())
    assert repr(read_schema(text, ledger)) == repr(json.loads(text))
    assert not ledger.findings()


def test_a_schema_of_more_values_than_a_program_may_have_is_not_read() -> None:
    """A few kilobytes that unpack to millions of empty lists would take all memory."""
    ledger = Ledger(listing(), Limits())
    with pytest.raises(BrokenProgramError, match="more work"):
        read_schema(b'{"a": [' + b"[]," * 10_000_001 + b"[]]}", ledger)
