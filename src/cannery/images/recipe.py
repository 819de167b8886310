"""What goes into an image, as data: packages, requirements, and what is left out with the reason."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from cannery.cans.manifest import Runtime

RECIPE = 2
"""Version of the recipe; a lock of another version is refused."""

SUITE = "trixie"
PYTHON = "3.13"
LIBRARIES = "opt/cannery/lib"
"""Where wheels and our serving code stand in the image."""
CAN = "opt/cannery/can"
USER = 10001

TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
LOADERS = {"amd64": "usr/lib64/ld-linux-x86-64.so.2", "arm64": "usr/lib/ld-linux-aarch64.so.1"}
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}

BASE = {
    "base-files": "folders and links of the file system, licences, os-release",
    "ca-certificates": "authorities of TLS, for pulling models",
    "gcc-14-base": "licences of the libraries of GCC",
    "libbz2-1.0": "Python's bz2",
    "libc6": "the C library",
    "libexpat1": "Python's XML parser",
    "libffi8": "Python's ctypes",
    "libgcc-s1": "what compiled code unwinds its stack with",
    "liblzma5": "Python's lzma",
    "libssl3t64": "Python's ssl and hashlib",
    "libstdc++6": "the C++ library of compiled wheels",
    "libuuid1": "Python's uuid",
    "libzstd1": "libssl links it",
    "netbase": "names of protocols and services",
    "tzdata": "time zones",
    "zlib1g": "Python's zlib",
}
"""Debian packages below Python, each with the reason why it is in."""
BASE_PACKAGES = tuple(BASE)
PYTHON_REASONS = {
    "libpython3.13-minimal": "the core of the standard library",
    "libpython3.13-stdlib": "the standard library",
    "python3.13-minimal": "the interpreter",
}
PYTHON_PACKAGES = tuple(PYTHON_REASONS)
COMPILING_PACKAGES = (
    "libc6",
    "libexpat1",
    "libpython3.13-minimal",
    "python3.13-minimal",
    "zlib1g",
)
"""What Python needs to start and to compile: `python3.13-minimal` and all that it depends on."""
Extra = Literal["grpc", "parquet"]
EXTRAS: dict[Extra, tuple[str, ...]] = {
    "grpc": ("grpcio>=1.66,<2", "protobuf>=5.28,<8", "typing-extensions>=4.12,<5"),
    "parquet": ("pyarrow>=18,<26",),
}
"""What an image has only where it is asked for → its wheels, what they import included."""
LINKED = {"lightgbm": "libgomp1"}
"""Wheel → the Debian package of a library that it links and does not bring."""
WHEELS = {
    "click": "uvicorn imports it",
    "grpcio": "answers remote calls",
    "httptools": "parses HTTP",
    "msgspec": "reads and writes JSON",
    "numpy": "rows on their way to the model",
    "onnxruntime": "runs the model",
    "pyarrow": "reads Parquet bodies",
    "protobuf": "reads and writes the messages of remote calls",
    "uvicorn": "serves HTTP",
    "uvloop": "the event loop of the server",
}
REASONS = {
    "base": "what the operating system needs to run one program",
    "python": "the interpreter and its library",
    "linked": "what libraries of the model link",
    "numpy": "arrays",
    "onnxruntime": "runs the model",
    "libraries": "the model's own libraries, at the versions of its training",
    "extras": "what was asked for beyond what every image has",
    "dependencies": "what the serving code imports",
    "serving": "Cannery's service",
    "can": "the model, sealed, with its canary",
}
"""Why each layer is there."""


def reason_of(package: str) -> str:
    """Return why a package is in the image."""
    known = {**BASE, **PYTHON_REASONS, **WHEELS, **{d: f"{w} links it" for w, d in LINKED.items()}}
    return known.get(package, "the model was trained with it, or what was needs it")


SERVER_REQUIREMENTS = (
    "click>=8.1,<9",
    "httptools>=0.6,<1",
    "msgspec>=0.19,<1",
    "uvicorn>=0.30,<1",
    "uvloop>=0.21,<1",
)
"""All that the serving code imports, what it imports in turn included: resolved without looking further.

