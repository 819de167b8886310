"""The line on one page.

pack  = fetch, audit, clear, convert, seal
build = pack, lock, compose, prove, deliver

The Python API and the commands both call it.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cannery.attestations.statements import attestations_of
from cannery.audits.policy import Cleared, clear
from cannery.blobs import digest_bytes, pretty_json, refuse_foreign
from cannery.budgets import check_budgets, looked_up, remember_sizes
from cannery.builds import BuildOptions, Built, architectures_of, needed_architectures, tell_python
from cannery.cans.open import CANARY, MANIFEST, Can, open_can
from cannery.cans.seal import seal
from cannery.deliveries import Destination, Goods, deliver, destinations_of
from cannery.engines.choose import detect
from cannery.engines.engine import Engine, Mount
from cannery.errors import UsageError
from cannery.images.compose import compose
from cannery.images.labels import labels_of
from cannery.images.lock import DEBIAN, LockRequest, host_architecture, kept_lock
from cannery.images.plan import Plan
from cannery.images.recipe import CAN
from cannery.images.store import Store
from cannery.images.zstd import in_zstd
from cannery.inputs import received
from cannery.oci.descriptors import Image
from cannery.oci.references import Reference, parse
from cannery.packs import (
    CERTIFICATE,
    PARITY,
    PackOptions,
    convert_options,
    manifest_of,
    parity_text,
)
from cannery.progress import Progress, Station, quiet, station
from cannery.proofs.foundations import foundation_of
from cannery.proofs.nouns import Proof, require
from cannery.proofs.prove import ProofOptions, prove
from cannery.sources.source import Source

if TYPE_CHECKING:
    from cannery.conversions.nouns import Conversion

# What opens models and tables (pyarrow, onnx) is imported where it is used: a can needs none of it.


def clear_source(source: Source, options: PackOptions, progress: Progress) -> Cleared:
    """Audit `source` and judge it by the policy; raises UnsafeError when it does not pass."""
    from cannery.audits.audit import audit

    with station("audit", progress) as work:
        work.note(source.main)
        facts = audit(source)
        cleared = clear(source, facts, options.policy)
        trusted = len({f.name for f in facts.findings})
        unknown = f"{trusted} trusted by the policy" if trusted else "none unknown"
        work.result(f"{facts.verdict}: {source.format}, {len(facts.names)} names, {unknown}")
    return cleared


def _seal(cleared: Cleared, conversion: Conversion, folder: Path, options: PackOptions) -> Can:
    from cannery.conversions.certificates import certificate_page

    audited = msgspec.structs.replace(cleared.audit, duration=0.0)
    files = {
        conversion.artifact.name: conversion.artifact.data,
        CANARY: pretty_json(conversion.canary),
        "audit.json": pretty_json(audited),
    }
    manifest = manifest_of(cleared, conversion, options)
    if conversion.parity is not None:
        files[PARITY] = pretty_json(conversion.parity)
        files[CERTIFICATE] = certificate_page(
            manifest, conversion.parity, model=digest_bytes(conversion.artifact.data)
        ).encode()
    return seal(manifest, files, folder, force=options.force)


def pack(
    model: object,
    *,
    output: str | Path,
    sample: object | None = None,
    options: PackOptions | None = None,
    progress: Progress = quiet,
) -> Can:
    """Convert an audited model and seal it into the folder `output`.

    `model` is a path, a URI (`models:/name@alias`), or a fitted estimator. `sample` is a path to CSV,
    JSONL or Parquet, or a data frame: rows such as the model will see, target column or not.

    Raises SourceError, UnsafeError, SchemaError, ConversionError, ParityError, OutputError.
    """
    from cannery.conversions.choose import convert

    options = options or PackOptions()
    folder = Path(output)
    refuse_foreign(folder, MANIFEST, "a can", force=options.force)
    with tempfile.TemporaryDirectory(prefix="cannery-") as staging:
        source, table = received(
            model,
            sample,
            Path(staging),
            progress,
            name=options.name,
            tracking_uri=options.tracking_uri,
        )
        if source.format == "can":
            raise UsageError(
                f"'{source.origin.given}' is a can already", hint="cannery build CAN -t NAME:TAG"
            )
        cleared = clear_source(source, options, progress)
        with station("convert", progress) as work:
            conversion = convert(cleared, sample=table, options=convert_options(options, work.note))
            work.result(_converted(conversion))
        with station("seal", progress) as work:
            can = _seal(cleared, conversion, folder, options)
            work.result(f"{folder} {can.digest[:19]}")
    return can


def _converted(conversion: Conversion) -> str:
    runtime, parity = conversion.artifact.runtime, conversion.parity
    if parity is None:
        return f"{runtime}, as given"
    return f"{runtime}; parity over {parity_text(parity, conversion.task)}"


def _can_of(
    model: object, folder: Path, sample: object | None, options: PackOptions, progress: Progress
) -> Can:
    """Return the can that `model` is, or the one that it becomes."""
    if isinstance(model, Can):
        return model
    if isinstance(model, str | Path) and (Path(model) / MANIFEST).is_file():
        with station("open", progress) as work:
            can = open_can(Path(model))
            work.result(f"{model} {can.digest[:19]}")
        return can
    return pack(model, output=folder, sample=sample, options=options, progress=progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What every station of one build is told."""

    reference: Reference
    options: BuildOptions
    engine: Engine
    store: Store
    progress: Progress


