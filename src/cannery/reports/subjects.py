"""A can or an image as a person and as a program reads it: what it is, from where, and why each part is in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from cannery.cans.manifest import CanManifest
from cannery.comparisons import Answered, Changes, Comparison
from cannery.images.describe import ImageFacts, LayerFacts
from cannery.packs import parity_text
from cannery.reports.text import counted, human_bytes
from cannery.signatures import Feature
from cannery.subjects import Subject


def subject_text(subject: Subject) -> str:
    """Return the facts, then a tree of layers, packages and what was left out (or the files of a can)."""
    lines = [f"{name:<9} {text}" for name, text in _facts(subject) if text]
    if subject.image is not None:
        for layer in subject.image.layers:
            lines += ["", *_layer(layer)]
    elif subject.can is not None:
        lines += [
            "",
            *_tree([_row(n, human_bytes(f.size), f.digest) for n, f in subject.can.files.items()]),
        ]
    return "\n".join(lines)


def subject_document(subject: Subject) -> dict[str, Any]:
    """Return the same as plain JSON values."""
    can, image = subject.can, subject.image
    return {
        "name": subject.name,
        "can": None if can is None else {"digest": subject.digest, **msgspec.to_builtins(can)},
        "image": None if image is None else {"size": image.size, **msgspec.to_builtins(image)},
    }


def _facts(subject: Subject) -> Iterator[tuple[str, str]]:
    image, can = subject.image, subject.can
    if image is not None:
        yield "image", subject.name
        if image.index is not None:
            yield "index", f"{image.index.digest} ({', '.join(image.index.platforms)})"
        yield "digest", image.digest or ""
        yield "id", image.id
        yield "platform", f"{image.platform}, made {image.created}"
        yield "starts", f"{' '.join(image.argv)} (as {image.user})"
        yield "size", human_bytes(image.size)
        for kind in image.attached:
            yield "attached", kind
    else:
        yield "where", subject.name
    yield "can", subject.digest or ""
    yield from _model(can) if can is not None else _labels(image)


def _model(can: CanManifest) -> Iterator[tuple[str, str]]:
    source = can.source
    yield "model", f"{can.name} {can.version} ({can.task})"
    yield (
        "from",
        source.given if source.given == source.resolved else f"{source.given} → {source.resolved}",
    )
    yield "run", source.run_id or ""
    yield "file", f"{source.digest} ({source.format})"
    yield "runtime", f"{can.runtime}, {human_bytes(can.files[can.model].size)}"
    yield "audit", f"{can.audit.verdict}, {can.audit.names} names, opened in: {can.audit.sandbox}"
    if can.parity is not None:
        yield "parity", parity_text(can.parity, can.task)
    yield "takes", ", ".join(feature_text(f) for f in can.signature.features)
    yield "answers", ", ".join(f"{o.name} {o.type}" for o in can.signature.outputs)
    for note in can.notes:
        yield "note", note


def _labels(image: ImageFacts | None) -> Iterator[tuple[str, str]]:
    """Yield what labels say of the model where no can is in sight."""
    labels = {} if image is None else image.labels
    yield "model", labels.get("org.opencontainers.image.title", "no can inside")
    yield "from", labels.get("dev.cannery.source", "")


def feature_text(feature: Feature) -> str:
    """Return a feature on a few words."""
    values = "" if feature.categories is None else f" of {len(feature.categories)}"
    return f"{feature.name} {feature.type}{values}{' or null' if feature.nullable else ''}"


def _layer(layer: LayerFacts) -> list[str]:
    head = f"{layer.name}  {human_bytes(layer.size)}  {(layer.digest or layer.diff_id)[:19]}"
    rows = [
        _row(f"{p.name} {p.version}", human_bytes(p.bytes), p.reason)
        for p in sorted(layer.packages, key=lambda p: -p.bytes)
    ]
    rows += [
        _row(
            f"without {cut.pattern}",
            human_bytes(cut.bytes),
            f"{cut.reason} ({counted(cut.files, 'file')})",
        )
        for cut in sorted(layer.left_out, key=lambda cut: -cut.bytes)
    ]
    return [f"{head}  {layer.reason}".rstrip(), *_tree(rows)]


def _row(name: str, size: str, words: str) -> str:
    return f"{name:<42} {size:>9}  {words}"


def _tree(rows: Sequence[str]) -> list[str]:
    marks = ["├──"] * (len(rows) - 1) + ["└──"]
    return [f"{mark} {row}" for mark, row in zip(marks, rows, strict=True)] if rows else []


def comparison_text(found: Comparison) -> str:
    """Return what differs, part by part."""
    if found.same:
        return "they are the same"
    lines = []
    for title, changes in (
        ("model", found.model),
        ("takes", found.features),
        ("answers", found.outputs),
        ("packages", found.packages),
        ("image", found.image),
        ("layers", found.layers),
    ):
        lines += [title, *(f"  {line}" for line in _changes(changes))] if changes else []
    if found.unanswered:
        lines.append(f"the same rows were not scored: {found.unanswered}")
    elif found.answers:
        lines += [f"{found.answers[0].rows} rows, scored by both"]
        lines += [f"  {_answer(answer)}" for answer in found.answers]
    return "\n".join(lines)


def _changes(changes: Changes) -> Iterator[str]:
    for name, (before, after) in changes.items():
        if isinstance(before, dict) and isinstance(after, dict):
            parts = [
                f"{key}: {_shown(key, before.get(key))} → {_shown(key, after.get(key))}"
                for key in dict.fromkeys([*before, *after])
                if before.get(key) != after.get(key)
            ]
            yield f"{name:<28} {', '.join(parts)}"
        else:
            yield f"{name:<28} {_shown(name, before)} → {_shown(name, after)}"


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return " ".join(_shown(key, value[key]) for key in ("type", "bytes") if key in value)
    if name == "bytes":
        return human_bytes(value)
    if isinstance(value, list | tuple):
        return f"{len(value)} values"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text[:19] if text.startswith("sha256:") else text


def _answer(answer: Answered) -> str:
    if not answer.changed:
        return f"{answer.name}: equal"
    worst = f"row {answer.row}: {answer.values[0]} → {answer.values[1]}" if answer.values else ""
    if answer.largest is None:
        return f"{answer.name}: {answer.changed} differ (first in {worst})"
    return (
        f"{answer.name}: {answer.changed} differ, by {answer.mean:.3g} on average"
        f" and at most {answer.largest:.3g} ({worst})"
    )
