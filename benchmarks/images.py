"""From a model to a registry, from there to an engine, and to the first answer: Cannery beside its peers.

    python benchmarks/images.py [--sizes 10 500] [--frameworks 10] [--json]      # MB

Needs docker-registry and Docker. Everything below the model is there already: in the peers' caches (for
Docker and buildah the Dockerfile is `FROM foundation` and two `COPY`; BentoML and MLflow stand on a base that
`debootstrap` makes once), and in Cannery's store. So a further version is measured at its best, push included;
so is a build of which nothing changed, and one in which only the serving code did. Then every image is
pulled by podman into a store of its own that holds nothing (a second daemon of Docker would take the first
one's network away). Cannery alone: every layer made anew from cached packages, and the seconds to its first
answer, from `docker run` and from when Docker says that it started. A peer that does not work here is left
out, and said to be. BuildKit needs a `docker` that has it built in, or buildx: name that program in DOCKER.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from heavy_graphs import heavy_graph
from images_base import DOCKER, call
from images_peers import FAILURES, Peer, Work, by_dockerfile, frameworks, ours
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
from cannery.oci.documents import Manifest, decode
from cannery.oci.references import parse
from cannery.oci.transfer import open_registry, push_image
from cannery.serving.weights import laid_out
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


def working_can(folder: Path, megabytes: int) -> Can:
    """Seal a can that answers; most of its graph is a weight of which a request reads one number."""
    can = small_can(folder.with_name("small"))
    data = laid_out(heavy_graph(can.read("model.onnx"), max(8, megabytes * 1_000_000)))
    files = {"model.onnx": data, "canary.json": can.read("canary.json")}
    return seal(can.manifest, files, folder)


def timed(action: Callable[[], object]) -> float:
    """Return the seconds that something took."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def new_work(folder: Path, megabytes: int) -> Work:
    """Write a model that nobody has seen."""
    folder.mkdir()
    return Work(
        folder=folder, manifest=make_can(folder / "can", megabytes), size=megabytes, code=""
    )


def working(peers: Iterable[Peer], work: Work) -> Iterator[Peer]:
    """Yield the peers that bring one model to the registry, which fills their caches too."""
    for peer in peers:
        try:
            peer.write(work)
            peer.deliver(work, peer.image(work))
        except FAILURES as error:
            left_out(peer.name, error)
        else:
            yield peer


def left_out(what: str, error: Exception) -> None:
    """Say on stderr what is not measured, and why."""
    said = error.stderr.decode() if isinstance(error, subprocess.CalledProcessError) else ""
    reason = " / ".join(said.strip().splitlines()[-3:]) or str(error)
    sys.stderr.write(f"{what} is left out: {reason}\n")


def versions(peers: list[Peer], work: Work) -> Iterator[Figure]:
    """Measure a further version, the same again without a change, and with other serving code."""
    here = [peer for peer in peers if work.size in peer.sizes]
    changed = replace(work, code=os.urandom(8).hex())
    steps = (
        ("a new version", work, True),
        ("no change", work, False),
        ("other serving code", changed, True),
    )
    for what, now, told in steps:
        for peer in here if told else ():
            peer.write(now)
        seconds = [timed(lambda p=peer, w=now: p.deliver(w, p.image(w))) for peer in here]
        for peer, other in zip(here[1:], seconds[1:], strict=True):
            label = f"{what}, {work.size} MB, in the registry"
            yield Figure(what=label, unit="s", ours=seconds[0], peer=other, beside=peer.name)


def pulls(peers: list[Peer], work: Work, scratch: Path) -> Iterator[Figure]:
    """Measure what is pulled of each image into a store that holds nothing."""
    seen = []
    podman = ("podman", "--root", scratch / "root", "--runroot", scratch / "run")
    for peer in peers:
        image = peer.image(work)
        if work.size in peer.sizes:
            pull = (*podman, "pull", "-q", "--tls-verify=false", image)
            seconds = timed(lambda words=pull: call(*words))
            unpacked = int(call(*podman, "image", "inspect", "-f", "{{.Size}}", image))
            call(*podman, "rmi", "-f", image)
            seen.append((peer.name, (seconds, travelling(image) / 1e6, unpacked / 1e6)))
    units = (("pulled into an empty store", "s"), ("as it travels", "MB"), ("unpacked", "MB"))
    (_, mine), *others = seen
    for place, (what, unit) in enumerate(units):
        for name, theirs in others:
            label = f"an image with a model of {work.size} MB, {what}"
            yield Figure(what=label, unit=unit, ours=mine[place], peer=theirs[place], beside=name)


def travelling(image: str) -> int:
    """Return the bytes of an image's layers in its registry."""
    reference = parse(image)
    with open_registry(reference) as registry:
        manifest, _ = registry.manifest(reference.repository, reference.target)
    return sum(layer.size for layer in decode(manifest, Manifest, image).layers)


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


def forget(names: str) -> None:
    """Remove images from Docker."""
    ids = call(DOCKER, "images", "-q", "--filter", f"reference={names}").split()
    for one in {*ids}:
        call(DOCKER, "rmi", "-f", one)


def measured(scratch: Path, host: str, sizes: list[int], framed: list[int]) -> Iterator[Figure]:
    """Measure everything; BentoML and MLflow with models of the sizes `framed`."""
    store = Store()
    lock = resolve(LockRequest(), store)
    foundation = compose(Plan(lock=lock, mode="pull"), store)
    push_image(foundation, parse(f"{host}/bench/foundation:1"))
    push_image(foundation, parse(f"{host}/bench/ours:0"))
    (scratch / "try").mkdir()
    with contextlib.ExitStack() as stack:
        peers = [ours(lock, store, f"{host}/bench/ours", sizes)]
        peers += by_dockerfile(scratch / "try", host, sizes)
        if framed:
            try:
                peers += stack.enter_context(frameworks(scratch / "try", host, framed))
            except FAILURES as error:
                left_out("BentoML and MLflow", error)
        peers = [*working(peers, new_work(scratch / "first", 1))]
        works = [new_work(scratch / f"of-{size}", size) for size in sizes]
        for work in works:
            yield from versions(peers, work)
        for work in works:
            try:
                yield from pulls(peers, work, scratch / f"store-{work.size}")
            except FAILURES as error:
                left_out("a pull into an empty store", error)
    forget(f"{host}/bench/*")
    yield from alone(lock, store, scratch, sizes)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 500], help="MB")
    only = "those of them that BentoML and MLflow, which are slow, are tried with (default: all)"
    parser.add_argument("--frameworks", type=int, nargs="*", help=only)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    framed = given.sizes if given.frameworks is None else given.frameworks
    with tempfile.TemporaryDirectory() as name, running_registry(Path(name) / "registry") as host:
        figures = [*measured(Path(name), host, given.sizes, framed)]
    text = json.dumps([asdict(f) for f in figures], indent=2) if given.json else table(figures)
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
