"""From a model to a registry, from there to an engine, and to the first answer: Cannery beside its peers.

    python benchmarks/images.py [--sizes 10 500] [--frameworks 10] [--json]      # MB

Needs docker-registry and Docker. First, everything below the model is there already: in the peers' caches (for
Docker and buildah the Dockerfile is `FROM foundation` and two `COPY`; BentoML and MLflow stand on a base that
`debootstrap` makes once), and in Cannery's store. So a further version is measured at its best, push included;
so is a build of which nothing changed, and one in which only the serving code did. Then every image is
pulled by podman and by a Docker of its own (which needs root) into stores that hold nothing.

Then cold, with the smallest model, push included: nothing is there but the base, in the registry too (Cannery
has none), and the packages: for Cannery in its store, for the others in an index on this machine. Docker and
buildah build what `cannery eject` writes, the classical Dockerfile of two stages, with the lock's wheels by hash.
Docker pulls all these images and starts them, each with its user's defaults: to the first right answer, from
`docker run` and from when Docker says that it started (the middle of three). Cannery alone: layers without a
push, and the first answer of models of every size. A peer that does not work here is left out, and said to be.
BuildKit needs a `docker` that has it built in, or buildx: name that program in DOCKER.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from heavy_graphs import heavy_graph
from images_base import DOCKER, call, python_base, unseen
from images_frameworks import frameworks, packages
from images_peers import (
    FAILURES,
    Peer,
    Service,
    Work,
    by_dockerfile,
    ejected,
    ours,
    two_lines,
)
from images_pulls import Puller, lone_docker, lone_podman
from measuring import Figure, first_answer, table
from registries import running_registry
from small_cans import make_can as small_can

from cannery.blobs import canonical_json, digest_bytes
from cannery.cans.manifest import AuditSummary, CanManifest, CanSource, File
from cannery.cans.open import Can, open_can
from cannery.cans.seal import seal
from cannery.engines.docker import docker
from cannery.images.compose import compose
from cannery.images.lock import Lock, LockRequest, host_architecture, resolve
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
        seen = [(p.name, timed(lambda p=p, w=now: p.deliver(w, p.image(w)))) for p in here]
        yield from side_by_side(f"{what}, {work.size} MB, in the registry", "s", seen)


def side_by_side(what: str, unit: str, seen: Sequence[tuple[str, float]]) -> Iterator[Figure]:
    """Yield what was seen of each of the others beside the first, which is Cannery."""
    (first, mine), *others = seen
    assert first == "Cannery", first
    for name, theirs in others:
        yield Figure(what=what, unit=unit, ours=mine, peer=theirs, beside=name)


def pulls(peers: list[Peer], work: Work, pullers: Sequence[Puller]) -> Iterator[Figure]:
    """Measure what is pulled of each image into stores that hold nothing."""
    images = {peer.name: peer.image(work) for peer in peers if work.size in peer.sizes}
    label = f"an image with a model of {work.size} MB"
    for puller in pullers:
        seconds, unpacked = [], []
        for name, image in images.items():
            seconds.append((name, puller.pull(image)))
            unpacked.append((name, puller.unpacked(image) / 1e6))
            puller.forget(image)
        yield from side_by_side(f"{label}, pulled by {puller.name}", "s", seconds)
        yield from side_by_side(f"{label}, unpacked by {puller.name}", "MB", unpacked)
    layers = [(name, travelling(image) / 1e6) for name, image in images.items()]
    yield from side_by_side(f"{label}, as it travels", "MB", layers)


def all_pulls(peers: list[Peer], works: list[Work], here: Setting) -> Iterator[Figure]:
    """Measure pulls by every engine that works here."""
    with contextlib.ExitStack() as stack:
        pullers = [lone_podman(here.scratch / "podman")]
        try:
            pullers.append(stack.enter_context(lone_docker(here.scratch / "docker", here.registry)))
        except FAILURES as error:
            left_out("Docker's pulls", error)
        for work in works:
            yield from pulls(peers, work, pullers)


def travelling(image: str) -> int:
    """Return the bytes of an image's layers in its registry."""
    reference = parse(image)
    with open_registry(reference) as registry:
        manifest, _ = registry.manifest(reference.repository, reference.target)
    return sum(layer.size for layer in decode(manifest, Manifest, image).layers)


