"""skops files: the nodes of their schema against the same tables as pickles."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from cannery.audits import calls, keywords, states
from cannery.audits.archives import Archive, BadArchiveError
from cannery.audits.findings import Role
from cannery.audits.ledger import Ledger, remedy_for
from cannery.audits.natives import Judging
from cannery.audits.opcodes import BrokenProgramError, Data
from cannery.audits.sharing import judge_sharing
from cannery.audits.skops_arrays import flat, is_key, is_scalar, matrix, stored
from cannery.audits.skops_texts import MADE_BY, OddNodeError, read_schema, scalar
from cannery.audits.values import (
    Array,
    Dict,
    DType,
    List,
    Made,
    Name,
    Partial,
    Set,
    Tuple,
    Value,
    held,
)

_PROTOCOLS = (0, 1, 2)
_DEPTH = 150
"""Nodes within nodes; skops itself gives up at about twice that."""

Node = Mapping[str, Any]


def audit_skops(data: Data, ledger: Ledger) -> None:
    """Walk the schema as `skops.io.load` would, with each loader's own way to make its object."""
    outer = ledger.member
    ledger.member = f"{outer}/schema.json" if outer else "schema.json"
    try:
        archive = Archive(data, ledger)
        schema = read_schema(archive.read("schema.json", ledger.limits.text), ledger)
        walk = _Walk(archive, ledger, schema.get("protocol"))
        with Judging(ledger):
            judge_sharing(walk.node(schema), ledger)
        walk.check_members()
    except (BadArchiveError, UnicodeDecodeError, json.JSONDecodeError) as error:
        ledger.find("broken-skops", "unreadable", f"the skops file can't be read: {error}")
    except BrokenProgramError as broken:
        ledger.find(broken.rule, broken.severity, broken.message)
    except OddNodeError as error:
        ledger.find("odd-node", "unsafe", f"{error}, as skops does not write it")
    finally:
        ledger.member = outer


def _member(mapping: Any, key: str) -> Any:
    try:
        return mapping[key]
    except (KeyError, TypeError):
        raise OddNodeError(f"a node has no '{key}'") from None


