"""Compose and push an image with a large model, and say how much memory and disk that took.

    python benchmarks/streaming.py [--size 2000]      # MB; needs the docker-registry program

Exit code 1 where more than 150 MB were resident, or the model was copied on this side.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from registries import running_registry

from cannery.blobs import Blob
from cannery.images.layers import layer_of_files
from cannery.images.recipe import CAN
from cannery.oci.descriptors import Image, manifest_of
from cannery.oci.references import parse
from cannery.oci.transfer import push_image

LIMIT = 150.0
"""MB resident."""


def main() -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2000, help="MB of the model")
    size = parser.parse_args().size
    with tempfile.TemporaryDirectory() as name:
        model = Path(name) / "model.onnx"
        with model.open("wb") as stream:
            for _ in range(size):
                stream.write(os.urandom(1000) * 1000)
        blob = Blob.of(model)
        began, processor = time.perf_counter(), time.process_time()
        layer = layer_of_files("can", CAN, {"model.onnx": blob})
        config = b'{"rootfs":{"type":"layers","diff_ids":["' + layer.diff_id.encode() + b'"]}}'
        image = Image(
            config=config,
            manifest=manifest_of(config, (layer,), "docker"),
            layers=(layer,),
            media="docker",
        )
        composed = time.perf_counter()
        with running_registry(Path(name) / "registry") as host:
            push_image(image, parse(f"{host}/large/model:1"))
        pushed = time.perf_counter()
        copies = [p for p in Path(name).iterdir() if p.is_file() and p != model]
    memory = _peak()
    sys.stdout.write(
        f"{size} MB: composed in {composed - began:.1f} s, pushed in {pushed - composed:.1f} s"
        f" ({time.process_time() - processor:.1f} s of processor time here),"
        f" at most {memory:.0f} MB resident, {len(copies)} copies\n"
    )
    return 0 if memory <= LIMIT and not copies else 1


def _peak() -> float:
    """Return the most that was resident, in MB; `ru_maxrss` counts the process that started this one too."""
    (line,) = [s for s in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in s]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    sys.exit(main())
