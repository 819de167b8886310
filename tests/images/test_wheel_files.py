"""Wheels are unpacked with suspicion."""

from __future__ import annotations

import pytest
from wheels import keep, make_wheel

from cannery.errors import ImageError
from cannery.images.recipe import wheel_cuts
from cannery.images.store import Store
from cannery.images.wheels import cut_wheels, wheel_tree

MODULE = {"tiny/__init__.py": b"x = 1\n"}


def test_a_wheel_gives_its_files(store: Store) -> None:
    """Modules stand below the folder for libraries."""
    tree = wheel_tree(keep(make_wheel(MODULE), store), store)
    assert tree["opt/cannery/lib/tiny/__init__.py"].data == b"x = 1\n"


def test_purelib_and_platlib_are_unpacked_and_scripts_left_out(store: Store) -> None:
    """Files under .data go where their scheme says; scripts and data stay out."""
    files = {
        "tiny-1.0.data/purelib/pure.py": b"1",
        "tiny-1.0.data/platlib/plat.py": b"2",
        "tiny-1.0.data/scripts/tool": b"#!python\n",
        "tiny-1.0.data/data/share/x": b"3",
    }
    tree = wheel_tree(keep(make_wheel(files), store), store)
    names = {path.removeprefix("opt/cannery/lib/") for path in tree}
    assert names == {"pure.py", "plat.py", "tiny-1.0.dist-info/RECORD"}


@pytest.mark.parametrize(
    "name", ["../evil.py", "/etc/evil", "a/../../evil.py", "a\\b.py", "a//b.py"]
)
def test_a_path_that_escapes_is_refused(name: str, store: Store) -> None:
    """No file of a wheel may stand outside the folder for libraries."""
    wheel = keep(make_wheel({**MODULE, name: b"evil"}), store)
    with pytest.raises(ImageError, match="is not a path inside the package"):
        wheel_tree(wheel, store)


def test_a_path_that_escapes_through_a_scheme_is_refused(store: Store) -> None:
    """A scheme does not let a file out either."""
    wheel = keep(make_wheel({"tiny-1.0.data/purelib/../../evil.py": b"evil"}), store)
    with pytest.raises(ImageError, match="is not a path inside the package"):
        wheel_tree(wheel, store)


def test_a_file_that_differs_from_record_is_refused(store: Store) -> None:
    """A wrong hash in RECORD names the file."""
    wheel = keep(make_wheel(MODULE, record={"tiny/__init__.py": "sha256=AAAA"}), store)
    with pytest.raises(ImageError, match=r"tiny/__init__\.py.* differs from its hash in RECORD"):
        wheel_tree(wheel, store)


def test_a_file_missing_from_record_is_refused(store: Store) -> None:
    """A file that RECORD does not list is refused."""
    wheel = keep(make_wheel(MODULE, record={"tiny/__init__.py": ""}), store)
    with pytest.raises(ImageError, match="is not in its RECORD"):
        wheel_tree(wheel, store)


@pytest.mark.parametrize("weak", ["md5=AAAA", "nothing"])
def test_a_weak_hash_in_record_is_refused(weak: str, store: Store) -> None:
    """Only SHA-2 counts."""
    wheel = keep(make_wheel(MODULE, record={"tiny/__init__.py": weak}), store)
    with pytest.raises(ImageError, match="has no hash in RECORD"):
        wheel_tree(wheel, store)


def test_an_encrypted_file_is_refused(store: Store) -> None:
    """A wheel needs no password; what says that it does is damaged."""
    data = make_wheel(MODULE)
    at = data.index(b"PK\x01\x02") + 8  # flags of the first member, in the directory
    wheel = keep(data[:at] + b"\x01" + data[at + 1 :], store)
    with pytest.raises(ImageError, match=r"is damaged: .*encrypted"):
        wheel_tree(wheel, store)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused(store: Store) -> None:
    """A zip that holds a name twice is refused."""
    wheel = keep(make_wheel(MODULE, twice="tiny/__init__.py"), store)
    with pytest.raises(ImageError, match="two files of one name"):
        wheel_tree(wheel, store)


@pytest.mark.parametrize("data", [b"", b"PK", make_wheel(MODULE)[:-40]])
def test_what_is_no_zip_is_a_clear_error(data: bytes, store: Store) -> None:
    """A damaged wheel is an ImageError that names it."""
    with pytest.raises(ImageError, match=r"tiny-1\.0-py3-none-any\.whl"):
        wheel_tree(keep(data, store), store)


def test_what_is_left_out_is_told_with_its_reason(store: Store) -> None:
    """Tests and stubs go; pattern, reason, files and bytes are recorded."""
    files = {
        **MODULE,
        "tiny/tests/__init__.py": b"",
        "tiny/tests/test_x.py": b"12345",
        "tiny/x.pyi": b"1",
    }
    tree, left_out = cut_wheels(
        wheel_tree(keep(make_wheel(files), store), store), wheel_cuts("onnx")
    )
    assert set(tree) == {"opt/cannery/lib/tiny/__init__.py"}
    told = {(cut.reason, cut.files, cut.bytes) for cut in left_out}
    assert {("tests", 2, 5), ("type stubs", 1, 1)} <= told
