"""A real registry on a loopback port."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cannery.engines.asking import free_port
from cannery.processes import started


@contextmanager
def running_registry(folder: Path, *, auth: str = "", port: int = 0) -> Iterator[str]:
    """Run docker-registry on a loopback port (0: on one that is free); yield its host and port."""
    port = port or free_port()
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {folder / 'data'}}}\n"
        f"  delete: {{enabled: true}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n{auth}"
    )
    with (
        (folder / "log").open("wb") as log,
        started(["docker-registry", "serve", config], stdout=log, stderr=log) as process,
    ):
        for _ in range(200):
            assert process.poll() is None, (folder / "log").read_text()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield f"127.0.0.1:{port}"
