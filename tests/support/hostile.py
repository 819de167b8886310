"""Hostile pickles by class. Each would create the file `marker` (or crash, or hang) if it were opened."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import pickles as p
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

Case = tuple[str, Callable[[Path], bytes]]
"""The class of the attack with its number, and what makes the file for a marker."""


def touch(marker: Path) -> str:
    """Return the shell command of the payload."""
    return f"touch {marker}"


def code(marker: Path) -> str:
    """Return the Python code of the payload."""
    return f"__import__('pathlib').Path({str(marker)!r}).touch()"


class Calls:
    """An object whose pickle calls a function."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.answer = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        """Return what the pickle will call."""
        return self.answer


def payload(marker: Path) -> bytes:
    """Push the result of a harmless command."""
    return p.call(p.name("os", "system"), p.text(touch(marker)))


# Names that run things, called directly


def direct() -> Iterator[Case]:
    """Known callables, by both opcodes and at every protocol."""
    shell = [("os", "system"), ("posix", "system"), ("os", "popen"), ("subprocess", "getoutput")]
    shell += [("commands", "getoutput"), ("pty", "spawn"), ("platform", "popen")]
    for home, function in shell:
        yield (
            f"shell:{home}",
            lambda m, h=home, f=function: p.make_pickle(
                p.call(p.name(h, f), p.text(touch(m))), protocol=2
            ),
        )
    python = [("builtins", "eval"), ("builtins", "exec"), ("timeit", "timeit"), ("cProfile", "run")]
    python += [("pdb", "run"), ("bdb", "run"), ("doctest", "debug_script"), ("trace", "run")]
    python += [("numpy.testing._private.utils", "runstring"), ("code", "interact")]
    for home, function in python:
        yield (
            f"python:{home}",
            lambda m, h=home, f=function: p.make_pickle(
                p.call(p.stack_name(p.text(h), p.text(f)), p.text(code(m)))
            ),
        )
    files = [("builtins", "open"), ("io", "open"), ("_io", "FileIO"), ("codecs", "open")]
    files += [("numpy", "save"), ("numpy", "memmap"), ("gzip", "open"), ("joblib", "dump")]
    for home, function in files:
        yield (
            f"file:{home}",
            lambda m, h=home, f=function: p.make_pickle(
                p.call(p.name(h, f), p.text(str(m)), p.text("w"))
            ),
        )
    others = [("webbrowser", "open"), ("socket", "create_connection"), ("ctypes", "CDLL")]
    others += [("urllib.request", "urlopen"), ("importlib", "import_module"), ("runpy", "run_path")]
    others += [("pydoc", "locate"), ("marshal", "loads"), ("pickle", "loads"), ("sys", "exit")]
    others += [("pip", "main"), ("ensurepip", "_run_pip"), ("signal", "raise_signal")]
    for home, function in others:
        yield (
            f"reach:{home}",
            lambda m, h=home, f=function: p.make_pickle(p.call(p.name(h, f), p.text(str(m)))),
        )
    for protocol in range(6):
        yield (
            f"pickled:{protocol}",
            lambda m, n=protocol: pickle.dumps(Calls(os.system, touch(m)), n),
        )
    yield "pickled:popen", lambda m: pickle.dumps(Calls(subprocess.Popen, ["touch", str(m)]))
    yield "pickled:partial", lambda m: pickle.dumps(partial(os.system, touch(m)))
    yield (
        "python2:eval",
        lambda m: p.make_pickle(p.call(p.name("__builtin__", "eval"), p.text(code(m))), protocol=1),
    )
    yield (
        "python2:apply",
        lambda m: p.make_pickle(
            p.call(p.name("__builtin__", "apply"), p.name("os", "system")), protocol=0
        ),
    )


# Names that hide


def hidden_names() -> Iterator[Case]:
    """Computed, dotted, re-exported and look-alike names; imports for their side effects."""
    half = p.call(p.name("builtins", "str"), p.text("os"))
    yield (
        "computed:module",
        lambda m: p.make_pickle(p.call(p.stack_name(half, p.text("system")), p.text(touch(m)))),
    )
    yield "computed:memo", lambda m: p.make_pickle(
        p.text("os") + p.put(0), p.POP,
        p.call(p.stack_name(p.get(0), p.text("system")), p.text(touch(m))),
    )  # fmt: skip
    yield (
        "computed:bytes",
        lambda m: p.make_pickle(
            p.call(p.stack_name(p.data(b"os"), p.text("system")), p.text(touch(m)))
        ),
    )
    dotted = [
        ("shutil", "os.system"),
        ("sklearn.pipeline", "Pipeline.fit"),
        ("logging", "os.popen"),
    ]
    dotted += [("numpy", "core._internal.os.system"), ("joblib", "os.system")]
    for home, function in dotted:
        yield (
            f"dotted:{home}",
            lambda m, h=home, f=function: p.make_pickle(
                p.call(p.stack_name(p.text(h), p.text(f)), p.text(touch(m)))
            ),
        )
    exported = [("sklearn.utils._joblib", "os"), ("shutil", "_os"), ("sklearn.base", "warnings")]
    exported += [("sklearn.pipeline", "get_routing_for_object"), ("numpy.lib", "os")]
    for home, function in exported:
        yield (
            f"reexported:{home}",
            lambda m, h=home, f=function: p.make_pickle(p.call(p.name(h, f), p.text(touch(m)))),
        )
    alike = [("sklearn.pipeIine", "Pipeline"), ("sklearn.pipelinе", "Pipeline")]
    alike += [("scikit_learn.pipeline", "Pipeline"), ("sklearn", "pipeline"), ("numpy ", "dtype")]
    alike += [("sklearn.pipeline\x00os", "Pipeline"), ("", "system"), ("..os", "system")]
    for home, function in alike:
        yield (
            "lookalike",
            lambda m, h=home, f=function: p.make_pickle(p.made(p.name(h, f)), protocol=3),
        )
    for module in ("antigravity", "this", "acme.sideeffect", "idlelib.run"):
        yield "import-alone", lambda m, h=module: p.make_pickle(p.listed(p.name(h, "x")))


# Opcodes


def opcodes() -> Iterator[Case]:
    """Opcodes that CPython's pickler never writes, or not so."""
    yield "inst", lambda m: p.make_pickle(p.MARK + p.text(touch(m)) + b"ios\nsystem\n", protocol=0)
    yield (
        "obj",
        lambda m: p.make_pickle(
            p.MARK + p.name("os", "system") + p.text(touch(m)) + b"o", protocol=1
        ),
    )
    for opcode in (b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00"):
        yield "extension", lambda m, o=opcode: p.make_pickle(p.call(o, p.text(touch(m))))
    yield "persistent", lambda m: p.make_pickle(b"Ppayload\n")
    yield "persistent", lambda m: p.make_pickle(p.text("payload") + b"Q")
    yield "buffer", lambda m: p.make_pickle(b"\x97", protocol=5)
    yield "buffer", lambda m: p.make_pickle(p.data(b"x") + b"\x98", protocol=5)
    yield "dup", lambda m: p.make_pickle(payload(m) + b"2" + b"\x86")
    yield "stray-pop", lambda m: p.make_pickle(payload(m) + p.POP + p.listed())
    yield "stray-pop", lambda m: p.make_pickle(p.MARK + payload(m) + b"1" + p.listed())
    yield "memo-overwrite", lambda m: p.make_pickle(
        p.text("builtins") + p.put(0), p.POP, p.text("os") + p.put(0), p.POP,
        p.call(p.stack_name(p.get(0), p.text("system")), p.text(touch(m))),
    )  # fmt: skip
    yield "memo-overwrite", lambda m: p.make_pickle(p.listed() + p.put(1) + p.put(1))
    yield "memo-gap", lambda m: p.make_pickle(p.listed(p.listed() + b"r\xff\xff\xff\x3f"))
    yield "stray-proto", lambda m: p.make_pickle(b"\x80\x02", p.listed(payload(m)))
    yield "protocol-6", lambda m: p.make_pickle(p.listed(payload(m)), protocol=6)
    yield (
        "protocol-mismatch",
        lambda m: p.make_pickle(
            p.call(p.stack_name(p.text("os"), p.text("system")), p.text(touch(m))), protocol=2
        ),
    )
    body = p.listed(payload(Path("x")))
    yield "straddled-frame", lambda m: p.make_pickle(p.frame(body, 7))
    yield "straddled-frame", lambda m: p.make_pickle(p.frame(body, len(body) + 40) + b"." * 50)
    yield "nested-frame", lambda m: p.make_pickle(p.frame(p.frame(p.listed(payload(m)))))
    for line in (b"I0x10\n", b"I1_0\n", b"I 5\n", b"I5\x00;\n", b"I010\n", b"L5\n", b"F1_0.0\n"):
        yield "ambiguous-text", lambda m, t=line: p.make_pickle(p.listed(t, payload(m)))
    yield "ambiguous-text", lambda m: p.make_pickle(p.listed(p.listed() + b"p0x1\n"))
    yield "leftover-stack", lambda m: p.make_pickle(payload(m), p.listed())
    yield "empty-stack", lambda m: p.make_pickle(b"R")
    yield "stacked", lambda m: pickle.dumps([1, 2]) + pickle.dumps(Calls(os.system, touch(m)))
    yield "trailing", lambda m: pickle.dumps(StandardScaler()) + b"\x00" * 16
    yield "trailing", lambda m: pickle.dumps(StandardScaler()) + b"PK\x03\x04" + b"\x00" * 30
    yield "unknown-opcode", lambda m: p.make_pickle(payload(m) + b"\xff")
    yield "truncated", lambda m: p.make_pickle(payload(m), stop=b"")


# What is allowed, used wrongly


def abused() -> Iterator[Case]:
    """Listed names with arguments or states that no honest file has."""
    pipeline = p.name("sklearn.pipeline", "Pipeline")
    system = p.name("os", "system")
    yield "build-on-class", lambda m: p.make_pickle(p.built(pipeline, p.items(predict=system)))
    yield "build-on-class", lambda m: p.make_pickle(p.built(p.name("os", "environ"), p.items()))
    yield (
        "build-on-call",
        lambda m: p.make_pickle(
            p.built(p.call(p.name("builtins", "dict")), p.items(a=p.NONE)) + p.BUILD
        ),
    )
    yield (
        "setitem-on-global",
        lambda m: p.make_pickle(p.name("sys", "modules") + p.text("sklearn") + p.NONE + b"s"),
    )
    yield "setitem-on-class", lambda m: p.make_pickle(pipeline + p.text("a") + p.NONE + b"s")
    yield "append-on-global", lambda m: p.make_pickle(p.name("sys", "path") + p.text("/tmp") + b"a")
    yield "append-on-object", lambda m: p.make_pickle(p.made(pipeline) + p.text("a") + b"a")
    for key in ("__class__", "__dict__", "__reduce__", "__setstate__", "__getattr__"):
        yield (
            "dunder-state",
            lambda m, k=key: p.make_pickle(p.built(p.made(pipeline), p.items(**{k: p.NONE}))),
        )
    yield (
        "slot-state",
        lambda m: p.make_pickle(
            p.built(
                p.made(pipeline), p.pair(p.NONE, p.items(__class__=p.name("os", "_wrap_close")))
            )
        ),
    )
    yield (
        "method-override",
        lambda m: p.make_pickle(
            p.built(p.made(pipeline), p.items(predict=p.name("numpy", "mean")))
        ),
    )
    yield "late-state", lambda m: p.make_pickle(
        p.listed(p.built(p.made(pipeline), p.items(a=p.NONE) + p.put(3)),
                 p.get(3) + p.text("__class__") + system + b"s")
    )  # fmt: skip
    yield (
        "second-state",
        lambda m: p.make_pickle(
            p.built(p.built(p.made(pipeline), p.items(a=p.NONE)), p.items(b=p.NONE))
        ),
    )
    yield (
        "duplicate-key",
        lambda m: p.make_pickle(p.EMPTY_DICT + p.MARK + (p.text("a") + p.NONE) * 2 + b"u"),
    )
    yield "predict-time", lambda m: pickle.dumps(FunctionTransformer(os.system))
    yield "predict-time", lambda m: pickle.dumps(FunctionTransformer(partial(os.system, touch(m))))
    yield (
        "predict-time",
        lambda m: pickle.dumps(Pipeline([("a", FunctionTransformer(subprocess.check_output))])),
    )
    yield "predict-time", lambda m: pickle.dumps(CountVectorizer(tokenizer=eval))
    yield "predict-time", lambda m: pickle.dumps(CountVectorizer(input="filename"))
    partial_ = p.call(p.name("functools", "partial"), p.name("numpy", "mean"))
    yield (
        "partial-swap",
        lambda m: p.make_pickle(
            p.built(partial_, p.pair(system, p.pair(p.text(touch(m))), p.items(), p.NONE))
        ),
    )
    reconstructor = p.name("copyreg", "_reconstructor")
    yield (
        "reconstructor",
        lambda m: p.make_pickle(
            p.call(
                reconstructor, p.name("subprocess", "Popen"), p.name("builtins", "object"), p.NONE
            )
        ),
    )
    yield (
        "reconstructor",
        lambda m: p.make_pickle(
            p.call(reconstructor, pipeline, p.name("builtins", "list"), p.EMPTY_LIST)
        ),
    )
    for codec in ("unicode_escape", "zip", "rot13", "latin2"):
        yield (
            "codec",
            lambda m, c=codec: p.make_pickle(
                p.listed(p.call(p.name("_codecs", "encode"), p.text("abc"), p.text(c)))
            ),
        )
    yield (
        "ufunc",
        lambda m: p.make_pickle(
            p.call(p.name("numpy.core", "_ufunc_reconstruct"), p.text("os"), p.text("system"))
        ),
    )
    yield (
        "getattr",
        lambda m: p.make_pickle(
            p.call(p.name("builtins", "getattr"), p.name("numpy", "mean"), p.text("__globals__"))
        ),
    )
    for function in ("attrgetter", "methodcaller"):
        yield (
            "operator",
            lambda m, f=function: p.make_pickle(p.call(p.name("operator", f), p.text("system"))),
        )
    yield (
        "factory",
        lambda m: p.make_pickle(
            p.call(p.name("collections", "defaultdict"), p.name("os", "getcwd"))
        ),
    )
    yield "class-called", lambda m: p.make_pickle(p.call(pipeline, p.text("a")))
    yield "class-with-arguments", lambda m: p.make_pickle(p.made(pipeline, p.text("a")))
    yield (
        "newobj-ex",
        lambda m: p.make_pickle(
            p.name("subprocess", "Popen") + p.EMPTY_TUPLE + p.items(args=p.text("id")) + b"\x92"
        ),
    )
    yield "newobj", lambda m: p.make_pickle(p.made(p.name("subprocess", "Popen"), p.text("id")))
    yield "reduce-result", lambda m: p.make_pickle(p.call(p.call(p.name("builtins", "list"))))
    yield (
        "bit-generator",
        lambda m: p.make_pickle(
            p.call(p.name("numpy.random._pickle", "__bit_generator_ctor"), p.text("__import__"))
        ),
    )
    yield (
        "bit-generator",
        lambda m: p.make_pickle(
            p.call(p.name("numpy.random._pickle", "__randomstate_ctor"), p.text("MT19937"), system)
        ),
    )
    yield "cython", lambda m: p.make_pickle(
        p.call(p.name("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"),
               p.name("subprocess", "Popen"), p.number(1), p.NONE)
    )  # fmt: skip
    uniform = p.name("scipy.stats._continuous_distns", "uniform_gen")
    for template in (code, lambda m: _template().replace("):\n", f", x={code(m)}):\n", 1)):
        yield (
            "scipy-template",
            lambda m, t=template: p.make_pickle(
                p.built(p.made(uniform), p.items(_parse_arg_template=p.text(t(m))))
            ),
        )
    template = p.text("_parse_arg_template")
    yield (
        "state-of-pairs",
        lambda m: p.make_pickle(
            p.built(p.made(uniform), p.pair(p.pair(template, p.text(code(m)))))
        ),
    )
    yield (
        "state-of-pairs",
        lambda m: p.make_pickle(
            p.built(p.made(uniform), p.listed(p.pair(template, p.text(code(m)))))
        ),
    )
    yield (
        "state-of-pairs",
        lambda m: p.make_pickle(
            p.built(p.made(uniform), p.pair(p.listed(template, p.text(code(m)))))
        ),
    )
    yield "state-of-keys", lambda m: p.make_pickle(
        p.built(p.made(uniform), p.pair(
            p.EMPTY_DICT + p.MARK + template + p.NONE + p.text(code(m)) + p.NONE + b"u",
            p.items(a=p.NONE, b=p.NONE),
        ))
    )  # fmt: skip
    yield (
        "bytearray-bomb",
        lambda m: p.make_pickle(
            p.listed(p.call(p.name("builtins", "bytearray"), p.number(2**31 - 1)))
        ),
    )
    yield "cloudpickle", lambda m: cloudpickle.dumps(lambda x: os.system(touch(m)))
    yield (
        "cloudpickle",
        lambda m: cloudpickle.dumps(FunctionTransformer(lambda x: os.system(touch(m)))),
    )


def _template() -> str:
    from scipy.stats import uniform

    return str(uniform._parse_arg_template)


# numpy's own


def arrays() -> Iterator[Case]:
    """Arrays and dtypes that would make numpy read bytes as pointers, or allocate without end."""
    doubles = p.dtype("f8", state=p.dtype_state("<"))
    yield (
        "array-size",
        lambda m: p.make_pickle(p.array(doubles, p.pair(p.number(1000)), p.data(b"\0" * 8))),
    )
    yield (
        "array-size",
        lambda m: p.make_pickle(p.array(doubles, p.pair(p.number(-1)), p.data(b"\0" * 8))),
    )
    pointers = p.dtype("O8", state=p.dtype_state("|", flags=0))
    yield (
        "array-pointers",
        lambda m: p.make_pickle(p.array(pointers, p.pair(p.number(1)), p.data(b"A" * 8))),
    )
    yield (
        "array-pointers",
        lambda m: p.make_pickle(p.array(p.dtype("O8"), p.pair(p.number(1)), p.data(b"A" * 8))),
    )
    lying = p.dtype("f8", state=p.dtype_state("<", flags=63))
    yield (
        "array-pointers",
        lambda m: p.make_pickle(p.array(lying, p.pair(p.number(1)), p.listed(payload(m)))),
    )
    outside = p.items(a=p.pair(doubles, p.number(1 << 20)))
    fields = p.dtype("V8", state=p.dtype_state("|", size=8, fields=outside))
    yield (
        "field-outside",
        lambda m: p.make_pickle(p.array(fields, p.pair(p.number(1)), p.data(b"A" * 8))),
    )
    holding = p.items(a=p.pair(p.dtype("O8"), p.number(0)))
    objects = p.dtype("V8", state=p.dtype_state("|", size=8, fields=holding))
    yield (
        "field-pointers",
        lambda m: p.make_pickle(p.array(objects, p.pair(p.number(1)), p.data(b"A" * 8))),
    )
    bigger = p.dtype("V8", state=p.dtype_state("|", size=1 << 20))
    yield (
        "dtype-size",
        lambda m: p.make_pickle(p.array(bigger, p.pair(p.number(1)), p.data(b"A" * 8))),
    )
    yield "reconstruct", lambda m: p.make_pickle(
        p.call(p.name("numpy._core.multiarray", "_reconstruct"), p.name("numpy", "ndarray"),
               p.pair(p.number(2**31 - 1), p.number(2**31 - 1)), p.data(b"b"))
    )  # fmt: skip
    yield "reconstruct", lambda m: p.make_pickle(
        p.call(p.name("numpy._core.multiarray", "_reconstruct"), p.name("numpy", "memmap"),
               p.pair(p.number(0)), p.data(b"b"))
    )  # fmt: skip
    yield (
        "scalar",
        lambda m: p.make_pickle(
            p.call(p.name("numpy._core.multiarray", "scalar"), p.dtype("O8"), p.data(b"A" * 8))
        ),
    )
    yield "frombuffer", lambda m: p.make_pickle(
        p.call(p.name("numpy._core.numeric", "_frombuffer"), p.data(b"A" * 8), p.dtype("O8"),
               p.pair(p.number(1)), p.text("C")), protocol=5
    )  # fmt: skip


def exhausting() -> Iterator[Case]:
    """Programs that would take all memory or time."""
    yield "deep-marks", lambda m: p.make_pickle(p.MARK * 100_000)
    yield "huge-string", lambda m: p.make_pickle(b"\x8d" + (1 << 40).to_bytes(8, "little") + b"x")
    yield "huge-frame", lambda m: p.make_pickle(b"\x95" + (1 << 60).to_bytes(8, "little") + b"N")
    yield (
        "huge-long",
        lambda m: p.make_pickle(b"\x8b" + (1 << 20).to_bytes(4, "little") + b"\1" * (1 << 20)),
    )
    yield "negative-size", lambda m: p.make_pickle(b"\x8b\xff\xff\xff\xff", b"T\xff\xff\xff\xff")
    yield (
        "many-tuples",
        lambda m: p.make_pickle(p.name("os", "system") + p.EMPTY_TUPLE + b"R" + b"2\x86" * 60),
    )


CASES: list[Case] = [
    case for make in (direct, hidden_names, opcodes, abused, arrays, exhausting) for case in make()
]
