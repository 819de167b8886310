"""Where a proven image goes: an engine, an OCI layout, an archive, a registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cannery.blobs import refuse_existing, refuse_foreign
from cannery.engines.choose import detect
from cannery.engines.engine import Engine
from cannery.errors import UsageError
from cannery.images.store import Store
from cannery.oci.archive import write_archive
from cannery.oci.artifacts import Attached
from cannery.oci.descriptors import Image
from cannery.oci.layout import MARK, write_layout
from cannery.oci.references import Reference, parse
from cannery.progress import Progress, Station, station

Kind = Literal["docker", "podman", "oci", "archive", "registry"]
FORMS = "docker, podman, registry, oci:FOLDER or archive:FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """One place that an image goes to."""

    kind: Kind
    path: Path | None = None
    """Of a layout or an archive."""

    def __str__(self) -> str:
        return self.kind if self.path is None else f"{self.kind}:{self.path}"


_KNOWN = 1000
"""Blobs of a registry of which is remembered in which repository they are."""


def parse_destination(text: str) -> Destination:
    """Return the destination that `text` names; raises UsageError."""
    kind, _, path = text.partition(":")
    if kind in ("docker", "podman", "registry") and not path:
        return Destination(kind=kind)  # type: ignore[arg-type]
    if kind in ("oci", "archive") and path:
        return Destination(kind=kind, path=Path(path))  # type: ignore[arg-type]
    raise UsageError(f"no such destination '{text}'", hint=f"one of {FORMS}")


def destinations_of(
    wanted: Sequence[str], reference: Reference, engine: Engine, progress: Progress, *, force: bool
) -> tuple[Destination, ...]:
    """Return where the image goes, before any work is done for it: each takes it.

    With nothing wanted: the engine that runs here, else an archive and a layout in the current folder.
    Raises UsageError, OutputError for a file that exists, RegistryError, UnreachableError.
    """
    if wanted:
        found = tuple(parse_destination(text) for text in wanted)
    elif engine.name in ("docker", "podman"):
        found = (Destination(kind=engine.name),)  # type: ignore[arg-type]
    else:
        stem = f"{reference.repository.rsplit('/', 1)[-1]}-{reference.tag}"
        found = (
            Destination(kind="archive", path=Path(f"{stem}.tar")),
            Destination(kind="oci", path=Path(f"{stem}.oci")),
        )
    for destination in found:
        if destination.kind == "oci" and destination.path is not None:
            refuse_foreign(destination.path, MARK, "an OCI layout", force=force)
        elif destination.path is not None:
            refuse_existing(destination.path, force=force)
        if destination.kind == "registry":
            _check_registry(reference, progress)
        if destination.kind in ("docker", "podman") and destination.kind != engine.name:
            detect(destination.kind)
    return found


def _check_registry(reference: Reference, progress: Progress) -> None:
    """Raise where the registry is not there, or does not let us push."""
    if reference.registry is None:
        raise UsageError(
            f"'{reference}' names no registry", hint="tag it registry.example/name:tag"
        )
    from cannery.oci.transfer import open_registry  # an HTTP client

    with station("registry", progress) as work, open_registry(reference) as registry:
        work.note(f"may we push to {reference.name}?")
        registry.check_push(reference.repository)
        work.result(f"{reference.name} may be pushed to")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goods:
    """A finished image, as it goes to each kind of destination."""

    image: Image
    """For an engine and for an archive."""
    platforms: tuple[Image, ...]
    """For a registry and for a layout: one for each platform."""
    attached: Attached
    """What is attached to each of these."""
    base: str = ""
    """What it stands on; where that is an image of the same registry, its layers are taken from there."""


def deliver(
    goods: Goods,
    reference: Reference,
    destination: Destination,
    engine: Engine,
    store: Store,
    *,
    loaded: str | None,
    force: bool,
    work: Station,
) -> str:
    """Bring the image to one destination and return where it is, for people.

    `loaded` is the id under which `engine` has it already. Raises EngineError, OutputError, RegistryError.
    """
    match destination.kind:
        case "docker" | "podman":
            target = engine if engine.name == destination.kind else detect(destination.kind)
            if target is engine and loaded is not None:
                engine.tag(loaded, reference)
            else:
                target.load(goods.image, reference)
            return f"{destination.kind} image {reference}"
        case "archive":
            assert destination.path is not None
            write_archive(goods.image, destination.path, reference, force=force)
            return f"archive {destination.path}"
        case "oci":
            assert destination.path is not None
            # skopeo and podman find no image of Docker's types in a layout that holds anything else.
            alone = goods.platforms[0].media == "docker"
            write_layout(
                goods.platforms,
                destination.path,
                reference,
                attached={} if alone else goods.attached,
                force=force,
            )
            return f"OCI layout {destination.path}"
        case "registry":
            return f"registry {_push(goods, reference, store, work)}"


def _push(goods: Goods, reference: Reference, store: Store, work: Station) -> Reference:
    """Push to a registry; layers that another repository of it has are mounted from there."""
    from cannery.oci.transfer import push_image  # the one that needs an HTTP client

    key = {"blobs in": reference.registry}
    known = store.recall(key, dict[str, str]) or {}
    base = parse(goods.base) if goods.base else reference
    if base.registry == reference.registry:
        for layer in (layer for image in goods.platforms for layer in image.layers):
            known.setdefault(layer.digest, base.repository)
    pushed = push_image(
        goods.platforms, reference, attached=goods.attached, known=known, note=work.note
    )
    store.remember(key, dict([*known.items()][-_KNOWN:]))
    return pushed.reference