uvicorn names h11 too, but imports it only where httptools is missing."""


def requirements_of(runtime: Runtime) -> tuple[str, ...]:
    """Return what an image of `runtime` needs whatever its model; onnxruntime at the version that proved parity here."""
    if runtime != "onnx":
        return SERVER_REQUIREMENTS
    proven = importlib.metadata.version("onnxruntime")
    return (*SERVER_REQUIREMENTS, "numpy>=2,<3", f"onnxruntime=={proven}")


def name_of(requirement: str) -> str:
    """Return whose version a requirement is about."""
    return re.split(r"[^a-z0-9-]", requirement)[0]


def linked_by(requirements: Iterable[str]) -> tuple[str, ...]:
    """Return the Debian packages that the wheels of these requirements link."""
    names = set(map(name_of, requirements))
    return tuple(package for wheel, package in LINKED.items() if wheel in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Files that are left out, and why."""

    pattern: str
    """Of a path in the image without its leading slash; `*` also spans folders."""
    reason: str


DEBIAN_CUTS = (
    Cut(pattern="usr/share/man/*", reason="manual pages"),
    Cut(pattern="usr/share/locale/*", reason="translations"),
    Cut(pattern="usr/share/lintian/*", reason="packaging checks"),
    Cut(pattern="usr/share/bug/*", reason="bug reporting"),
    Cut(pattern="usr/share/gdb/*", reason="debugger helpers"),
    Cut(pattern="usr/share/gcc/*", reason="debugger helpers"),
    Cut(pattern="usr/share/applications/*", reason="desktop entries"),
    Cut(pattern="usr/share/pixmaps/*", reason="desktop entries"),
    Cut(pattern="usr/share/binfmts/*", reason="no binfmt registration in a container"),
    Cut(pattern="usr/share/base-files/*", reason="templates for an installer"),
    Cut(pattern="usr/share/ca-certificates/*", reason="already in the one bundle"),
    Cut(pattern="usr/sbin/update-ca-certificates", reason="needs a shell"),
    Cut(pattern="etc/update-motd.d/*", reason="needs a shell"),
    Cut(pattern="usr/lib/systemd/*", reason="no systemd in a container"),
    Cut(pattern="usr/lib/*/gconv/*", reason="Python has its own codecs"),
    Cut(pattern="usr/lib/*/audit/*", reason="linker auditing"),
    Cut(pattern="usr/lib/*/ossl-modules/*", reason="legacy ciphers"),
    Cut(pattern="usr/lib/*/engines-3/*", reason="hardware engines of OpenSSL"),
    Cut(pattern="usr/lib/*/libexpatw.so*", reason="nothing links it"),
    Cut(pattern="usr/lib/*/libc_malloc_debug.so*", reason="debugger helpers"),
    Cut(pattern="usr/lib/*/libmemusage.so*", reason="debugger helpers"),
    Cut(pattern="usr/lib/*/libpcprofile.so*", reason="debugger helpers"),
    Cut(pattern="usr/lib/*/libthread_db.so*", reason="debugger helpers"),
    Cut(pattern="usr/lib/*/libBrokenLocale.so*", reason="nothing links it"),
    Cut(pattern="usr/lib/*/libnss_hesiod.so*", reason="a name service that is not configured"),
    Cut(pattern="usr/lib/*/libnss_compat.so*", reason="a name service that is not configured"),
    Cut(pattern="usr/share/zoneinfo/right/*", reason="leap-second zones"),
    Cut(pattern="usr/share/zoneinfo/posix/*", reason="duplicates of zones"),
)

