"""One thing is wrong with each of these programs, which reach nothing but listed names: that thing is found.

Beside most of them stands a twin in which it is right, and which is safe.
"""

from __future__ import annotations

import pickle

import numpy as np
import pickles as p
import pytest
from audit_sources import AuditBytes
from bent import Told
from scipy.stats import uniform
from sklearn.tree import DecisionTreeRegressor

from cannery.audits.ledger import Ledger
from cannery.audits.limits import Limits
from cannery.audits.listing import listing
from cannery.audits.pickles import audit_pickle

ORDERED = p.name("collections", "OrderedDict")
PIPELINE = p.made(p.name("sklearn.pipeline", "Pipeline"))
SCALER = p.name("sklearn.preprocessing._data", "StandardScaler")
MEAN = p.name("numpy", "log1p")
DOUBLES = p.dtype("f8", state=p.dtype_state("<"))
DUP, OBJ, NEWOBJ_EX, APPEND, SETITEM = b"2", b"o", b"\x92", b"a", b"s"


def listed(*parts: bytes, protocol: int = 4) -> bytes:
    """Return a program that leaves a list with one value."""
    return p.make_pickle(p.listed(b"".join(parts)), protocol=protocol)


def partial(function: bytes, state: bytes) -> bytes:
    """Push a partial and set its state."""
    return p.built(p.call(p.name("functools", "partial"), function), state)


