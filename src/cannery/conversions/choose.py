"""From a cleared source to an artifact that answers as the original does, with the proof of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import pyarrow as pa

from cannery.audits.policy import Cleared
from cannery.cans.manifest import Runtime
from cannery.conversions.artifacts import to_artifact
from cannery.conversions.bisecting import differing_step
from cannery.conversions.canaries import canary_of
from cannery.conversions.domains import with_domains
from cannery.conversions.graphs import convert_graph
from cannery.conversions.nouns import Artifact, Conversion, Description, Parity
from cannery.conversions.options import ConvertOptions
from cannery.conversions.outputs import outputs_of
from cannery.conversions.parity import certify, check_alone, furthest, remedy, verdict
from cannery.conversions.probes import (
    Probed,
    answered,
    extreme_rows,
    made_up_rows,
    null_rows,
    unseen_rows,
)
from cannery.conversions.samples import batch_of, nulls, pick
from cannery.conversions.schemas import features_of, probe, with_ranges
from cannery.conversions.templates import features_table
from cannery.errors import (
    CanError,
    CanneryError,
    ConversionError,
    ParityError,
    ProofError,
    SchemaError,
    UsageError,
)
from cannery.isolation.environments import environment_for
from cannery.isolation.worker import Original, open_original
from cannery.serving.boosters import LIBRARIES
from cannery.serving.scorer import onnx_scorer
from cannery.serving.weights import laid_out
from cannery.signatures import Batch, Feature, Raw, Signature
from cannery.sources.source import Source

__all__ = ["ConvertOptions", "convert"]

log = logging.getLogger(__name__)

_RUNTIMES: tuple[Runtime, ...] = ("onnx", *LIBRARIES, "skops", "pickle")
"""In the order in which they are preferred."""
_MADE_UP = 200
"""Rows that are made from the schema alone where there is no sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What was learned of the original by asking it."""

    description: Description
    signature: Signature
    probed: tuple[Probed, ...]
    refused: tuple[str, ...]

    @property
    def sample(self) -> Probed:
        """The rows of the sample."""
        return self.probed[0]


_NO_MODELS = {"archive": "files", "numpy": "an array", "torch": "weights"}
"""Formats that are audited, and that nothing converts."""


def convert(
    cleared: Cleared, *, sample: pa.Table | None, options: ConvertOptions | None = None
) -> Conversion:
    """Open the original in a worker, convert it, and compare both; the first runtime that passes is taken.

    `sample` holds rows such as the model will see; without it those recorded beside the model are
    taken. Raises ConversionError when no runtime can hold the model, ParityError when one could,
    but answers otherwise, SchemaError when sample and model don't fit, IsolationError.
    """
    options = options or ConvertOptions()
    source = cleared.source
    if source.format == "onnx":
        return convert_graph(source, sample=table_for(source, sample), options=options)
    if source.format in _NO_MODELS:
        raise ConversionError(
            f"'{source.main}' holds {_NO_MODELS[source.format]}, and no model that scores by itself",
            hint="name the model file itself, or export the network to ONNX",
        )
    if options.runtime not in (None, *_RUNTIMES):
        raise UsageError(
            f"the runtime '{options.runtime}' is not made by conversion",
            hint=f"choose one of: {', '.join(_RUNTIMES)}",
        )
    options = replace(options, boundary=cleared.policy.boundary)
    with opened(cleared, options) as original:
        return convert_opened(original, source, sample=sample, options=options)


@contextmanager
def opened(cleared: Cleared, options: ConvertOptions) -> Iterator[Original]:
    """Open the original in a worker with the libraries of its training, for as long as the block lasts."""
    options.progress("preparing an environment with the model's own library versions")
    environment = environment_for(cleared.source, cleared.audit, options.environment)
    isolation = replace(
        options.isolation,
        allow_weak=options.isolation.allow_weak or options.allow_weak_sandbox,
    )
    options.progress("opening the original in a sandbox")
    with open_original(cleared, environment, isolation) as original:
        yield original


def convert_opened(
    original: Original, source: Source, *, sample: pa.Table | None, options: ConvertOptions
) -> Conversion:
    """Convert an original that is open; see `convert`."""
    table = table_for(source, sample)
    study = study_of(original, source, table, options)
    artifact, parity, notes = _chosen(original, study, source, options)
    canary = canary_of(
        study.sample.batch, study.sample.raw, study.signature, tolerance=options.tolerance
    )
    return Conversion(
        artifact=artifact,
        task=study.description.task,
        signature=study.signature,
        canary=canary,
        parity=parity,
        description=study.description,
        sandbox=original.sandbox,
        notes=(
            *_drift(source, study.description),
            *_elsewhere(artifact, study.description),
            *_invented(table),
            *notes,
        ),
    )


def table_for(source: Source, sample: pa.Table | None) -> pa.Table | None:
    """Return the sample, else the example that was recorded beside the model."""
    if sample is not None and len(sample):
        return sample
    if not source.example:
        return None
    try:
        return pa.Table.from_pylist([dict(record) for record in source.example])
    except pa.ArrowException as error:
        log.warning("the recorded example can't be used: %s", error)
        return None


def _drift(source: Source, description: Description) -> Iterator[str]:
    """Tell where the worker may not be what trained the model: another Python, a version nobody recorded."""
    ours = description.python
    theirs = source.python or ours
    if theirs.split(".")[:2] != ours.split(".")[:2]:
        yield f"trained with Python {theirs}, opened with Python {ours}"
    for name in description.assumed:
        version = description.versions.get(name, "")
        yield f"nothing tells which {name} wrote the model: it was opened with {version}"


def _elsewhere(artifact: Artifact, description: Description) -> Iterator[str]:
    """Tell under which Python an estimator was compared: it runs under that of its image."""
    if artifact.runtime in ("skops", "pickle"):
        yield (
            f"the estimator was compared under Python {description.python}; an image runs the same versions of its libraries "
            "under a Python of its own"
        )


def _invented(table: pa.Table | None) -> Iterator[str]:
    """Tell where the rows that were compared, the canary's among them, are nobody's."""
    if table is None:
        yield "without a sample, original and converted were compared on rows made from the schema"


def study_of(
    original: Original, source: Source, table: pa.Table | None, options: ConvertOptions
) -> Study:
    """Ask the original everything: schema, nulls, and its answers on all probe rows."""
    description = original.description
    features = features_of(
        description.columns,
        named=description.named,
        recorded=source.features,
        sample=table,
        told=options.features,
    )
    if table is None:
        rows = made_up_rows(features, description.columns, _MADE_UP, options.seed)
    else:
        features = with_ranges(features, table)
        rows = batch_of(table, features)
    options.progress("learning which columns may be missing or unseen")
    try:
        row = _first(original, rows, features)
    except ConversionError as error:
        if table is not None:
            raise
        raise _unknown(error, features) from error
    stated = (*(source.features or ()), *options.features)
    required = frozenset(f.name for f in stated if not f.nullable)
    features, refused = probe(original.predict, row, features, required)
    features, beyond = with_domains(original.predict, rows, features)
    refused = (*refused, *beyond)
    lacking = nulls(rows, features)
    allowed = ~(lacking & [not f.nullable for f in features]).any(axis=1)
    rows = pick(rows.take(np.flatnonzero(allowed)), options.sample_cap, options.seed)
    options.progress("asking the original on sample, thresholds, nulls, unseen and extremes")
    probed = tuple(_probed(original, rows, features, options))
    outputs = outputs_of(description, probed[0].raw, options.outputs)
    return Study(
        description=_widened(description, probed[0].raw),
        signature=Signature(features=features, outputs=outputs),
        probed=probed,
        refused=(*refused, *dict.fromkeys(r for p in probed for r in p.refused)),
    )


def _widened(description: Description, raw: Raw) -> Description:
    """Return the description with the number of outputs that was seen."""
    values = raw.get("prediction", raw.get("columns"))
    if values is None or values.ndim != 2:
        return description
    return msgspec.structs.replace(description, outputs=int(values.shape[1]))


def _first(original: Original, rows: Batch, features: tuple[Feature, ...]) -> Batch:
    """Return a row that the original answers, complete ones first; raises ConversionError when there is none."""
    complete = ~nulls(rows, features).any(axis=1)
    order = [*np.flatnonzero(complete)[:20], *np.flatnonzero(~complete)[:5]]
    problem = ConversionError("the sample has no rows", hint="pass rows such as the model will see")
    for row in order:
        one = rows.take(slice(int(row), int(row) + 1))
        try:
            original.predict(one, features)
        except ConversionError as error:
            problem = ConversionError(
                f"the original answers no row of the sample: {error.message}",
                hint=error.hint
                or "pass rows such as it was trained on: --sample FILE (CSV, JSONL or Parquet)",
            )
        else:
            return one
    raise problem


def _unknown(error: ConversionError, features: tuple[Feature, ...]) -> SchemaError:
    """Return what to say where rows that are made up from what is known are refused."""
    return SchemaError(
        f"too little is known of the columns to ask the model: {error.message}",
        hint="pass rows such as it was trained on (--sample FILE), or say in cannery.toml what its "
        f"columns hold (double, long, boolean, string):\n{features_table(features)}",
    )


def _probed(
    original: Original, rows: Batch, features: tuple[Feature, ...], options: ConvertOptions
) -> Iterator[Probed]:
    """Yield the probes of each kind that the original answers; the sample first."""
    ask, cap, seed = original.predict, options.extreme_cap, options.seed
    sample = answered(ask, "sample", rows, features)
    if sample is None or not len(sample.batch):
        reason = sample.refused[0] if sample else "it has no rows"
        raise ConversionError(f"the original answers no row of the sample: {reason}")
    yield sample
    known = sample.batch
    thresholds = original.hug(known, features, cap=options.threshold_cap, seed=seed)
    others = (
        answered(ask, "threshold", thresholds, features),
        answered(ask, "null", null_rows(known, features, cap), features),
        answered(ask, "unseen", unseen_rows(known, features, cap), features),
        answered(ask, "extreme", extreme_rows(known, features, cap, seed), features),
    )
    yield from (one for one in others if one is not None)


def _chosen(
    original: Original, study: Study, source: Source, options: ConvertOptions
) -> tuple[Artifact, Parity, tuple[str, ...]]:
    """Return the most preferred artifact that passes, and why those before it did not."""
    notes: list[str] = []
    differed: Parity | None = None
    for runtime in candidates(original.description, source, options):
        try:
            artifact, parity = tried(runtime, original, study, source, options)
        except (ConversionError, CanError, ProofError) as error:
            if options.runtime is not None:
                raise ConversionError(f"{runtime}: {error.message}", hint=error.hint) from error
            notes.append(f"{runtime}: {error.message}")
            continue
        if parity.equal:
            return artifact, parity, tuple(notes)
        differed = differed or parity
        where = located(original, study, parity) if runtime == "onnx" else ""
        notes.append(f"{runtime}: {verdict(parity)}{where}")
    check_alone(original.predict, study.sample, study.signature.features, options.tolerance)
    raise _none_passed(notes, differed=differed, name=source.origin.given)


def tried(
    runtime: Runtime, original: Original, study: Study, source: Source, options: ConvertOptions
) -> tuple[Artifact, Parity]:
    """Return the artifact of a runtime and how it compares; raises ConversionError, CanError, ProofError."""
    options.progress(f"converting to {runtime}")
    artifact, score = _made(runtime, original, study, source)
    options.progress(f"comparing {runtime} with the original")
    parity = certify(
        [p for p in study.probed if len(p.batch)],
        score,
        study.signature,
        runtime=runtime,
        tolerance=options.tolerance,
        refused=study.refused,
    )
    told = study.description
    return artifact, msgspec.structs.replace(
        parity, versions={"python": told.python} | told.versions
    )


def located(original: Original, study: Study, parity: Parity) -> str:
    """Return in words which step of a pipeline differs; empty where there is none."""
    failed = {d.kind for d in parity.differences if d.flips or not d.maximum <= parity.tolerance}
    probed = [one for one in study.probed if one.kind in failed]
    step = differing_step(original, study.signature.features, probed, parity.tolerance)
    return f", first in the step '{step}'" if step else ""


def candidates(
    description: Description, source: Source, options: ConvertOptions
) -> Iterator[Runtime]:
    """Yield the runtimes to try: the one that is asked for, else all that could hold the model.

    Raises ConversionError when a pickle is asked for that no boundary lists.
    """
    listed = source.blob.digest in options.boundary and source.format in ("pickle", "joblib")
    if options.runtime == "pickle" and not listed:
        raise ConversionError(
            f"'{source.main}' is no pickle that may run as it is",
            hint='list it in cannery.toml: [trust] pickle = "boundary", '
            f'digests = ["{source.blob.digest}"]'
            if source.format in ("pickle", "joblib")
            else f"it is a file of {source.format}",
        )
    for runtime in _RUNTIMES if options.runtime is None else (options.runtime,):
        own = runtime not in LIBRARIES or runtime == description.library
        if options.runtime or (own and (listed or runtime != "pickle")):
            yield runtime


def _none_passed(notes: list[str], *, differed: Parity | None, name: str) -> CanneryError:
    reasons = "; ".join(notes)
    if differed is not None:
        worst = f"furthest off is {furthest(differed.worst)}\n" if differed.worst else ""
        return ParityError(
            f"no runtime answers as '{name}' does: {reasons}", hint=f"{worst}{remedy(differed)}"
        )
    return ConversionError(f"no runtime here can hold '{name}': {reasons}")


def _made(
    runtime: Runtime, original: Original, study: Study, source: Source
) -> tuple[Artifact, Callable[[Batch], Raw]]:
    """Return the artifact of a runtime and how it is asked."""
    features, tensors = study.signature.features, tuple(study.sample.raw)
    if runtime != "onnx":
        artifact = to_artifact(original, runtime, source)
        return artifact, lambda batch: original.score(artifact, batch, features, tensors)
    data, feeds = original.to_onnx(features, _graph_name(source))
    scorer = onnx_scorer(data, study.signature, feeds, outputs=tensors)
    artifact = Artifact(runtime="onnx", name="model.onnx", data=laid_out(data), feeds=feeds)
    return artifact, scorer.score


def _graph_name(source: Source) -> str:
    """Return a name that depends on the content alone: the same model, the same bytes."""
    return "model-" + source.blob.digest.removeprefix("sha256:")[:12]
