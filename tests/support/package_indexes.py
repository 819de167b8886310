"""A package index of tiny wheels: plain pages of links, as any web server gives them, without hashes unless told."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from wheels import make_wheel


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def tags(*pythons: str) -> list[str]:
    """Return the tags of compiled wheels for these Pythons, on both processors."""
    machines = ("x86_64", "aarch64")
    return [f"cp{p}-cp{p}-manylinux_2_17_{m}" for p in pythons for m in machines]


def write_index(folder: Path, packages: Mapping[str, Sequence[str]], *, kind: str = "") -> None:
    """Write a page for each of `packages` (`name==version` → tags) and its wheels; `kind` names the hash of the links."""
    for package, all_tags in packages.items():
        name, _, version = package.partition("==")
        place = folder / name
        place.mkdir(parents=True)
        links = []
        for tag in all_tags:
            stem = f"{name}-{version}"
            data = make_wheel(
                {
                    f"{name}.py": tag.encode(),
                    f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
                    f"{stem}.dist-info/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n".encode(),
                },
                stem=stem,
            )
            (place / f"{stem}-{tag}.whl").write_bytes(data)
            known = f"#{kind}={hashlib.new(kind, data).hexdigest()}" if kind else ""
            links.append(f'<a href="{stem}-{tag}.whl{known}">{stem}-{tag}.whl</a>')
        (place / "index.html").write_text(
            f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>"
        )


@contextmanager
def package_index(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve a folder, and make it the only index that pip and uv are told of; yield its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        patch.delenv(name, raising=False)
    patch.setenv("PIP_CONFIG_FILE", "/dev/null")
    patch.setenv("PIP_INDEX_URL", address)
    patch.setenv("UV_DEFAULT_INDEX", address)
    patch.setenv("UV_CACHE_DIR", str(folder.with_name("uv")))
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
