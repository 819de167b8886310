"""From a model to a registry, and from there to the first answer: Cannery beside Docker's two builders and buildah.

    python benchmarks/images.py [--sizes 10 500] [--json]      # MB; needs docker-registry, Docker, buildah

All have everything below the model already: the others in their caches (the Dockerfile is
`FROM foundation` and one `COPY`), Cannery in its store. So a further version is measured at its best,
push included; so is a build of which nothing changed. Cannery alone: every layer made anew from cached
packages, and the seconds to its first answer, from `docker run` and from when Docker says that it started.
Where a builder is missing, its figures are left out. BuildKit needs a `docker` that has it built in, or
buildx: name that program in DOCKER.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from heavy_graphs import heavy_graph
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
from cannery.serving.weights import laid_out
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
    """Seal a can that answers; most of its graph is a weight of which a request reads one number."""
    can = small_can(folder.with_name("small"))
    data = laid_out(heavy_graph(can.read("model.onnx"), max(8, megabytes * 1_000_000)))
    files = {"model.onnx": data, "canary.json": can.read("canary.json")}
    return seal(can.manifest, files, folder)


def ours(lock: Lock, store: Store, context: Path, manifest: CanManifest, host: str) -> None:
    """Compose and push."""
    image = compose(Plan(lock=lock, can=context / "can", manifest=manifest), store)
    push_image(image, parse(f"{host}/bench/ours:1"))


def call(*words: str | Path, cwd: Path | None = None, buildkit: str = "0") -> str:
    """Run a program that must succeed, and return what it printed."""
    environment = {**os.environ, "DOCKER_BUILDKIT": buildkit}
    done = subprocess.run(words, cwd=cwd, env=environment, check=True, capture_output=True)
    return done.stdout.decode()


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
            whole, own = first_answer(subject, can)
        finally:
            engine.remove_image(subject)
        what = f"to the first answer, {size} MB"
        yield Figure(what=f"from `docker run` {what}", unit="s", ours=whole)
        yield Figure(what=f"from the start of its process {what}", unit="s", ours=own)


def first_answer(subject: str, can: Can) -> tuple[float, float]:
    """Return the seconds to the first answer from the command, and from when Docker says that it started."""
    hardened = ("--read-only", "--cap-drop", "ALL", "-p", "127.0.0.1::8080")
    body = json.dumps(can.canary().records[0]).encode()
    began = time.time()
    name = call(DOCKER, "run", "-d", *hardened, subject).strip()
    try:
        port = int(call(DOCKER, "port", name, "8080").rpartition(":")[2])
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                connection.request("POST", "/predict", body)
                if connection.getresponse().status == 200:
                    break
            time.sleep(0.002)
        ended = time.time()
        said = call(DOCKER, "inspect", "-f", "{{.State.StartedAt}}", name).strip()
        started = datetime.fromisoformat(said[:26].rstrip("Z") + "+00:00").timestamp()
    finally:
        call(DOCKER, "rm", "-f", name)
    return ended - began, ended - started


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