def packaged(lock: Lock, store: Store, root: Path) -> Store:
    """Return a store that holds an image's packages and nothing else."""
    fresh = Store(root=root)
    for platform in lock.platforms.values():
        for package in (*platform.debian, *platform.wheels):
            fresh.take(store.path(f"sha256:{package.sha256}"))
    return fresh


def cold(peers: Iterable[Peer], work: Work) -> Iterator[Figure]:
    """Measure builds of which every layer is made, and the way from those images to their first answers."""
    built, whole, own = [], [], []
    for peer in peers:
        image = peer.image(work)
        try:
            peer.write(work)
            seconds = timed(lambda p=peer, name=image: p.deliver(work, name))
            built.append((peer.name, seconds))
            call(DOCKER, "pull", "-q", image)
            can = open_can(work.folder / "can")
            starts = sorted(start(image, can, peer.service) for _ in range(3))
            whole.append((peer.name, starts[1][0]))
            own.append((peer.name, starts[1][1]))
        except (*FAILURES, AssertionError) as error:
            left_out(f"{peer.name}, cold,", error)
    size = f"{work.size} MB"
    yield from side_by_side(f"every layer made anew, {size}, in the registry", "s", built)
    yield from side_by_side(f"from `docker run` to the first answer, {size}", "s", whole)
    yield from side_by_side(f"from the start of its process to it, {size}", "s", own)


def alone(lock: Lock, store: Store, scratch: Path, sizes: list[int]) -> Iterator[Figure]:
    """Measure what needs no other beside it: layers from packages, size, and the first answer of any model."""
    fresh = packaged(lock, store, scratch / "store")
    seconds = timed(lambda: compose(Plan(lock=lock, mode="pull"), fresh))
    yield Figure(what="every layer made anew from cached packages", unit="s", ours=seconds)
    image = compose(Plan(lock=lock, mode="pull"), store)
    yield Figure(what="without the model, as it travels", unit="MB", ours=image.size / 1e6)
    yield Figure(what="without the model, unpacked", unit="MB", ours=image.unpacked / 1e6)
    engine = docker()
    hardened = Service(options=("--read-only", "--cap-drop", "ALL"))
    for size in (0, *sizes):
        can = working_can(scratch / f"working-{size}" / "can", size)
        subject = engine.load(
            compose(Plan(lock=lock, can=can.folder, manifest=can.manifest), store)
        )
        try:
            whole, own = start(subject, can, hardened)
        finally:
            engine.remove_image(subject)
        what = f"to the first answer, {size} MB, hardened"
        yield Figure(what=f"from `docker run` {what}", unit="s", ours=whole)
        yield Figure(what=f"from the start of its process {what}", unit="s", ours=own)


def start(image: str, can: Can, service: Service) -> tuple[float, float]:
    """Return the seconds to the first answer from the command, and from when Docker says that it started."""
    canary = can.canary()
    body = json.dumps(service.body(canary.records[:1])).encode()
    publish = ("-p", f"127.0.0.1::{service.port}")
    began = time.time()
    name = call(DOCKER, "run", "-d", *service.options, *publish, image).strip()
    try:
        port = int(call(DOCKER, "port", name, str(service.port)).rpartition(":")[2])
        said = first_answer(port, service.path, body)
        ended = time.time()
        assert abs(service.answer(said) - canary.outputs[0]["churn"]) < 1e-6, said
        told = call(DOCKER, "inspect", "-f", "{{.State.StartedAt}}", name).strip()
        started = datetime.fromisoformat(told[:26].rstrip("Z") + "+00:00").timestamp()
    finally:
        call(DOCKER, "rm", "-f", name)
    return ended - began, ended - started


