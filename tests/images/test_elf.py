"""What ELF files need."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from cannery.images.elf import missing_libraries, read_elf, without_debugging
from cannery.images.trees import Entry
from cannery.processes import run


def extension(name: str) -> Path:
    """Return the file of a compiled module."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def test_the_libraries_of_a_module_are_read() -> None:
    """Numpy's core names the C library, and finds its own libraries beside itself."""
    elf = read_elf(extension("numpy._core._multiarray_umath").read_bytes())
    assert elf is not None
    assert "libc.so.6" in elf.needed
    assert elf.machine in ("amd64", "arm64")
    assert any("numpy.libs" in path for path in elf.runpath)


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01"])
def test_other_files_are_no_elf(data: bytes) -> None:
    """Scripts and 32-bit files are passed by."""
    assert read_elf(data) is None


def test_a_missing_library_is_found_out() -> None:
    """A module without its own libraries lacks just these; with them it lacks nothing."""
    file = extension("numpy._core._multiarray_umath")
    libraries = file.parent.parent.parent / "numpy.libs"
    core = {"lib/numpy/_core/core.so": Entry(data=file.read_bytes())}
    elf = read_elf(file.read_bytes())
    assert elf is not None
    system = {f"usr/lib/{n}": Entry(data=b"") for n in elf.needed if "openblas" not in n}
    lacking = missing_libraries({**core, **system}, ("usr/lib",))
    assert ["openblas" in name for name in lacking["lib/numpy/_core/core.so"]] == [True]
    beside = {f"lib/numpy.libs/{p.name}": Entry(data=b"") for p in libraries.iterdir()}
    assert missing_libraries({**core, **system, **beside}, ("usr/lib",)) == {}


def test_a_module_loads_without_its_debug_sections(tmp_path: Path) -> None:
    """Uvloop's 16 MB shrink to a small part, and still load."""
    source = extension("uvloop.loop")
    stripped = without_debugging(source.read_bytes())
    assert len(stripped) < source.stat().st_size
    place = tmp_path / source.name
    place.write_bytes(stripped)
    program = (
        "import importlib.util as u, uvloop.includes; "
        f"s = u.spec_from_file_location('uvloop.loop', {str(place)!r}); "
        "m = u.module_from_spec(s); s.loader.exec_module(m); print(m.Loop.__name__)"
    )
    done = run([sys.executable, "-c", program])
    assert done.stdout.strip() == b"Loop", done.complaint


def test_what_has_no_debug_sections_is_left_alone() -> None:
    """A file that would hardly shrink keeps its bytes; so does what is no ELF file."""
    data = extension("msgspec._core").read_bytes()
    assert without_debugging(data) == data
    assert without_debugging(b"#!/bin/sh\n") == b"#!/bin/sh\n"