def build(
    model: object,
    *,
    tag: str,
    sample: object | None = None,
    options: BuildOptions | None = None,
    pack_options: PackOptions | None = None,
    progress: Progress = quiet,
) -> Built:
    """Make a proven image under the name `tag` (`name:tag`) of a model or a can.

    The finished image is started and tried before it gets its name anywhere. Raises what `pack`
    raises, and ImageError, EngineError, ProofError, RegistryError, OutputError.
    """
    options = options or BuildOptions()
    pack_options = pack_options or PackOptions()
    reference, engine, force = parse(tag), detect(options.engine), pack_options.force
    destinations = destinations_of(options.to, reference, engine, progress, force=force)
    order = _Order(
        reference=reference, options=options, engine=engine, store=Store(), progress=progress
    )
    with contextlib.ExitStack() as after:
        scratch = after.enter_context(tempfile.TemporaryDirectory(prefix="cannery-"))
        folder = options.can or Path(scratch) / "can"
        can = _can_of(model, folder, sample, pack_options, progress)
        plan = _plan(can, order)
        images = _composed(plan, order)
        image = next((i for i in images if i.architecture == host_architecture()), images[0])
        for each in images:
            check_budgets(options.budgets, each, None, reference, order.store)
        reports = looked_up(images, plan.lock, options.budgets, reference, progress)
        loaded, proof = None, None
        if image.architecture == host_architecture():
            with station("prove", progress) as work:
                work.note(f"in {engine.name}")
                loaded = engine.load(image)
                after.callback(engine.release, loaded)
                proof = _prove(image, loaded, can, plan, order, work)
        for each in images:
            told = proof if each is image else None
            check_budgets(options.budgets, each, told, reference, order.store)
            remember_sizes(each, reference, order.store)
        goods = _goods(image, images, can, plan, proof, reference)
        delivered = _delivered(goods, destinations, order, loaded=loaded, force=force)
    return Built(
        manifest=can.manifest,
        can_digest=can.digest,
        image=image,
        reference=reference,
        proof=proof,
        advisories=reports,
        delivered=delivered,
    )


def _plan(can: Can, order: _Order) -> Plan:
    """Return what the image of a can is made of, locked."""
    options, baked = order.options, order.options.mode == "bake"
    request = LockRequest(
        base=options.base,
        runtime=can.manifest.runtime,
        requirements=can.manifest.requirements,
        extras=options.extra,
        architectures=needed_architectures(architectures_of(options.platform)),
        mirror=options.mirror,
    )
    lock = kept_lock(request, options.lock, order.store, order.progress)
    tell_python(can, lock, order.progress)
    return Plan(
        lock=lock,
        can=can.folder if baked else None,
        manifest=can.manifest if baked else None,
        mode=options.mode,
        media=options.media,
        labels=labels_of(can.manifest, can.digest, created=lock.created) if baked else {},
        mirror=options.mirror,
    )


def _composed(plan: Plan, order: _Order) -> list[Image]:
    """Return the image for each platform that is asked for."""
    wanted = architectures_of(order.options.platform)
    images = [compose(replace(plan, architecture=a), order.store, order.progress) for a in wanted]
    if order.options.compression == "zstd":
        with station("compress", order.progress) as work:
            images = [in_zstd(each, order.store) for each in images]
            work.result(f"{sum(each.size for each in images) / 1e6:.1f} MB in zstd")
    return images


def _prove(image: Image, loaded: str, can: Can, plan: Plan, order: _Order, work: Station) -> Proof:
    """Start the finished image and try it; raises ProofError when it fails."""
    foundation = foundation_of(image, order.engine)
    proof = prove(
        order.engine,
        loaded,
        can.canary(),
        can.manifest,
        ProofOptions(
            mounts=() if plan.can else (Mount(source=can.folder, target=f"/{CAN}"),),
            whole=order.store.recall(foundation, str) is None,
            shell=plan.lock.base != DEBIAN,
        ),
        digest=can.digest,
        note=work.note,
    )
    require(proof)
    order.store.remember(foundation, loaded)
    start = f", healthy after {proof.cold_start:.2f} s" if proof.cold_start else ""
    work.result(f"{len(proof.checks)} checks in {proof.engine}{start}")
    return proof


def _goods(
    image: Image,
    images: Sequence[Image],
    can: Can,
    plan: Plan,
    proof: Proof | None,
    reference: Reference,
) -> Goods:
    """Return images with what is attached to each; the proof, to the platform that was tried."""
    parity = msgspec.json.decode(can.read(PARITY)) if PARITY in can.manifest.files else None
    attached = {
        each.digest: attestations_of(
            each,
            plan.lock,
            can if plan.can else None,
            name=reference.name,
            parity=parity if plan.can else None,
            proof=msgspec.to_builtins(proof) if proof and each is image else None,
        )
        for each in images
    }
    base = "" if plan.lock.base == DEBIAN else plan.lock.base
    return Goods(image=image, platforms=tuple(images), attached=attached, base=base)


def _delivered(
    goods: Goods,
    destinations: Sequence[Destination],
    order: _Order,
    *,
    loaded: str | None,
    force: bool,
) -> tuple[str, ...]:
    """Give what was made its name everywhere it goes; return where it is, for people."""
    with station("deliver", order.progress) as work:
        delivered = tuple(
            deliver(
                goods,
                order.reference,
                destination,
                order.engine,
                order.store,
                loaded=loaded,
                force=force,
                work=work,
            )
            for destination in destinations
        )
        work.result(", ".join(delivered))
    return delivered
