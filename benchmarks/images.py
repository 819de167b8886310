"""A new version of a model, from its files to a registry: composed by Cannery, built by Docker and by buildah.

    python benchmarks/images.py [--sizes 10 500] [--json]      # MB; needs docker-registry, Docker, buildah

All three have everything below the model already: Docker and buildah in their caches (the Dockerfile
is `FROM foundation` and one `COPY`), Cannery in its store. So this measures what a further version
costs at best, push included. Where a builder is missing, its figures are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from measuring import Figure
from registries import running_registry

from cannery.blobs import canonical_json, digest_bytes
from cannery.cans.manifest import AuditSummary, CanManifest, CanSource, File
from cannery.images.compose import compose
from cannery.images.lock import Lock, LockRequest, resolve
from cannery.images.plan import Plan
from cannery.images.store import Store
from cannery.oci.references import parse
from cannery.oci.transfer import push_image
from cannery.signatures import Feature, Output, Signature

NOTHING = "sha256:" + "0" * 64


def make_can(folder: Path, megabytes: int) -> CanManifest:
    """Write a can with a model of random bytes, so that no two are alike."""
    folder.mkdir()
    data = os.urandom(megabytes * 1_000_000)
    (folder / "model.onnx").write_bytes(data)
    manifest = CanManifest(
        name="bench",
        version="1",
        source=CanSource(given="m", resolved="m", digest=NOTHING, format="onnx"),
        runtime="onnx",
        model="model.onnx",
        task="graph",
        signature=Signature(
            features=(Feature(name="x", type="double"),),
            outputs=(Output(name="y", type="double", tensor="y"),),
        ),
        files={"model.onnx": File(digest=digest_bytes(data), size=len(data))},
        audit=AuditSummary(verdict="safe", names=0, policy=NOTHING, sandbox="none"),
    )
    (folder / "can.json").write_bytes(canonical_json(manifest))
    return manifest


def ours(lock: Lock, store: Store, context: Path, manifest: CanManifest, host: str) -> None:
    """Compose and push."""
    image = compose(Plan(lock=lock, can=context / "can", manifest=manifest), store)
    push_image(image, parse(f"{host}/bench/ours:1"))


def call(*words: str | Path, cwd: Path | None = None) -> None:
    """Run a program that must succeed."""
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    subprocess.run(words, cwd=cwd, env=environment, check=True, capture_output=True)


def with_docker(context: Path, host: str) -> None:
    """Build with the legacy builder and push."""
    call("docker", "build", "-q", "-t", f"{host}/bench/docker:1", ".", cwd=context)
    call("docker", "push", "-q", f"{host}/bench/docker:1")


def with_buildah(context: Path, host: str) -> None:
    """Build and push with buildah."""
    name = f"{host}/bench/buildah:1"
    isolation = ("--isolation", "chroot", "--tls-verify=false", "--layers")
    call("buildah", "build", "-q", *isolation, "-t", name, ".", cwd=context)
    call("buildah", "push", "-q", "--tls-verify=false", name)


def timed(action: Callable[[], None]) -> float:
    """Return the seconds that something took."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def measure(sizes: list[int]) -> list[Figure]:
    """Measure each size with each builder, one after another on the same bytes."""
    store = Store()
    lock = resolve(LockRequest(), store)
    foundation = compose(Plan(lock=lock, mode="pull"), store)
    figures = []
    with tempfile.TemporaryDirectory() as name, running_registry(Path(name) / "registry") as host:
        push_image(foundation, parse(f"{host}/bench/foundation:1"))
        push_image(foundation, parse(f"{host}/bench/ours:0"))
        peers = {
            "docker build and push": with_docker if shutil.which("docker") else None,
            "buildah build and push": with_buildah if shutil.which("buildah") else None,
        }
        for size in [1, *sizes]:  # the first warms every cache
            context = Path(name) / f"context-{size}"
            context.mkdir()
            manifest = make_can(context / "can", size)
            dockerfile = f"FROM {host}/bench/foundation:1\nCOPY can /opt/cannery/can\n"
            (context / "Dockerfile").write_text(dockerfile)
            seconds = timed(lambda c=context, m=manifest: ours(lock, store, c, m, host))
            for beside, peer in peers.items():
                if peer is None:
                    continue
                other = timed(lambda p=peer, c=context: p(c, host))
                what = f"a new version of {size} MB in the registry"
                figures.append(Figure(what=what, unit="s", ours=seconds, peer=other, beside=beside))
    return [figure for figure in figures if "of 1 MB" not in figure.what]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 500], help="MB")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    figures = measure(given.sizes)
    if given.json:
        sys.stdout.write(json.dumps([asdict(f) for f in figures], indent=2) + "\n")
        return
    for f in figures:
        sys.stdout.write(
            f"{f.what}: {f.ours:.2f} {f.unit}; {f.beside}: {f.peer:.2f} {f.unit} ({f.ratio:.1f}x)\n"
        )


if __name__ == "__main__":
    main()
