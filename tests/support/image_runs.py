"""Programs run in an unpacked image, and the types of the fixtures that do it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from cannery.cans.manifest import CanManifest
from cannery.oci.descriptors import Image

EMULATOR = "qemu-aarch64-static"
"""Runs programs of arm64 elsewhere."""

MakeCan = Callable[[str], tuple[Path, CanManifest]]
Run = Callable[..., subprocess.CompletedProcess[str]]


def run_in(root: Path, image: Image, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program in an unpacked image: read-only, no network, as user 12345."""
    sandbox = ["bwrap", "--ro-bind", str(root), "/", "--tmpfs", "/tmp", "--proc", "/proc"]
    sandbox += ["--dev", "/dev", "--unshare-all", "--uid", "12345", "--gid", "0", "--clearenv"]
    for setting in json.loads(image.config)["config"]["Env"]:
        sandbox += ["--setenv", *setting.split("=", 1)]
    return subprocess.run(
        [*sandbox, *words], capture_output=True, text=True, timeout=300, check=False
    )
