"""The line on one page.

pack  = fetch, audit, clear, convert, seal
build = pack, lock, compose, prove, deliver

The Python API and the commands both call it.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cannery.attestations.statements import attestations_of
from cannery.audits.policy import Cleared, Policy, clear
from cannery.blobs import digest_bytes, pretty_json, refuse_foreign
from cannery.budgets import check_budgets, looked_up, remember_sizes
from cannery.builds import BuildOptions, Built, architectures_of, needed_architectures, tell_python
from cannery.cans.manifest import AuditSummary, CanManifest, CanSource, ParitySummary, Runtime
from cannery.cans.open import MANIFEST, Can, open_can
from cannery.cans.seal import seal
from cannery.deliveries import Goods, deliver, destinations_of
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
from cannery.oci.artifacts import Artifact
from cannery.oci.descriptors import Image
from cannery.oci.references import Reference, parse
from cannery.options import option
from cannery.progress import Progress, Station, quiet, station
from cannery.proofs.foundations import foundation_of
from cannery.proofs.nouns import Proof, require
from cannery.proofs.prove import ProofOptions, prove
from cannery.settings import EnvironmentSettings
from cannery.signatures import Feature
from cannery.sources.source import Source

if TYPE_CHECKING:
    from cannery.conversions.nouns import Conversion, Parity
    from cannery.conversions.options import ConvertOptions

# What opens models and tables (pyarrow, onnx) is imported where it is used: a can needs none of it.


PARITY = "parity.json"
"""The parity certificate in a can."""
CERTIFICATE = "parity.html"
"""The same as a page for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackOptions:
    """How a model is packed."""

    runtime: Runtime | None = field(
        default=None, metadata=option("Take this runtime or fail; by default the best that passes.")
    )
    name: str | None = field(
        default=None, metadata=option("Name of the model; by default its registered or file name.")
    )
    version: str | None = field(
        default=None, metadata=option("Version of the model; by default the registry's, else 0.")
    )
    tracking_uri: str | None = field(
        default=None, metadata=option("MLflow tracking server or store.", metavar="URI")
    )
    tolerance: float = field(default=1e-6, metadata=option("How far a converted score may be off."))
    allow_weak_sandbox: bool = field(
        default=False,
        metadata=option("Open the model even where only resource limits can hold it."),
    )
    force: bool = field(default=False, metadata=option("Replace an output that exists."))
    policy: Policy = field(default_factory=Policy)
    features: tuple[Feature, ...] = ()
    """The `[features]` table: what is said of columns, above what was recorded."""
    environment: EnvironmentSettings = field(default_factory=EnvironmentSettings)
    """The `[environment]` table: Python and versions of the training, above what was recorded."""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """The `[outputs]` table: name of an answered field → what it shows."""


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


def manifest_of(cleared: Cleared, conversion: Conversion, options: PackOptions) -> CanManifest:
    """Return `can.json` without its list of files, which sealing adds."""
    origin, artifact, parity = cleared.source.origin, conversion.artifact, conversion.parity
    return CanManifest(
        name=options.name or origin.name or "model",
        version=options.version or origin.version or "0",
        source=CanSource(
            given=origin.given,
            resolved=origin.resolved,
            digest=cleared.source.blob.digest,
            format=cleared.source.format,
            version=origin.version,
            stage=origin.stage,
            aliases=origin.aliases,
            run_id=origin.run_id,
            model_id=origin.model_id,
            metrics=origin.metrics,
        ),
        runtime=artifact.runtime,
        model=artifact.name,
        task=conversion.task,
        signature=conversion.signature,
        feeds=artifact.feeds,
        files={},
        parity=None
        if parity is None
        else ParitySummary(
            rows=parity.rows,
            maximum=parity.maximum,
            flips=parity.flips,
            tolerance=parity.tolerance,
        ),
        audit=AuditSummary(
            verdict=cleared.audit.verdict,
            names=len(cleared.names),
            policy=cleared.policy.digest,
            sandbox=conversion.sandbox,
        ),
        requirements=artifact.requirements,
        trusted=artifact.trusted,
        named=artifact.named,
        notes=conversion.notes,
    )


