"""From a model to a registry, and from there to the first answer: Cannery beside Docker's two builders and buildah.

    python benchmarks/images.py [--sizes 10 500] [--json]      # MB; needs docker-registry, Docker, buildah

All have everything below the model already: the others in their caches (the Dockerfile is
`FROM foundation` and one `COPY`), Cannery in its store. So a further version is measured at its best,
push included; so is a build of which nothing changed. Cannery alone: every layer made anew from cached
packages, and the seconds from the start of a container in Docker to its first answer.
Where a builder is missing, its figures are left out. BuildKit needs a `docker` that has it built in, or
buildx: name that program in DOCKER.
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
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from measuring import Figure, table
from registries import running_registry
from small_cans import make_can as small_can

from cannery.blobs import canonical_json, digest_bytes
from cannery.cans.manifest import AuditSummary, CanManifest, CanSource, File
from cannery.cans.open import Can
from cannery.cans.seal import seal
from cannery.engines.docker import docker
from cannery.images.compose import compose
from cannery.images.lock import Lock, LockRequest, resolve
from cannery.images.plan import Plan
from cannery.images.store import Store
from cannery.oci.references import parse
from cannery.oci.transfer import push_image
from cannery.proofs.nouns import require
from cannery.proofs.prove import ProofOptions, prove
from cannery.signatures import Feature, Output, Signature

NOTHING = "sha256:" + "0" * 64
DOCKER = os.environ.get("DOCKER", "docker")


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


def working_can(folder: Path, megabytes: int) -> Can:
    """Seal a can that answers; most of its graph is a weight that is added as nothing."""
    folder.parent.mkdir()
    can = small_can(folder.with_name("small"))
    model = onnx.load_model_from_string(can.read("model.onnx"))
    weights = np.random.default_rng(0).random(max(1, megabytes * 125_000))
    constants = {"weights_beside": weights, "first": np.array([0]), "nothing": np.array(0.0)}
    graph = model.graph
    graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in constants.items())
    at = next(i for i, node in enumerate(graph.node) if "z" in node.input)
    graph.node[at].input[0] = "z_beside"
    graph.node.insert(at, helper.make_node("Add", ["z", "added"], ["z_beside"]))
    graph.node.insert(at, helper.make_node("Mul", ["picked", "nothing"], ["added"]))
    graph.node.insert(at, helper.make_node("Gather", ["weights_beside", "first"], ["picked"]))
    files = {"model.onnx": model.SerializeToString(), "canary.json": can.read("canary.json")}
    return seal(can.manifest, files, folder)


def ours(lock: Lock, store: Store, context: Path, manifest: CanManifest, host: str) -> None:
    """Compose and push."""
    image = compose(Plan(lock=lock, can=context / "can", manifest=manifest), store)
    push_image(image, parse(f"{host}/bench/ours:1"))


def call(*words: str | Path, cwd: Path | None = None, buildkit: str = "0") -> None:
    """Run a program that must succeed."""
    environment = {**os.environ, "DOCKER_BUILDKIT": buildkit}
    subprocess.run(words, cwd=cwd, env=environment, check=True, capture_output=True)


def with_docker(context: Path, host: str) -> None:
    """Build with the legacy builder and push."""
    call(DOCKER, "build", "-q", "-t", f"{host}/bench/docker:1", ".", cwd=context)
    call(DOCKER, "push", "-q", f"{host}/bench/docker:1")


def with_buildkit(context: Path, host: str) -> None:
    """Build with BuildKit in Docker's daemon and push."""
    call(DOCKER, "build", "-q", "-t", f"{host}/bench/kit:1", ".", cwd=context, buildkit="1")
    call(DOCKER, "push", "-q", f"{host}/bench/kit:1")


def with_buildah(context: Path, host: str) -> None:
    """Build and push with buildah."""
    name = f"{host}/bench/buildah:1"
    isolation = ("--isolation", "chroot", "--tls-verify=false", "--layers")
    call("buildah", "build", "-q", *isolation, "-t", name, ".", cwd=context)
    call("buildah", "push", "-q", "--tls-verify=false", name)


