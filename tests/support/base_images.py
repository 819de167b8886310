"""A base image for builds without network: the Python that runs the tests, its libraries, and a shell."""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

from image_parts import file, folder, link, make_image, make_layer

from cannery.oci.descriptors import Image
from cannery.processes import run

_LEFT_OUT = {
    "test",
    "idlelib",
    "tkinter",
    "turtledemo",
    "site-packages",
    "dist-packages",
    "__pycache__",
}
_WHEELS_NEED = (
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "libm.so.6",
    "libgcc_s.so.1",
    "libstdc++.so.6",
)
"""What wheels for Linux may take for granted."""
STATUS = b"Package: libc6\nSource: glibc\nStatus: install ok installed\nVersion: 2.41-12\nArchitecture: amd64\n"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def base_image(store: Path) -> Image:
    """Return an image with `python3` (venv included), `/bin/sh` and nothing else."""
    program = Path(sys.executable).resolve()
    base = {"base": sys.base_prefix, "installed_base": sys.base_prefix}
    library = Path(sysconfig.get_path("stdlib", vars=base))
    found = {
        path
        for path in library.rglob("*")
        if path.is_file() and not _LEFT_OUT & set(path.relative_to(library).parts)
    }
    shell = Path("/bin/sh").resolve()
    binaries = [program, shell, *(p for p in found if p.suffix == ".so")]
    text = "".join(run(["ldd", p]).stdout.decode() for p in binaries)
    libraries = {Path(p) for p in re.findall(r"(/\S+) \(0x", text)}
    system = next(p.parent for p in libraries if p.name.startswith("libc.so"))
    libraries |= {p for name in _WHEELS_NEED for p in system.glob(name)}
    entries = [
        file(str(p)[1:], p.read_bytes(), p.stat().st_mode & 0o777)
        for p in sorted(found | libraries | {program})
    ]
    layer = make_layer(
        store,
        folder("tmp", 0o1777),
        folder("bin"),
        folder("usr/bin"),
        file("bin/sh", shell.read_bytes(), 0o755),
        link("usr/bin/python3", str(program)),
        *entries,
        file("var/lib/dpkg/status", STATUS),
        compressed=False,
    )
    return make_image(layer, Env=["PATH=/usr/bin:/bin"])