def _seal(cleared: Cleared, conversion: Conversion, folder: Path, options: PackOptions) -> Can:
    from cannery.conversions.certificates import certificate_page

    audited = msgspec.structs.replace(cleared.audit, duration=0.0)
    files = {
        conversion.artifact.name: conversion.artifact.data,
        "canary.json": pretty_json(conversion.canary),
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


def convert_options(options: PackOptions, note: Callable[[str], None]) -> ConvertOptions:
    """Return what of these options a conversion asks for; `note` is told what it does now."""
    from cannery.conversions.options import ConvertOptions

    return ConvertOptions(
        runtime=options.runtime,
        tolerance=options.tolerance,
        features=options.features,
        outputs=options.outputs,
        environment=options.environment,
        allow_weak_sandbox=options.allow_weak_sandbox,
        progress=note,
    )


def _converted(conversion: Conversion) -> str:
    runtime, parity = conversion.artifact.runtime, conversion.parity
    if parity is None:
        return f"{runtime}, as given"
    return f"{runtime}; parity over {parity_text(parity, conversion.task)}"


def parity_text(parity: Parity | ParitySummary, task: str) -> str:
    """Return on one line how far a converted model is from its original; labels, where it gives any."""
    labels = "" if task in ("regressor", "transformer") else f"{parity.flips} labels changed, "
    return f"{parity.rows} rows: {labels}largest difference {parity.maximum:.1e}"


def _can_of(
    model: object, folder: Path, sample: object | None, options: PackOptions, progress: Progress
) -> Can:
    """Return the can that `model` is, or the one that it becomes."""
    if isinstance(model, Can):
        return model
    if isinstance(model, str | Path) and (Path(model) / "can.json").is_file():
        with station("open", progress) as work:
            can = open_can(Path(model))
            work.result(f"{model} {can.digest[:19]}")
        return can
    return pack(model, output=folder, sample=sample, options=options, progress=progress)


def _proved(proof: Proof) -> str:
    start = f", healthy after {proof.cold_start:.2f} s" if proof.cold_start else ""
    return f"{len(proof.checks)} checks in {proof.engine}{start}"


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
    reference = parse(tag)
    engine = detect(options.engine)
    destinations = destinations_of(options.to, reference, engine, force=pack_options.force)
    store = Store()
    with contextlib.ExitStack() as after:
        scratch = after.enter_context(tempfile.TemporaryDirectory(prefix="cannery-"))
        folder = options.can or Path(scratch) / "can"
        can = _can_of(model, folder, sample, pack_options, progress)
        wanted = architectures_of(options.platform)
        request = LockRequest(
            base=options.base,
            runtime=can.manifest.runtime,
            requirements=can.manifest.requirements,
            extras=options.extra,
            architectures=needed_architectures(wanted),
            mirror=options.mirror,
        )
        lock = kept_lock(request, options.lock, store, progress)
        tell_python(can, lock, progress)
        baked = options.mode == "bake"
        plan = Plan(
            lock=lock,
            can=can.folder if baked else None,
            manifest=can.manifest if baked else None,
            mode=options.mode,
            media=options.media,
            labels=labels_of(can.manifest, can.digest, created=lock.created) if baked else {},
            mirror=options.mirror,
        )
        images = [compose(replace(plan, architecture=a), store, progress) for a in wanted]
        image = next((i for i in images if i.architecture == host_architecture()), images[0])
        if options.compression == "zstd":
            with station("compress", progress) as work:
                images = [in_zstd(each, store) for each in images]
                work.result(f"{sum(each.size for each in images) / 1e6:.1f} MB in zstd")
        for each in images:
            check_budgets(options.budgets, each, None, reference, store)
        reports = looked_up(images, lock, options.budgets, reference, progress)
        loaded, proof = None, None
        if image.architecture == host_architecture():
            with station("prove", progress) as work:
                work.note(f"in {engine.name}")
                loaded = engine.load(image)
                after.callback(engine.release, loaded)
                proof = _prove(image, loaded, can, plan, engine, store, work)
        for each in images:
            told = proof if each.architecture == image.architecture else None
            check_budgets(options.budgets, each, told, reference, store)
            remember_sizes(each, reference, store)
        attached = {each.digest: _said_of(each, plan, can, reference, proof) for each in images}
        base = "" if lock.base == DEBIAN else lock.base
        goods = Goods(image=image, platforms=tuple(images), attached=attached, base=base)
        with station("deliver", progress) as work:
            delivered = tuple(
                deliver(
                    goods,
                    reference,
                    destination,
                    engine,
                    store,
                    loaded=loaded,
                    force=pack_options.force,
                    work=work,
                )
                for destination in destinations
            )
            work.result(", ".join(delivered))
        return Built(
            manifest=can.manifest,
            can_digest=can.digest,
            image=image,
            reference=reference,
            proof=proof,
            advisories=reports,
            delivered=delivered,
        )


def _said_of(
    image: Image, plan: Plan, can: Can, reference: Reference, proof: Proof | None
) -> tuple[Artifact, ...]:
    """Return what is attached to an image; the proof, if this is the platform that was tried."""
    parity = msgspec.json.decode(can.read(PARITY)) if PARITY in can.manifest.files else None
    tried = proof is not None and image.architecture == host_architecture()
    return attestations_of(
        image,
        plan.lock,
        can if plan.mode == "bake" else None,
        name=reference.name,
        parity=parity if plan.mode == "bake" else None,
        proof=msgspec.to_builtins(proof) if tried else None,
    )


def _prove(
    image: Image, loaded: str, can: Can, plan: Plan, engine: Engine, store: Store, work: Station
) -> Proof:
    """Start the finished image and try it; raises ProofError when it fails."""
    foundation = foundation_of(image, engine)
    baked = plan.mode == "bake"
    proof = prove(
        engine,
        loaded,
        can.canary(),
        can.manifest,
        ProofOptions(
            mounts=() if baked else (Mount(source=can.folder, target=f"/{CAN}"),),
            whole=store.recall(foundation, str) is None,
            shell=plan.lock.base != DEBIAN,
        ),
        digest=can.digest,
        note=work.note,
    )
    require(proof)
    store.remember(foundation, loaded)
    work.result(_proved(proof))
    return proof