PYTHON_CUTS = (
    Cut(pattern="usr/lib/python3.13/test/*", reason="tests"),
    Cut(pattern="usr/lib/python3.13/*/tests/*", reason="tests"),
    Cut(pattern="usr/lib/python3.13/*/test/*", reason="tests"),
    Cut(pattern="usr/lib/python3.13/__phello__/*", reason="tests"),
    Cut(pattern="usr/lib/python3.13/__hello__.py", reason="tests"),
    Cut(pattern="usr/lib/python3.13/idlelib/*", reason="needs a display"),
    Cut(pattern="usr/lib/python3.13/tkinter/*", reason="needs a display"),
    Cut(pattern="usr/lib/python3.13/turtle*", reason="needs a display"),
    Cut(pattern="usr/lib/python3.13/curses/*", reason="needs a terminal"),
    Cut(pattern="usr/lib/python3.13/ensurepip/*", reason="no installer inside"),
    Cut(pattern="usr/lib/python3.13/venv/*", reason="no installer inside"),
    Cut(pattern="usr/lib/python3.13/lib2to3/*", reason="a source converter"),
    Cut(pattern="usr/lib/python3.13/dbm/*", reason="needs libdb"),
    Cut(pattern="usr/lib/python3.13/lib-dynload/_dbm.*", reason="needs libdb"),
    Cut(pattern="usr/lib/python3.13/lib-dynload/_gdbm.*", reason="needs libgdbm"),
    Cut(pattern="usr/lib/python3.13/lib-dynload/_curses*", reason="needs a terminal"),
    Cut(pattern="usr/lib/python3.13/lib-dynload/readline.*", reason="needs a terminal"),
    Cut(pattern="usr/lib/python3.13/lib-dynload/_tkinter.*", reason="needs a display"),
    Cut(pattern="usr/lib/python3.13/lib-dynload/_test*", reason="tests"),
    Cut(pattern="usr/lib/python3.13/lib-dynload/_xxtestfuzz*", reason="tests"),
    Cut(pattern="usr/lib/python3.13/lib-dynload/xx*", reason="tests"),
    Cut(pattern="usr/lib/python3.13/lib-dynload/_ctypes_test*", reason="tests"),
    Cut(pattern="usr/lib/python3.13/config-*", reason="for building extensions"),
    Cut(pattern="usr/lib/python3.13/*/_sysconfigdata*", reason="for building extensions"),
    Cut(pattern="usr/lib/python3.13/_pydecimal.py", reason="twins of compiled modules"),
    Cut(pattern="usr/lib/python3.13/_pydatetime.py", reason="twins of compiled modules"),
    Cut(pattern="usr/lib/python3.13/_pyio.py", reason="twins of compiled modules"),
    Cut(pattern="usr/lib/python3.13/sqlite3/*", reason="no database inside"),
    Cut(pattern="usr/lib/python3.13/lib-dynload/_sqlite3.*", reason="no database inside"),
    Cut(pattern="usr/lib/python3.13/sitecustomize.py", reason="a hook for desktops"),
    Cut(pattern="etc/python3.13/*", reason="a hook for desktops"),
    Cut(pattern="usr/lib/valgrind/*", reason="debugger helpers"),
    Cut(pattern="usr/share/doc/*/gdbinit*", reason="debugger helpers"),
    Cut(pattern="usr/share/python3/*", reason="for building packages"),
)

LEAN_PYTHON_CUTS = (
    Cut(pattern="usr/lib/python3.13/_pyrepl/*", reason="needs a terminal"),
    Cut(pattern="usr/lib/python3.13/pydoc_data/*", reason="documentation"),
    Cut(pattern="usr/lib/python3.13/pydoc.py", reason="documentation"),
    Cut(pattern="usr/lib/python3.13/pickletools.py", reason="for developing"),
    Cut(pattern="usr/lib/python3.13/doctest.py", reason="for developing"),
    Cut(pattern="usr/lib/python3.13/pdb.py", reason="for developing"),
)
"""What only scikit-learn, scipy and numpy's test helpers reach for."""

