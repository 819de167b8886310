"""Bytecode is compiled to the same bytes every time, and means the same."""

from __future__ import annotations

import importlib.util
import marshal
import sys
import sysconfig
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cannery.images import inside
from cannery.images.bytecode import Compiler, Interpreter
from cannery.images.inside import Sharing, compiled
from cannery.images.store import Store
from cannery.images.trees import Entry, Tree

VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False),
        st.complex_numbers(allow_nan=False),
        st.text(),
        st.binary(),
        st.just(...),
    ),
    lambda inner: st.one_of(st.tuples(inner, inner), st.lists(inner), st.frozensets(st.text())),
)
STDLIB = Path(sysconfig.get_paths()["stdlib"])


def shared(value: object, version: int = marshal.version) -> bytes:
    """Return a value as our marshal."""
    sharing = Sharing(marshal.dumps(value, version))
    sharing.value()
    assert sharing.at == len(sharing.data)
    return bytes(sharing.out)


@given(VALUES)
def test_sharing_keeps_every_value(value: object) -> None:
    """What was shared reads back equal."""
    assert marshal.loads(shared(value)) == value


@given(VALUES)
def test_no_reference_of_marshal_s_own_is_left(value: object) -> None:
    """Version 2 has none, and gives the same bytes; so does what many others refer to."""
    held = [value] * 3
    assert shared((value, value)) == shared((value, value), 2)
    assert shared((held[0], held[1])) == shared((value, value))


@pytest.mark.parametrize("name", ["typing", "ast", "decimal"])
def test_code_without_references_is_the_same(name: str) -> None:
    """Modules too give the same bytes from either version."""
    path = STDLIB / f"{name}.py"
    code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    assert shared(code) == shared(code, 2)


def test_equal_strings_are_written_once() -> None:
    """The second of two equal strings is a reference."""
    long = "a name that is long enough"
    assert len(shared((long, long))) < len(shared((long, long.upper())))


@pytest.mark.parametrize("name", ["typing", "dataclasses", "inspect", "argparse", "decimal", "ast"])
def test_code_keeps_its_meaning(name: str) -> None:
    """A module of the standard library is the same code after the round trip."""
    path = STDLIB / f"{name}.py"
    content = compiled(path.read_bytes(), str(path))
    expected = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    assert marshal.loads(content[16:]) == expected
    assert len(content) - 16 < 1.1 * len(marshal.dumps(expected))


def test_python_takes_the_file_without_looking_at_the_source(tmp_path: Path) -> None:
    """The header says: checked by no time and no hash."""
    content = compiled(b"answer = 42\n", "/x.py")
    assert content[:4] == importlib.util.MAGIC_NUMBER
    assert content[4:8] == b"\x01\0\0\0"
    file = tmp_path / "module.pyc"
    file.write_bytes(content)
    spec = importlib.util.spec_from_file_location("module", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.answer == 42


def test_what_is_no_python_gives_nothing() -> None:
    """A template that only looks like Python is left without bytecode."""
    assert compiled(b"print 'two'\n", "/x.py") == b""
    assert compiled(b"x = 1\0\n", "/x.py") == b""


PICKY = """
import marshal, struct, sys
((name, source),) = marshal.load(sys.stdin.buffer)
sys.stdout.buffer.write(struct.pack("<Q", len(source)) + source)
"""
"""Takes exactly one source, and gives it back as if it were bytecode."""
TREE: Tree = {"a.py": Entry(data=b"a = 1\n"), "b.py": Entry(data=b"b = 2\n")}


def made_by(store: Store, tree: Tree, *program: str) -> Tree:
    """Return a tree with what a program of this very Python makes of it, file by file."""
    interpreter = Interpreter(
        version="1",
        minor="3.99",
        write=lambda _: None,
        words=lambda _: [sys.executable, *program],
    )
    with ExitStack() as stack:
        compiler = Compiler(interpreter=interpreter, stack=stack, store=store)
        return compiler.with_bytecode(tree, remembered=True)


def test_only_what_changed_is_compiled_again(store: Store) -> None:
    """Nothing is started for a tree that was compiled before, and a changed file is compiled alone."""
    first = made_by(store, TREE, inside.__file__)
    assert first["__pycache__/a.cpython-399.pyc"].data == compiled(b"a = 1\n", "/a.py")
    assert made_by(store, TREE, "no such program") == first
    changed = {**TREE, "b.py": Entry(data=b"b = 3\n")}
    second = made_by(store, changed, "-c", PICKY)
    assert second == {**first, **changed, "__pycache__/b.cpython-399.pyc": changed["b.py"]}


def test_damaged_bytecode_is_compiled_again(store: Store) -> None:
    """What is remembered is checked by digest when it is read."""
    first = made_by(store, TREE, inside.__file__)
    for blob in (store.root / "blobs" / "sha256").iterdir():
        blob.write_bytes(b"damaged")
    assert made_by(store, TREE, inside.__file__) == first


def test_what_does_not_compile_is_remembered_too(store: Store) -> None:
    """A file that is no Python gets no bytecode, the first time and later."""
    tree = {"x.py": Entry(data=b"print 'two'\n")}
    assert made_by(store, tree, inside.__file__) == tree
    assert made_by(store, tree, "no such program") == tree