OPCODES: dict[str, tuple[str, bytes]] = {
    "INST": ("forbidden-opcode", listed(p.MARK + b"icollections\nOrderedDict\n", protocol=0)),
    "OBJ": ("forbidden-opcode", listed(p.MARK + ORDERED + OBJ, protocol=1)),
    "EXT1": ("forbidden-opcode", listed(b"\x82\x01")),
    "EXT2": ("forbidden-opcode", listed(b"\x83\x01\x00")),
    "EXT4": ("forbidden-opcode", listed(b"\x84\x01\x00\x00\x00")),
    "PERSID": ("forbidden-opcode", listed(b"P1\n", protocol=0)),
    "BINPERSID": ("forbidden-opcode", listed(p.text("1") + b"Q")),
    "NEXT_BUFFER": ("forbidden-opcode", listed(b"\x97", protocol=5)),
    "READONLY_BUFFER": ("forbidden-opcode", listed(p.data(b"1") + b"\x98", protocol=5)),
    "DUP": ("forbidden-opcode", listed(p.number(1) + DUP + b"\x86")),
    "POP": ("stray-pop", listed(p.number(1) + p.POP + p.number(2))),
    "POP of a mark": ("stray-pop", listed(p.MARK + p.POP + p.number(2))),
    "POP_MARK": ("stray-pop", listed(p.MARK + p.number(1) + b"1" + p.number(2))),
    "POP before STOP": ("stray-pop", p.make_pickle(p.listed(), p.number(2), p.POP)),
    "memo written twice": ("memo-overwrite", listed(p.text("a") + p.put(0) + p.put(0))),
    "MEMOIZE over PUT": ("memo-overwrite", listed(p.text("a") + p.put(1) + p.MEMOIZE)),
    "memo far ahead": ("memo-gap", listed(p.text("a") + b"r\x00\x00\x00\x10")),
    "memo far ahead, as text": ("memo-gap", listed(p.text("a") + b"p900000000\n", protocol=0)),
    "memo that is empty": ("no-memo", listed(p.get(7))),
    "PROTO in the middle": ("stray-proto", listed(b"\x80\x04" + p.number(1))),
    "PROTO after a literal": ("stray-proto", p.NONE + b"\x80\x02" + p.POP + p.listed() + b"."),
    "PROTO that lowers": ("stray-proto", listed(b"\x80\x02" + p.number(1))),
    "protocol 6": ("unknown-protocol", p.make_pickle(p.listed(), protocol=6)),
    "protocol 1 declared": ("unknown-protocol", b"\x80\x01" + p.listed() + b"."),
    "opcode of a later protocol": ("protocol-mismatch", listed(b"\x8c\x01a", protocol=2)),
    "opcode of protocol 2 in 0": ("protocol-mismatch", listed(p.number(1) + b"\x85", protocol=0)),
    "frame over an argument": ("straddled-frame", p.make_pickle(p.frame(p.listed(p.text("abc")), 5))),
    "frame beyond STOP": ("straddled-frame", p.make_pickle(p.frame(p.listed(), 9)) + b"." * 20),
    "frame in a frame": ("nested-frame", p.make_pickle(p.frame(p.frame(p.listed(p.number(1)))))),
    "frame beyond the file": ("truncated", p.make_pickle(p.frame(p.listed(p.number(1)), 1 << 40))),
    "tiny frame": ("odd-frame", p.make_pickle(p.frame(p.EMPTY_LIST, 1))),
    "name that is computed": (
        "computed-name", listed(p.stack_name(p.call(p.name("builtins", "bytes")), p.text("set")))
    ),
    "name of bytes": ("computed-name", listed(p.stack_name(p.data(b"builtins"), p.text("set")))),
    "name with a dot": (
        "dotted-name",
        listed(p.stack_name(p.text("sklearn.pipeline"), p.text("Pipeline.fit"))),
    ),
    "name with a dot, in protocol 2": (
        "dotted-name", listed(p.name("sklearn.pipeline", "Pipeline.fit"), protocol=2)
    ),
    "value left on the stack": ("leftover-stack", p.make_pickle(p.listed(), p.listed())),
    "mark left on the stack": ("leftover-stack", p.make_pickle(p.MARK, p.listed())),
    "nothing at STOP": ("empty-stack", p.make_pickle()),
    "byte behind STOP": ("trailing-bytes", listed(p.number(1)) + b"\x00"),
    "second pickle": ("trailing-bytes", listed(p.number(1)) + listed(p.number(2))),
    "key set twice": ("duplicate-key", listed(p.items(a=p.NONE) + p.text("a") + p.NONE + SETITEM)),
    "key without value": ("odd-items", listed(p.EMPTY_DICT + p.MARK + p.text("a") + b"u")),
    "hexadecimal INT": ("ambiguous-text", listed(b"I0x1f\n", protocol=0)),
    "octal INT": ("ambiguous-text", listed(b"I017\n", protocol=0)),
    "INT with NUL": ("ambiguous-text", listed(b"I5\x006\n", protocol=0)),
    "INT with underscore": ("ambiguous-text", listed(b"I1_0\n", protocol=0)),
    "INT with blank": ("ambiguous-text", listed(b"I 5\n", protocol=0)),
    "INT with carriage return": ("ambiguous-text", listed(b"I5\r\n", protocol=0)),
    "LONG without L": ("ambiguous-text", listed(b"L5\n", protocol=0)),
    "FLOAT with underscore": ("ambiguous-text", listed(b"F1_0.5\n", protocol=0)),
    "FLOAT with NUL": ("ambiguous-text", listed(b"F1.5\x00\n", protocol=0)),
    "STRING with escapes": ("ambiguous-text", listed(b"S'\\x61'\n", protocol=0)),
    "STRING without quotes": ("ambiguous-text", listed(b"Sa\n", protocol=0)),
    "PUT with sign": ("ambiguous-text", listed(p.text("a") + b"p+1\n", protocol=0)),
    "PUT with zeros": ("ambiguous-text", listed(p.text("a") + b"p01\n", protocol=0)),
    "text that is not UTF-8": ("bad-text", listed(b"X\x01\x00\x00\x00\xff")),
    "Python 2 text that is not ASCII": ("bad-text", listed(b"U\x01\xe9", protocol=2)),
    "negative size": ("negative-size", listed(b"T\xff\xff\xff\xff", protocol=1)),
    "byte that is no opcode": ("unknown-opcode", listed(b"\xfe")),
}  # fmt: skip

PARSERS = str(uniform._parse_arg_template)
UNIFORM = p.made(p.name("scipy.stats._continuous_distns", "uniform_gen"))
RANDOM = "numpy.random._pickle"