def peers(scratch: Path) -> dict[str, Callable[[Path, str], None]]:
    """Return the builders that work here."""
    found: dict[str, Callable[[Path, str], None]] = {}
    if shutil.which(DOCKER):
        found["docker build and push"] = with_docker
        (scratch / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
        try:
            call(DOCKER, "build", "-q", ".", cwd=scratch, buildkit="1")
            found["docker build (BuildKit) and push"] = with_buildkit
        except subprocess.CalledProcessError:
            sys.stderr.write(f"'{DOCKER}' has no BuildKit; DOCKER names another\n")
    if shutil.which("buildah"):
        found["buildah build and push"] = with_buildah
    return found


def timed(action: Callable[[], object]) -> float:
    """Return the seconds that something took."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def versions(
    lock: Lock, store: Store, scratch: Path, host: str, sizes: list[int]
) -> Iterator[Figure]:
    """Measure a further version of each size, and the same again without a change."""
    foundation = compose(Plan(lock=lock, mode="pull"), store)
    push_image(foundation, parse(f"{host}/bench/foundation:1"))
    push_image(foundation, parse(f"{host}/bench/ours:0"))
    (scratch / "try").mkdir()
    beside = peers(scratch / "try")
    for size in [1, *sizes]:  # the first warms every cache
        context = scratch / f"context-{size}"
        context.mkdir()
        manifest = make_can(context / "can", size)
        dockerfile = f"FROM {host}/bench/foundation:1\nCOPY can /opt/cannery/can\n"
        (context / "Dockerfile").write_text(dockerfile)
        for what in ("a new version", "no change"):
            seconds = timed(lambda c=context, m=manifest: ours(lock, store, c, m, host))
            for name, peer in beside.items():
                other = timed(lambda p=peer, c=context: p(c, host))
                if size != 1:
                    label = f"{what} of {size} MB in the registry"
                    yield Figure(what=label, unit="s", ours=seconds, peer=other, beside=name)


def alone(lock: Lock, store: Store, scratch: Path, sizes: list[int]) -> Iterator[Figure]:
    """Measure what the others have no like of: layers from packages, size, and the way to the first answer."""
    fresh = Store(root=scratch / "store")
    for platform in lock.platforms.values():
        for package in (*platform.debian, *platform.wheels):
            fresh.take(store.path(f"sha256:{package.sha256}"))
    cold = timed(lambda: compose(Plan(lock=lock, mode="pull"), fresh))
    yield Figure(what="every layer made anew from cached packages", unit="s", ours=cold)
    image = compose(Plan(lock=lock, mode="pull"), store)
    yield Figure(what="without the model, as it travels", unit="MB", ours=image.size / 1e6)
    yield Figure(what="without the model, unpacked", unit="MB", ours=image.unpacked / 1e6)
    engine = docker()
    for size in (0, *sizes):
        can = working_can(scratch / f"working-{size}" / "can", size)
        subject = engine.load(
            compose(Plan(lock=lock, can=can.folder, manifest=can.manifest), store)
        )
        try:
            proof = require(
                prove(
                    engine,
                    subject,
                    can.canary(),
                    can.manifest,
                    ProofOptions(whole=False),
                    digest=can.digest,
                )
            )
        finally:
            engine.remove_image(subject)
        assert proof.first_prediction is not None
        what = f"from the start in Docker to the first answer, {size} MB"
        yield Figure(what=what, unit="s", ours=proof.first_prediction)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 500], help="MB")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    store = Store()
    lock = resolve(LockRequest(), store)
    with tempfile.TemporaryDirectory() as name, running_registry(Path(name) / "registry") as host:
        scratch = Path(name)
        figures = [*versions(lock, store, scratch, host, given.sizes)]
        figures += alone(lock, store, scratch, given.sizes)
    text = json.dumps([asdict(f) for f in figures], indent=2) if given.json else table(figures)
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