def _sequence(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise OddNodeError("a node's content is no list")
    return value


_UNHASHED = frozenset({dict, list})
"""What JSON brings that can be no key."""


class _Walk:
    """One walk over a schema; every loader's method returns what stands for the object it makes."""

    def __init__(self, archive: Archive, ledger: Ledger, protocol: Any) -> None:
        self.archive = archive
        self.ledger = ledger
        self.protocol = protocol
        self.depth = 0
        self.used = {"schema.json"}
        self.ids: dict[Any, tuple[Any, ...]] = {}
        self.memo: dict[Any, Value] = {}
        """What stands for the object of an id, once it is known."""
        self.reached: dict[tuple[str, str, Role], Name] = {}
        self.scalars: dict[str, Value] = {}
        """What was reached, and read, before: a model says the same a thousand times."""
        if isinstance(protocol, bool) or protocol not in _PROTOCOLS:
            raise OddNodeError(f"the protocol is {str(protocol)[:40]!r}")

    def refuse(self, rule: str, message: str) -> None:
        self.ledger.find(rule, "unsafe", message)

    def node(self, node: Any) -> Value:
        """Judge a node and everything below it."""
        loader = _member(node, "__loader__")
        identity = node.get("__id__")
        if loader == "CachedNode":
            return self._cached(identity)
        handler = _LOADERS.get(loader) if isinstance(loader, str) else None
        if handler is None:
            self.refuse("unknown-loader", f"loader {str(loader)[:80]!r} is not one of skops")
            return Made()
        known = self._check_identity(node, identity)
        self.depth += 1
        if self.depth > _DEPTH:
            raise OddNodeError(f"nodes are nested more than {_DEPTH} deep")
        value = handler(self, node)
        self.depth -= 1
        if known:
            return self._cached(identity)
        if identity:
            self.memo[identity] = value
        return value

    def _cached(self, identity: Any) -> Value:
        """Return what stands for the object that was made first under an id."""
        if type(identity) in _UNHASHED or identity not in self.ids:
            raise OddNodeError("a node refers to an object that is not there")
        # An object within itself is not known yet.
        return self.memo[identity] if identity in self.memo else Made()

    def _check_identity(self, node: Node, identity: Any) -> bool:
        """Return whether the id of a node is known: then skops takes the first object in its place."""
        if not identity:
            return False
        same = (node["__loader__"], node.get("__module__"), node.get("__class__"))
        hashed = type(identity) not in _UNHASHED
        known = hashed and identity in self.ids
        if not hashed or self.ids.setdefault(identity, same) != same:
            self.refuse(
                "id-reuse", "two different nodes have one id: one would stand for the other"
            )
        return known

    def name(self, node: Node, role: Role) -> Name:
        """Look up the class or function that a node names."""
        module, qualname = _member(node, "__module__"), _member(node, "__class__")
        if not isinstance(module, str) or not isinstance(qualname, str):
            raise OddNodeError("a node's class is no text")
        return self.reach(module, qualname, role)

    def reach(self, module: str, qualname: str, role: Role) -> Name:
        key = (module, qualname, role)
        if key not in self.reached:
            entry = self.ledger.listing.find(module, qualname)
            self.reached[key] = self.ledger.reach(module, qualname, None, entry)
            self.ledger.use(self.reached[key], role)
        return self.reached[key]

    def only(self, node: Node, *allowed: str) -> None:
        """Judge a node whose class is called by its loader: it must be one of these."""
        module, qualname = str(_member(node, "__module__")), str(_member(node, "__class__"))
        dotted = f"{module}.{qualname}"
        if dotted in allowed and (module == "builtins" or dotted == "numpy.bytes_"):
            return
        entry = self.ledger.listing.find(module, qualname)
        self.name(node, "class" if entry and "function" not in entry.roles else "function")
        if dotted not in allowed:
            self.refuse("argument-rule", f"'{dotted[:120]}' is made by {node['__loader__']}")

    def file(self, node: Node) -> str:
        name = _member(node, "file")
        if not isinstance(name, str) or name not in self.archive.members:
            raise BadArchiveError(f"member {str(name)[:80]!r} is missing")
        self.used.add(name)
        return name

    def check_members(self) -> None:
        """Every member belongs to a node."""
        for name in sorted(set(self.archive.members) - self.used):
            self.refuse("stray-member", f"member '{name[:80]}' belongs to no node")

    # Literals and containers

    def json(self, node: Node) -> Value:
        content = _member(node, "content")
        if not isinstance(content, str):
            raise OddNodeError("a JsonNode's content is no text")
        if content not in self.scalars:
            self.scalars[content] = scalar(content)
        return self.scalars[content]

    def dict(self, node: Node) -> Value:
        self.only(node, "builtins.dict", *calls.MAPPINGS)
        types = _member(node, "key_types")
        if _member(types, "__loader__") not in ("ListNode", "CachedNode"):
            raise OddNodeError("the types of a dictionary's keys are no list")
        self._check_keys(self.node(types))
        content = _member(node, "content")
        if not isinstance(content, dict):
            raise OddNodeError("a DictNode's content is no object")
        made = Dict()
        made.items = {key: self.node(value) for key, value in content.items()}
        made.count = len(content)
        return made

    def _check_keys(self, types: Value) -> None:
        """Every key is put through its type: a function there could make another key of it."""
        for kind in types.items if isinstance(types, List) else (None,):
            name = kind.canonical if isinstance(kind, Name) else ""
            if not is_key(name):
                raise OddNodeError("the type of a dictionary's key is no type of keys")

    def default_dict(self, node: Node) -> Value:
        self.only(node, "collections.defaultdict")
        content = _member(node, "content")
        made = self.node(_member(content, "main"))
        self.node(_member(content, "default_factory"))
        return made

    def items(self, node: Node) -> tuple[Value, ...]:
        return tuple(self.node(item) for item in _sequence(_member(node, "content")))

    def list(self, node: Node) -> Value:
        self.only(node, "builtins.list")
        return List(self.items(node))

    def set(self, node: Node) -> Value:
        self.only(node, "builtins.set", "builtins.frozenset")
        return Set(self.items(node))

    def tuple(self, node: Node) -> Value:
        if (node.get("__module__"), node.get("__class__")) != ("builtins", "tuple"):
            self.name(node, "class")
        return Tuple(self.items(node))

    def bytes(self, node: Node) -> Value:
        self.only(node, "builtins.bytes", "builtins.bytearray", "numpy.bytes_")
        data = self.archive.read(self.file(node), self.ledger.limits.decompressed)
        kind = bytearray if node["__class__"] == "bytearray" else bytes
        return held(kind, data)

    def slice(self, node: Node) -> Value:
        self.only(node, "builtins.slice")
        content = _member(node, "content")
        steps = tuple(_member(content, key) for key in ("start", "stop", "step"))
        return Made(self.name(node, "function"), steps)

    # Names

    def reference(self, node: Node) -> Value:
        if self.protocol == 0 and node["__loader__"] == "FunctionNode":
            content = _member(node, "content")
            module, function = _member(content, "module_path"), _member(content, "function")
            return self.reach(str(module), str(function), "reference")
        return self.name(node, "reference")

    def method(self, node: Node) -> Value:
        content = _member(node, "content")
        function = _member(content, "func")
        self.node(_member(content, "obj"))
        owner = self.name(node, "class")
        dotted = f"{owner.dotted}.{function}"
        if not isinstance(function, str) or not function.isidentifier() or "__" in function:
            self.refuse("odd-node", f"method {dotted[:120]!r} is looked up")
            return Made()
        self.ledger.use(Name(owner.dotted, function, -1, None), "reference")
        message = f"opening would look up method '{dotted}' and keep it"
        self.ledger.find("method", "review", message, name=dotted, remedy=remedy_for(dotted))
        return Made()

    def partial(self, node: Node) -> Value:
        self.only(node, "functools.partial")
        content = _member(node, "content")
        function = self.node(_member(content, "func"))
        if not isinstance(function, Name | Partial):
            self.refuse("argument-rule", "a partial's function is no listed function")
        for part in ("args", "kwds", "namespace"):
            value = self.node(_member(content, part))
            if part != "args" and isinstance(value, Dict):
                judge = keywords.judge if part == "kwds" else states.attributes
                judge(self.ledger, "functools.partial", value.items, self.refuse)
        return Partial(None, function)

    def operator(self, node: Node) -> Value:
        self.reach("operator", str(_member(node, "__class__")), "function")
        self.node(_member(node, "attrs"))
        return Made()

    # Objects

    def object(self, node: Node) -> Value:
        made = Made(self.name(node, "class"))
        if (content := node.get("content")) is not None:
            self._state(made, self.node(content))
        return made

    def _state(self, made: Made, state: Value) -> None:
        states.build(self.ledger, made, state, -1)

    def reduced(self, node: Node) -> Value:
        made = Made(self.name(node, "function"))
        loader = node["__loader__"]
        if not made.canonical.startswith(MADE_BY[loader]):  # its arguments are judged by no rule
            self.refuse("odd-node", f"a {loader} makes '{made.canonical[:120]}'")
        state = self.node(_member(node, "content"))
        arguments = self.node(_member(_member(node, "__reduce__"), "args"))
        made.arguments = arguments.items if isinstance(arguments, Tuple) else ()
        if not isinstance(state, Dict) or state.count:
            self._state(made, state)
        return made

    def constructed(self, node: Node) -> Value:
        name = self.name(node, "function")
        return calls.call(self.ledger, name, self.node(_member(node, "content")), -1)

    # numpy and scipy

    def array(self, node: Node) -> Value:
        scalar = is_scalar(f"{_member(node, '__module__')}.{_member(node, '__class__')}")
        name = self.name(node, "reference" if scalar else "class")
        called = states.ARRAYS - {"numpy.memmap"}  # which would open a file
        if name.entry and name.canonical not in called and not scalar:
            self.refuse("argument-rule", f"'{name.dotted}' is called with an array")
        array = Array(name)
        kind = _member(node, "type")
        if kind == "numpy":
            array.content = stored(self.archive, self.file(node), self.ledger)
        elif kind == "json":
            items = self.items(node)
            shape = self.node(_member(node, "shape"))
            sizes = shape.items if isinstance(shape, Tuple) else (None,)
            array.fill(DType(None, "O", 8), sizes, List(flat(items, sizes, self.ledger)))
        else:
            raise OddNodeError(f"an array of type {str(kind)[:40]!r}")
        return array

    def masked(self, node: Node) -> Value:
        self.only(node, "numpy.ma.MaskedArray", "numpy.ma.core.MaskedArray")
        content = _member(node, "content")
        self.node(_member(content, "data"))
        self.node(_member(content, "mask"))
        return Made()

    def dtype(self, node: Node) -> Value:
        self.only(node, "numpy.dtype")
        self.node(_member(node, "content"))
        return Made()

    def sparse(self, node: Node) -> Value:
        self.name(node, "class")
        member = self.file(node)
        inside = Archive(self.archive.read(member, self.ledger.limits.decompressed), self.ledger)
        return matrix(inside, self.ledger)

    def random(self, node: Node) -> Value:
        name = self.name(node, "function")
        if not name.canonical.startswith("numpy.random."):
            self.refuse("odd-node", f"a {node['__loader__']} makes '{name.canonical[:120]}'")
        content = _member(node, "content")
        made = Made(name)
        self.ledger.made(made, -1)
        if node["__loader__"] == "RandomStateNode":
            made.state = self.node(content)
            return made
        made.state = state = self.node(_member(content, "bit_generator"))
        kind = state.items.get("bit_generator") if isinstance(state, Dict) else None
        if kind not in calls.BIT_GENERATORS:
            self.refuse("argument-rule", f"{str(kind)[:80]!r} is no bit generator of numpy")
        if self.protocol == 2:
            self.node(_member(content, "seed_seq"))
        return made


_LOADERS: dict[str, Callable[[_Walk, Node], Value]] = {
    "BytearrayNode": _Walk.bytes,
    "BytesNode": _Walk.bytes,
    "ConstructorFromReduceNode": _Walk.constructed,
    "DTypeNode": _Walk.dtype,
    "DefaultDictNode": _Walk.default_dict,
    "DictNode": _Walk.dict,
    "FunctionNode": _Walk.reference,
    "JsonNode": _Walk.json,
    "ListNode": _Walk.list,
    "LossNode": _Walk.reduced,
    "MaskedArrayNode": _Walk.masked,
    "MethodNode": _Walk.method,
    "NdArrayNode": _Walk.array,
    "ObjectNode": _Walk.object,
    "OperatorFuncNode": _Walk.operator,
    "PartialNode": _Walk.partial,
    "RandomGeneratorNode": _Walk.random,
    "RandomStateNode": _Walk.random,
    "SetNode": _Walk.set,
    "SliceNode": _Walk.slice,
    "SparseMatrixNode": _Walk.sparse,
    "TreeNode": _Walk.reduced,
    "TupleNode": _Walk.tuple,
    "TypeNode": _Walk.reference,
}
"""The loaders of skops by name; each method does what the loader of that name would."""