def forget(names: str) -> None:
    """Remove images from Docker and buildah, but for those that other images stand on."""
    for engine in filter(shutil.which, (DOCKER, "buildah")):
        for one in {*call(engine, "images", "-q", "--filter", f"reference={names}").split()}:
            with contextlib.suppress(subprocess.CalledProcessError):
                call(engine, "rmi", "-f", one)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What everything is measured with."""

    scratch: Path
    host: str
    """Of the registry."""
    registry: Path
    """Where it keeps what it has."""
    lock: Lock
    store: Store
    sizes: list[int]
    framed: list[int]
    """Sizes of the models that BentoML and MLflow are tried with."""


def warm_peers(here: Setting, base: str) -> list[Peer]:
    """Return those that work, with everything below the model made."""
    where, scratch = f"{here.host}/bench", here.scratch / "warm"
    foundation = compose(Plan(lock=here.lock, mode="pull"), here.store)
    push_image(foundation, parse(f"{where}/foundation:1"))
    push_image(foundation, parse(f"{where}/ours:0"))
    scratch.mkdir()
    found = [ours(here.lock, here.store, f"{where}/ours", here.sizes)]
    found += by_dockerfile(scratch, where, here.sizes, two_lines(f"{where}/foundation:1"))
    if base and here.framed:
        found += frameworks(scratch, where, base, here.framed)
    return [*working(found, new_work(scratch / "first", 1))]


def cold_peers(here: Setting, base: str) -> list[Peer]:
    """Return everybody with nothing made but the base, which the builders of a Dockerfile have at hand."""
    where, scratch = f"{here.host}/cold", here.scratch / "cold"
    name = f"{where}/python:1"
    unseen(base, name)
    scratch.mkdir()
    fresh = packaged(here.lock, here.store, scratch / "packages")
    found = [ours(here.lock, fresh, f"{where}/ours", here.sizes)]
    builders = by_dockerfile(scratch, where, here.sizes, two_lines(name))
    for builder in working(builders, new_work(scratch / "first", 1)):
        found.append(replace(builder, write=ejected(name, here.lock)))
    if min(here.sizes) in here.framed:
        found += frameworks(scratch, where, name, here.framed)
    return found


def measured(here: Setting) -> Iterator[Figure]:
    """Measure everything."""
    smallest = min(here.sizes)
    can = working_can(here.scratch / "served" / "can", smallest)
    wheels = here.lock.platforms[host_architecture()].wheels
    pinned = tuple(f"{wheel.name}=={wheel.version}" for wheel in wheels)
    wanted = [pinned, *(packages() if here.framed else ())]
    with contextlib.ExitStack() as stack:
        base = ""
        try:
            base = stack.enter_context(python_base(wanted))
        except FAILURES as error:
            left_out("everybody else cold, BentoML and MLflow", error)
        peers = warm_peers(here, base)
        works = [new_work(here.scratch / f"of-{size}", size) for size in here.sizes]
        for work in works:
            yield from versions(peers, work)
        yield from all_pulls(peers, works, here)
        if base:
            served = Work(folder=can.folder.parent, manifest=can.manifest, size=smallest, code="")
            yield from cold(cold_peers(here, base), served)
    forget(f"{here.host}/*/*")
    yield from alone(here.lock, here.store, here.scratch, here.sizes)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 500], help="MB")
    only = "those of them that BentoML and MLflow, which are slow, are tried with (default: all)"
    parser.add_argument("--frameworks", type=int, nargs="*", help=only)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    framed = given.sizes if given.frameworks is None else given.frameworks
    store = Store()
    lock = resolve(LockRequest(), store)
    with tempfile.TemporaryDirectory() as name, running_registry(Path(name) / "registry") as host:
        here = Setting(
            scratch=Path(name),
            host=host,
            registry=Path(name) / "registry",
            lock=lock,
            store=store,
            sizes=given.sizes,
            framed=framed,
        )
        figures = [*measured(here)]
    text = json.dumps([asdict(f) for f in figures], indent=2) if given.json else table(figures)
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