WHEEL_CUTS = (
    Cut(pattern="*/tests/*", reason="tests"),
    Cut(pattern="*/conftest.py", reason="tests"),
    Cut(pattern="joblib/test/*", reason="tests"),
    Cut(pattern="numpy/_core/include/*", reason="headers"),
    Cut(pattern="numpy/core/include/*", reason="headers"),
    Cut(pattern="*.pyi", reason="type stubs"),
    Cut(pattern="*/py.typed", reason="type stubs"),
    Cut(pattern="*.h", reason="headers"),
    Cut(pattern="*.hpp", reason="headers"),
    Cut(pattern="*.pxd", reason="headers"),
    Cut(pattern="*.pyx", reason="sources of compiled modules"),
    Cut(pattern="*.pyx.tp", reason="sources of compiled modules"),
    Cut(pattern="*.tp", reason="sources of compiled modules"),
    Cut(pattern="*.c", reason="sources of compiled modules"),
    Cut(pattern="*.cpp", reason="sources of compiled modules"),
    Cut(pattern="*.a", reason="static libraries"),
    Cut(pattern="*.dist-info/RECORD", reason="no installer inside"),
    Cut(pattern="*.dist-info/sboms/*", reason="the image has one of its own"),
    Cut(pattern="numpy/distutils/*", reason="for building extensions"),
    Cut(pattern="numpy/_pyinstaller/*", reason="for building extensions"),
    Cut(pattern="numpy/doc/*", reason="documentation"),
    Cut(pattern="onnxruntime/transformers/*", reason="optimises models before they are served"),
    Cut(pattern="onnxruntime/quantization/*", reason="optimises models before they are served"),
    Cut(pattern="onnxruntime/tools/*", reason="converts models before they are served"),
    Cut(pattern="onnxruntime/backend/*", reason="for the onnx package"),
    Cut(pattern="onnxruntime/datasets/*", reason="examples"),
    Cut(
        pattern="onnxruntime/capi/libonnxruntime.so*",
        reason="for C programs; the Python module has the runtime in itself",
    ),
    Cut(pattern="sklearn/datasets/data/*", reason="data sets"),
    Cut(pattern="sklearn/datasets/images/*", reason="data sets"),
    Cut(pattern="sklearn/datasets/descr/*", reason="data sets"),
    Cut(pattern="uvloop/*.pyx", reason="sources of compiled modules"),
)

LEAN_WHEEL_CUTS = (
    Cut(pattern="numpy/random/*", reason="serving draws no random numbers"),
    Cut(pattern="numpy/fft/*", reason="a graph has operators of its own"),
    Cut(pattern="numpy/ma/*", reason="a graph has operators of its own"),
    Cut(pattern="numpy/polynomial/*", reason="a graph has operators of its own"),
    Cut(pattern="numpy/testing/*", reason="tests"),
    Cut(pattern="numpy/f2py/*", reason="a Fortran compiler's front end"),
    Cut(pattern="numpy/_core/_simd.*.so", reason="tests"),
    Cut(pattern="numpy/_core/_*_tests.*.so", reason="tests"),
)
"""What only scikit-learn and scipy reach for (`from numpy import *` imports all of numpy)."""


def python_cuts(runtime: Runtime) -> tuple[Cut, ...]:
    """Return what is left out of Debian's Python in an image of `runtime`."""
    return (*PYTHON_CUTS, *LEAN_PYTHON_CUTS) if runtime == "onnx" else PYTHON_CUTS


def wheel_cuts(runtime: Runtime) -> tuple[Cut, ...]:
    """Return what is left out of the wheels of an image of `runtime`."""
    return (*WHEEL_CUTS, *LEAN_WHEEL_CUTS) if runtime == "onnx" else WHEEL_CUTS


@cache
def recipe_digest() -> str:
    """Return the digest of the code that makes layers: a layer made by other code is made again."""
    hasher = hashlib.sha256()
    folder = Path(__file__).parent
    for path in sorted(folder.rglob("*.py")):
        hasher.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    hasher.update(importlib.metadata.version("zlib-ng").encode())
    return hasher.hexdigest()
