"""The model card: `can.json` for people, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from cannery.cans.manifest import CanManifest
from cannery.signatures import Feature, Output

_SHOWN = 12
"""Categories listed before the rest is counted."""


def card(manifest: CanManifest) -> str:
    """Return the model card: what it is, where it came from, what it takes and answers, and the proofs."""
    parts = [
        f"# {manifest.name} {manifest.version}",
        f"A {manifest.task}, sealed by Cannery to run on {_runtime(manifest)}.",
        "## Where it came from",
        _lineage(manifest),
        "## What it takes",
        _table(("field", "type", "null", "values"), map(_feature, manifest.signature.features)),
        "## What it answers",
        _table(("field", "type", "of"), map(_output, manifest.signature.outputs)),
        "## What was proven",
        _proofs(manifest),
    ]
    if manifest.source.metrics:
        rows = ((k, f"{v:.6g}") for k, v in sorted(manifest.source.metrics.items()))
        parts += ["## Measured in training", _table(("metric", "value"), rows)]
    return "\n\n".join(parts) + "\n"


def _runtime(manifest: CanManifest) -> str:
    names = {
        "onnx": "ONNX Runtime",
        "catboost": "CatBoost",
        "lightgbm": "LightGBM",
        "xgboost": "XGBoost",
        "skops": "scikit-learn (opened by skops)",
        "pickle": "a pickle",
    }
    return names[manifest.runtime]


def _lineage(manifest: CanManifest) -> str:
    source = manifest.source
    rows = {
        "given as": source.given,
        "resolved to": source.resolved,
        "version": source.version,
        "stage": source.stage,
        "aliases": ", ".join(source.aliases),
        "run": source.run_id,
        "logged model": source.model_id,
        "file": f"{source.digest} ({source.format})",
    }
    return "\n".join(f"- {key}: `{_plain(value)}`" for key, value in rows.items() if value)


def _feature(feature: Feature) -> tuple[str, str, str, str]:
    values = ""
    if feature.categories is not None:
        shown = ", ".join(str(c) for c in feature.categories[:_SHOWN])
        more = len(feature.categories) - _SHOWN
        values = shown + (f" and {more} more" if more > 0 else "")
        values += " (others too)" if feature.unseen else " (no other)"
    elif feature.minimum is not None and feature.maximum is not None:
        values = f"{feature.minimum:g} to {feature.maximum:g} seen"
    if feature.range:
        values = f"{values}; {feature.range} alone".removeprefix("; ")
    return feature.name, feature.type, "yes" if feature.nullable else "no", values


def _output(output: Output) -> tuple[str, str, str]:
    of = ", ".join(str(c) for c in output.classes or ())
    if output.rank is not None:
        of = f"{of} (place {output.rank} of the most probable)".lstrip()
    if output.threshold is not None:
        what = "" if output.of is None else f"the probability of {output.of} "
        of += f" (the second where {what}is at least {output.threshold:g})"
    return output.name, "probability" if output.probability else output.type, of


def _proofs(manifest: CanManifest) -> str:
    audit, parity = manifest.audit, manifest.parity
    lines = [f"- audit: {audit.verdict}, {audit.names} names, opened in: {audit.sandbox}"]
    if parity is None:
        lines.append("- parity: nothing was converted")
    else:
        lines.append(
            f"- parity: {parity.rows} rows, {parity.flips} labels changed, scores differ by at most"
            f" {parity.maximum:.3g} (allowed: {parity.tolerance:.3g})"
        )
    lines += [f"- note: {_plain(note)}" for note in manifest.notes]
    return "\n".join(lines)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(_plain(cell) for cell in line) + " |" for line in lines)


def _plain(value: str) -> str:
    """Keep a name from ending its cell, its line or its code span."""
    return " ".join(value.split()).replace("|", "\\|").replace("`", "'").replace("<", "&lt;")