USES: dict[str, tuple[str, bytes]] = {
    "call of a result": ("computed-callable", listed(p.call(p.call(p.name("builtins", "set"))))),
    "call without a tuple": (
        "odd-arguments", listed(p.name("builtins", "set") + p.EMPTY_LIST + p.REDUCE)
    ),
    "class that is called": ("wrong-role", listed(p.call(p.name("sklearn.pipeline", "Pipeline")))),
    "class with arguments": ("argument-rule", listed(p.made(SCALER, p.NONE))),
    "class with named arguments": (
        "argument-rule", listed(SCALER + p.EMPTY_TUPLE + p.items(a=p.NONE) + NEWOBJ_EX)
    ),
    "getattr": ("argument-rule", listed(p.call(p.name("builtins", "getattr"), MEAN, p.text("at")))),
    "encode": (
        "argument-rule",
        listed(p.call(p.name("_codecs", "encode"), p.text("a"), p.text("rot13"))),
    ),
    "reconstruct with a size": (
        "argument-rule",
        listed(p.call(p.name("numpy._core.multiarray", "_reconstruct"), p.name("numpy", "ndarray"),
                      p.pair(p.number(1 << 30)), p.data(b"b"))),
    ),
    "ufunc that is computed": (
        "argument-rule",
        listed(p.call(p.name("numpy._core", "_ufunc_reconstruct"), p.text("numpy"), p.data(b"x"))),
    ),
    "unknown bit generator": (
        "argument-rule", listed(p.call(p.name(RANDOM, "__bit_generator_ctor"), p.text("sfmt")))
    ),
    "random state of a function": (
        "argument-rule",
        listed(p.call(p.name(RANDOM, "__randomstate_ctor"), p.text("MT19937"), MEAN)),
    ),
    "partial of an object": (
        "argument-rule", listed(p.call(p.name("functools", "partial"), PIPELINE))
    ),
    "partial with another function": (
        "hostile-state",
        listed(partial(MEAN, p.pair(p.name("numpy", "exp"), p.pair(), p.items(), p.NONE))),
    ),
    "reconstructor of a list": (
        "argument-rule",
        listed(p.call(p.name("copyreg", "_reconstructor"), SCALER, p.name("builtins", "list"),
                      p.EMPTY_LIST)),
    ),
    "factory that is made": (
        "argument-rule", listed(p.call(p.name("collections", "defaultdict"), PIPELINE))
    ),
    "state of a class": ("foreign-state", listed(p.built(SCALER, p.items(a=p.NONE)))),
    "state of a list": ("foreign-state", listed(p.built(p.EMPTY_LIST, p.items(a=p.NONE)))),
    "second state": (
        "foreign-state", listed(p.built(p.built(PIPELINE, p.items()), p.items(a=p.NONE)))
    ),
    "item of a class": ("foreign-items", listed(SCALER + p.text("a") + p.NONE + SETITEM)),
    "item of an object": ("foreign-items", listed(PIPELINE + p.text("a") + p.NONE + SETITEM)),
    "append to a class": ("foreign-items", listed(SCALER + p.NONE + APPEND)),
    "append to an object": ("foreign-items", listed(PIPELINE + p.NONE + APPEND)),
    "add to an object": ("foreign-items", listed(PIPELINE + p.MARK + p.NONE + b"\x90")),
    "state that changes later": (
        "late-state",
        p.make_pickle(
            p.EMPTY_LIST, p.MARK, p.built(PIPELINE, p.EMPTY_DICT + p.put(0)), p.get(0),
            p.text("a"), p.NONE, SETITEM, b"e",
        ),
    ),
    "dunder key": ("dunder-state", listed(p.built(PIPELINE, p.items(__class__=p.NONE)))),
    "dunder slot": (
        "dunder-state", listed(p.built(PIPELINE, p.pair(p.NONE, p.items(__dict__=p.NONE))))
    ),
    "method override": ("method-override", listed(p.built(PIPELINE, p.items(predict=MEAN)))),
    "scipy's template": (
        "hostile-state",
        listed(p.built(UNIFORM, p.items(
            _parse_arg_template=p.text(PARSERS.replace("):\n", ", z=print(1)):\n", 1))))),
    ),
    "array of another size": (
        "hostile-state", listed(p.array(DOUBLES, p.pair(p.number(3)), p.data(b"\0" * 8)))
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", [*OPCODES, *USES])
def test_the_one_thing_that_is_wrong_is_found(name: str, audit_bytes: AuditBytes) -> None:
    """The rule that is broken is found, and nothing but what follows from it; the file is not safe."""
    rule, data = {**OPCODES, **USES}[name]
    found = audit_bytes(data)
    rules = {finding.rule for finding in found.findings}
    assert rule in rules
    assert rules - {rule} <= CONSEQUENCES
    assert found.verdict != "safe"


CONSEQUENCES = {"empty-stack", "stray-pop", "trailing-bytes", "unknown-opcode", "wrong-role"}
"""What the same byte may break as well: of a class that is used as a value, or of bytes behind the end."""


def _recursive() -> list[object]:
    items: list[object] = []
    items.append((items,))
    return items


TWINS: dict[str, bytes] = {
    "POP behind a tuple in itself": pickle.dumps(_recursive(), 2),
    "POP_MARK behind a tuple in itself": pickle.dumps([(lambda t: t[0].append(t) or t)(([], 1, 2, 3))], 4),
    "memo with a gap": listed(p.text("abc") + p.put(3)),
    "frame": p.make_pickle(p.frame(p.listed(p.text("abc")) + b"."), stop=b""),
    "INT": listed(b"I-17\n", protocol=0),
    "boolean of protocol 0": listed(b"I01\n", protocol=0),
    "float of protocol 0": listed(b"F-1.5e-07\n", protocol=0),
    "name of Python 2": listed(p.call(p.name("__builtin__", "set"), p.listed()), protocol=2),
    "encode": listed(p.call(p.name("_codecs", "encode"), p.text("é"), p.text("latin1"))),
    "partial": listed(partial(MEAN, p.pair(MEAN, p.pair(), p.items(), p.NONE))),
    "factory": listed(p.call(p.name("collections", "defaultdict"), p.name("builtins", "list"))),
    "reconstructor": listed(
        p.call(p.name("copyreg", "_reconstructor"), SCALER, p.name("builtins", "object"), p.NONE)
    ),
    "bit generator": listed(p.call(p.name(RANDOM, "__bit_generator_ctor"), p.text("PCG64"))),
    "scipy's template": listed(p.built(UNIFORM, p.items(_parse_arg_template=p.text(PARSERS)))),
    "item of a mapping": listed(p.call(ORDERED) + p.text("a") + p.NONE + SETITEM),
    "state": listed(p.built(PIPELINE, p.items(steps=p.listed()))),
    "array": listed(p.array(DOUBLES, p.pair(p.number(1)), p.data(b"\0" * 8))),
}  # fmt: skip


@pytest.mark.parametrize("name", TWINS)
def test_the_same_done_right_is_safe(name: str, audit_bytes: AuditBytes) -> None:
    """The rules are no wider than they have to be."""
    assert audit_bytes(TWINS[name]).findings == ()


@pytest.mark.parametrize("name", ["attrgetter", "methodcaller"])
def test_operators_that_look_up_are_refused(name: str, audit_bytes: AuditBytes) -> None:
    """What they fetch is named by a string that no table can judge."""
    found = audit_bytes(listed(p.call(p.name("operator", name), p.text("a"))))
    assert (found.verdict, found.findings[0].rule) == ("unsafe", "dangerous-name")


BOUNDS: dict[str, tuple[str, dict[str, int], bytes]] = {
    "opcodes": ("too-long", {"opcodes": 20}, p.make_pickle(p.listed(*[p.NONE] * 30))),
    "memo": ("too-long", {"memo": 3}, listed(*[p.text("a") + p.put(i) for i in range(5)])),
    "marks": ("too-deep", {"depth": 5}, p.make_pickle(p.MARK * 9, p.NONE, b"l" * 9)),
    "names": (
        "too-long",
        {"names": 3},
        listed(*[p.name("numpy", f"log{i}") for i in ("", "2", "10", "1p")]),
    ),
    "text": ("too-long", {"text": 10}, listed(p.text("a" * 11))),
    "integer": ("too-long", {"integer": 10}, listed(b"\x8a\x0b" + b"\1" * 11)),
    "integer in digits": ("truncated", {"integer": 10}, listed(b"I12345678901\n", protocol=0)),
    "text of Python 2": ("too-long", {"kept": 10}, listed(b"U\x0b" + b"a" * 11, protocol=2)),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_every_bound_ends_the_audit_with_a_finding(name: str) -> None:
    """Time, memory and depth are limited; within the limits, the same program is safe."""
    rule, limits, data = BOUNDS[name]
    for bounds, rules in ((limits, {rule}), ({}, set())):
        ledger = Ledger(listing(), Limits(**bounds))
        audit_pickle(data, ledger)
        assert {finding.rule for finding in ledger.findings()} == rules


def _often(*parts: bytes, times: int = 300) -> bytes:
    """Return a program that remembers two values, and follows the last part again and again."""
    first, second, again = parts
    return p.make_pickle(p.MARK, first, p.put(0), second, p.put(1), again * times, b"l")


MANY = p.MARK + p.NONE * 300 + b"t"
KEYS = p.EMPTY_DICT + p.MARK + b"".join(p.text(f"k{i}") + p.NONE for i in range(300)) + b"u"
TREE = DecisionTreeRegressor().fit(np.arange(4000.0).reshape(-1, 1), np.arange(4000.0)).tree_
REPEATED = {
    "arguments": _often(MANY, p.name("collections", "OrderedDict"), p.get(1) + p.get(0) + p.REDUCE),
    "a state": _often(KEYS, SCALER, p.get(1) + p.EMPTY_TUPLE + b"\x81" + p.get(0) + p.BUILD),
    "a tree": pickle.dumps([Told(*TREE.__reduce__()) for _ in range(300)], 4),
}


@pytest.mark.parametrize("name", REPEATED)
def test_work_that_one_value_makes_again_and_again_is_bounded(name: str) -> None:
    """A short program that uses something long a thousand times costs as much as a long program."""
    ledger = Ledger(listing(), Limits(opcodes=40_000))
    audit_pickle(REPEATED[name], ledger)
    assert "too-long" in {finding.rule for finding in ledger.findings()}


LARGE = b"\x8b" + (1000).to_bytes(4, "little") + b"\x7f" * 1000
SIZED = p.pair(p.number(3), p.text("|"), p.NONE, p.NONE, p.NONE, LARGE, LARGE, LARGE)
LARGES = {
    "size of a dtype": p.dtype("S5", state=SIZED),
    "arguments of a dtype": p.call(p.name("numpy", "dtype"), p.text("f8"), LARGE, LARGE),
    "shape": p.array(DOUBLES, p.pair(LARGE), p.data(b"")),
    "columns of a tree": p.built(
        p.call(p.name("sklearn.tree._tree", "Tree"), LARGE, LARGE, LARGE),
        p.items(nodes=LARGE, values=LARGE, max_depth=LARGE, node_count=LARGE),
    ),
    "name": p.stack_name(LARGE, LARGE),
    "state": p.built(PIPELINE, LARGE),
}


@pytest.mark.parametrize("name", LARGES)
def test_a_number_that_is_as_long_as_may_be_is_judged(name: str, audit_bytes: AuditBytes) -> None:
    """Python prints no number of more than 4300 digits: a message that holds one would be an error."""
    found = audit_bytes(listed(LARGES[name]))
    assert found.verdict == "unsafe"
    assert {finding.rule for finding in found.findings}.isdisjoint({"exhausted", "too-long"})


def test_a_reader_that_fails_ends_the_audit_with_a_finding(
    audit_bytes: AuditBytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a reader raises, the file is unsafe, and nobody sees a traceback."""

    def fail(*_: object) -> None:
        raise ValueError("an oversight")

    monkeypatch.setattr("cannery.audits.pickles.audit_pickle", fail)
    found = audit_bytes(listed(p.number(1)))
    assert (found.verdict, found.findings[0].rule) == ("unsafe", "exhausted")


def test_names_in_a_tuple_are_bounded() -> None:
    """Each tuple around it would hand on all of them."""
    names = b"".join(p.name("numpy", f"n{i}") for i in range(300))
    ledger = Ledger(listing(), Limits(findings=1000))
    audit_pickle(p.make_pickle(p.MARK, names, b"t"), ledger)
    assert "too-long" in {finding.rule for finding in ledger.findings()}


def test_an_unlisted_class_made_with_keywords_is_up_for_review(audit_bytes: AuditBytes) -> None:
    """A person judges the class as a whole; of a listed one, no pickler makes objects that way."""
    words = p.pair() + p.items(a=p.number(1)) + b"\x92"
    found = audit_bytes(listed(p.name("acme.results", "Fit") + words))
    assert [finding.rule for finding in found.findings] == ["unknown-name"]
    assert audit_bytes(listed(p.name("sklearn.pipeline", "Pipeline") + words)).verdict == "unsafe"
    old = p.call(
        p.name("copyreg", "_reconstructor"),
        p.name("acme.results", "Fit"),
        p.name("builtins", "tuple"),
        p.pair(),
    )
    assert audit_bytes(listed(old)).verdict == "review"
